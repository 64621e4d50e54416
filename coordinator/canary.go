package coordinator

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/internal/canary"
	"github.com/understudy-ha/understudy/lock"
)

// CheckCanary writes once to Config.Canary, if there is one, and says why that cannot be. A disk
// that does not answer within a try is not waited for, and is not an error: it may yet.
func (c Config) CheckCanary() error {
	if c.Canary == "" {
		return nil
	}
	one := canary.Start(c.Canary, c.ID, c.canaryPause())
	select {
	case err := <-one.Wrote():
		one.Stop(c.Try())
		return lock.InFields(err, "Canary")
	case <-time.After(c.Try()):
		one.Stop(0)
		return nil
	}
}

// check says what is wrong with c, and looks at the disk only where that is nothing.
func (c Config) check() error {
	if err := c.Validate(); err != nil {
		return err
	}
	return c.CheckCanary()
}

// canaryLimit is how long a write of the canary may take.
func (c *Config) canaryLimit() time.Duration {
	if c.Watchdog > 0 {
		return c.Watchdog
	}
	return max(c.TTL/2, minHang)
}

// canaryPause is between two writes. So a write may take three quarters of the limit at least.
func (c *Config) canaryPause() time.Duration { return c.canaryLimit() / 4 }

// disk is how the disk is that has not been written to yet.
func (c *Config) disk() machine.Disk {
	if c.Canary == "" {
		return machine.Writable
	}
	return machine.Failing
}

// watchCanary begins to follow the canary, if there is one.
func (r *runner) watchCanary() {
	if r.config.Canary != "" {
		r.group.Go(r.followCanary)
	}
}

// followCanary has the canary written, and tells the loop how that goes, until Run ends. What counts is
// the time that was waited for since the last write: while this process is stopped, or has no
// processor, nothing counts.
func (r *runner) followCanary() {
	limit := r.config.canaryLimit()
	one := canary.Start(r.config.Canary, r.config.ID, r.config.canaryPause())
	defer func() {
		if !one.Stop(r.config.Grace) {
			r.config.Logger.Warn("a write of the canary still hangs; it is left behind", "id", r.config.ID, "canary", r.config.Canary)
		}
	}()
	told := ""
	tell := func(disk machine.Disk, err error) {
		if now := fmt.Sprint(disk, err); now != told {
			told = now
			r.post(news{event: machine.Wrote{Disk: disk}, call: checks, err: err})
		}
	}
	for silent := time.Duration(0); ; {
		wait := min(limit/8, limit-silent)
		if silent >= limit {
			wait = never // it was told
		}
		before := r.config.Now().Mono
		select {
		case <-r.calls.Done():
			return
		case err := <-one.Wrote():
			silent = 0
			if err != nil {
				tell(machine.Failing, err)
			} else {
				tell(machine.Writable, nil)
			}
			continue
		case <-time.After(wait):
		}
		if r.config.Now().Mono-before > 2*wait+minWatchdog/4 {
			continue // we did not run
		}
		if silent += wait; silent >= limit {
			tell(machine.Hanging, fmt.Errorf("%s: nothing could be written for %v", r.config.Canary, limit))
		}
	}
}

// unfit is why this process shall have no role.
func (r *runner) unfit() error {
	if r.config.Healthy == nil {
		return cmp.Or(r.disk, errNotWritten)
	}
	return cmp.Or(r.unwell, r.disk, errNotChecked)
}

var errNotWritten = errors.New("the canary has not been written yet")

// unwritten is why the canary cannot be written, as a Monitor shows it.
func (b *board) unwritten() error {
	switch err := b.disk.Load(); {
	case b.config.Canary == "":
		return nil
	case err == nil:
		return errNotWritten
	default:
		return *err
	}
}

// checked notes how a health check went, or a write of the canary.
func (b *board) checked(n news) {
	if _, is := n.event.(machine.Wrote); is {
		b.disk.Store(&n.err)
		return
	}
	b.sick.Store(&n.err)
}
