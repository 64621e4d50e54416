package state_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
	"github.com/understudy-ha/understudy/state"
)

// A book is a machine: KEY=VALUE sets, "panic" panics, and all is counted.
type book struct {
	Pages map[string]string
	Count int
	bad   string // on which it panics
}

func newBook() *book { return &book{Pages: map[string]string{}, bad: "panic"} }

func (b *book) Apply(command []byte) {
	if string(command) == b.bad {
		panic("a bad command")
	}
	key, value, _ := strings.Cut(string(command), "=")
	b.Pages[key] = value
	b.Count++
}

func (b *book) Snapshot(w io.Writer) error { return json.NewEncoder(w).Encode(b) }
func (b *book) Restore(r io.Reader) error  { return json.NewDecoder(r).Decode(b) }

// A rig is a store in virtual time, and the processes on it.
type rig struct {
	*testing.T
	server *kvmem.Server // nil: the store is a ledger
	memory *memory.Store
}

func inBubble(t *testing.T, f func(*rig)) {
	t.Helper()
	for _, name := range []string{"kv", "ledger"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &rig{T: t, memory: memory.New()}
				if name == "kv" {
					r.server = kvmem.New()
				}
				f(r)
			})
		})
	}
}

func (r *rig) must(err error) {
	if r.Helper(); err != nil {
		r.Fatal(err)
	}
}

// open opens another process's Locker; the Client is nil for a ledger.
func (r *rig) open() (lock.Locker, *kvmem.Client) {
	if r.server == nil {
		return r.memory.Open(), nil
	}
	c := r.server.Open()
	return kv.NewLocker(c, ""), c
}

// A process takes part in role "r".
type process[M state.Machine] struct {
	*rig
	id     string
	log    *state.Log[M]
	client *kvmem.Client
	locker lock.Locker
	stop   context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once it has ended
	shows  coordinator.Monitor
	terms  chan tenure
}

// A tenure is a term whose work runs until it is told to end.
type tenure struct {
	coordinator.Term
	ctx context.Context
	end func(error) // has the work return
}

type options[M state.Machine] struct {
	state.Options
	fresh func() M
	ttl   time.Duration
	wired func(*kvmem.Client) // told the process's way to the store, before it is used
}

// start starts a process, whose work waits until it is told to stop.
func (r *rig) start(id string, o options[*book]) *process[*book] {
	r.Helper()
	if o.fresh == nil {
		o.fresh = newBook
	}
	return start(r, id, o)
}

func start[M state.Machine](r *rig, id string, o options[M]) *process[M] {
	r.Helper()
	ctx, stop := context.WithCancel(r.Context())
	p := &process[M]{rig: r, id: id, stop: stop, ended: make(chan struct{}), terms: make(chan tenure, 100)}
	p.locker, p.client = r.open()
	if o.wired != nil {
		o.wired(p.client)
	}
	o.Now = coordinator.Virtual
	var err error
	p.log, err = state.Open(ctx, p.locker, "r", o.fresh, o.Options)
	r.must(err)
	config := coordinator.Config{
		ID: id, Roles: []lock.Bid{{Role: "r"}}, TTL: o.ttl, Now: coordinator.Virtual, NoExit: true, Heartbeat: time.Hour,
		Standby: p.log.Standby, Ready: p.log.Ready, Lag: p.log.Lag, Monitor: &p.shows, Logger: slog.New(slog.NewTextHandler(r.Output(), nil)),
	}
	work := func(ctx context.Context, t coordinator.Term) error {
		end := make(chan error, 1)
		p.terms <- tenure{t, ctx, func(err error) { end <- err }}
		select {
		case err := <-end:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	go func() {
		defer close(p.ended)
		p.err = coordinator.Run(ctx, p.locker, config, p.log.Work(work))
	}()
	r.Cleanup(p.kill)
	return p
}

// term waits for the next term of the process.
func (p *process[M]) term() tenure {
	p.Helper()
	select {
	case t := <-p.terms:
		return t
	case <-time.After(10 * time.Minute):
		p.Fatalf("%s got no term", p.id)
		return tenure{}
	}
}

// halt stops the process as it should be stopped.
func (p *process[M]) halt() {
	p.stop()
	<-p.ended
	_ = p.locker.Close()
}

// kill ends the process as SIGKILL does: nothing that it does from now on reaches the store.
func (p *process[M]) kill() {
	_ = p.locker.Close()
	p.stop()
	<-p.ended
}

func (p *process[M]) append(t tenure, commands ...string) {
	p.Helper()
	for _, c := range commands {
		p.must(p.log.Append(p.Context(), t.Term, []byte(c)))
	}
}

// sees waits until the process shows what is wanted, and returns the age of that.
func sees(p *process[*book], want map[string]string) (age time.Duration) {
	p.Helper()
	var last string
	for range 10000 {
		same := false
		age, err := p.log.Read(func(b *book) { same, last = maps.Equal(b.Pages, want), fmt.Sprint(b.Pages) })
		if err == nil && same {
			return age
		}
		last += fmt.Sprint(" ", err)
		time.Sleep(10 * time.Millisecond) // of virtual time
	}
	p.Fatalf("%s shows %s, want %v", p.id, last, want)
	return 0
}

// keys are all that is kept of the log.
func (r *rig) keys() (all map[string][]byte) {
	r.Helper()
	l, _ := r.open()
	defer l.Close()
	all, err := l.(lock.Values).Read(r.Context(), "state/")
	r.must(err)
	return all
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
