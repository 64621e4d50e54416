package coordinator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
)

// Callbacks are calls to what the user provides besides the work. Nothing that is done for a role
// waits for one.
type callbacks struct {
	mu    sync.Mutex
	open  map[string]int // by the name of the field
	ended chan struct{}  // closed and replaced when one returns
}

// run calls f, which belongs to the named field of a Config.
func (c *callbacks) run(name string, f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open, c.ended = map[string]int{}, make(chan struct{})
	}
	c.open[name]++
	go func() {
		defer func() { // also where it ends its goroutine
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.open[name]--; c.open[name] == 0 {
				delete(c.open, name)
			}
			close(c.ended)
			c.ended = make(chan struct{})
		}()
		f()
	}()
}

// wait waits until all have returned, but no longer than patience, and names those that have not.
func (c *callbacks) wait(patience time.Duration) error {
	end := time.NewTimer(patience)
	defer end.Stop()
	for {
		c.mu.Lock()
		open, ended := slices.Sorted(maps.Keys(c.open)), c.ended
		c.mu.Unlock()
		if len(open) == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-end.C:
			return fmt.Errorf("%s has not returned %v after its context ended", strings.Join(open, ", "), patience)
		}
	}
}

// pulseEvery is how often the witness must hear that the loop turns.
func (r *runner) pulseEvery() time.Duration {
	if r.config.HangTimeout < 0 || !r.config.witnessed() {
		return never
	}
	return r.config.HangTimeout / 5
}

// check asks whether this process is healthy, until Run ends.
func (r *runner) check() {
	for r.calls.Err() == nil {
		now := r.config.Now()
		r.checking.Store(&now)
		err := r.config.Healthy(r.calls)
		r.checking.Store(nil)
		r.post(news{event: machine.Checked{Healthy: err == nil}, call: checks, err: err})
		select {
		case <-r.calls.Done():
		case <-time.After(r.config.HealthEvery):
		}
	}
}
