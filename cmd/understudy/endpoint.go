package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// An endpoint has the EndpointSlice of a Service name this process while it is active, and nobody once its work is
// told to stop. Nothing waits for the API server: not the work, and not the release of the role.
type endpoint struct {
	options *options
	address netip.Addr
	log     *slog.Logger
	changed chan struct{} // has room for one
	done    chan struct{} // closed when nobody writes any more

	mu     sync.Mutex
	token  lock.Token
	active bool
	over   bool // no transition comes any more
}

// checkEndpoint says what is wrong with the settings that the EndpointSlice needs.
func (o *options) checkEndpoint() error {
	if o.Run.EndpointSlice == "" {
		return nil
	}
	var errs []error
	if _, err := netip.ParseAddr(o.Coordinator.Address); err != nil {
		errs = append(errs, fmt.Errorf("endpointSlice %q: address must be this pod's IP address then, such as 10.0.0.7, and is %q", o.Run.EndpointSlice, o.Coordinator.Address))
	}
	if len(o.Roles) > 1 {
		errs = append(errs, fmt.Errorf("endpointSlice %q: takes one role, and there are %d; run a process for each", o.Run.EndpointSlice, len(o.Roles)))
	}
	if err := o.Store.Kubernetes.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("endpointSlice %q: the API server cannot be reached: %s", o.Run.EndpointSlice, strings.ReplaceAll(err.Error(), "\n", "; ")))
	}
	return errors.Join(errs...)
}

// publish has the EndpointSlice follow what config is used for; nil: there is none. Its end is to be called when the
// coordinator has ended.
func publish(o *options, config *coordinator.Config) *endpoint {
	if o.Run.EndpointSlice == "" {
		return nil
	}
	address, _ := netip.ParseAddr(config.Address) // it was checked
	e := &endpoint{
		options: o, address: address, log: config.Logger,
		changed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	before := config.OnTransition
	config.OnTransition = func(t coordinator.Transition) {
		if before != nil {
			before(t)
		}
		e.see(t.Token, t.To == coordinator.Active, false)
	}
	go e.follow()
	return e
}

func (e *endpoint) see(token lock.Token, active, over bool) {
	e.mu.Lock()
	e.token, e.active, e.over = token, active, over
	e.mu.Unlock()
	select {
	case e.changed <- struct{}{}:
	default: // it is still to look
	}
}

// lastWrite is how long the end of the process waits for the last word to the API server; the role is released by then.
const lastWrite = 2 * time.Second

// end withdraws what is still there, if the API server answers soon.
func (e *endpoint) end() {
	if e == nil {
		return
	}
	e.mu.Lock()
	token := e.token
	e.mu.Unlock()
	e.see(token, false, true)
	select {
	case <-e.done:
	case <-time.After(lastWrite):
	}
}

// follow writes what is so now, again and again until the API server has it or it is so no more.
func (e *endpoint) follow() {
	defer close(e.done)
	written := e.state()
	for range e.changed {
		for warned := false; ; {
			now := e.state()
			if now.same(written) || now.token == 0 {
				break
			}
			if err := e.write(now); err == nil {
				written = now
				continue // it may be otherwise again
			} else if !warned {
				e.log.Warn("the EndpointSlice was not written, and clients may not find the active; trying again", "error", err)
				warned = true
			}
			time.Sleep(retryEndpoint) // until the API server lets us
		}
		if e.state().over {
			return
		}
	}
}

// retryEndpoint is the pause before another try.
const retryEndpoint = 200 * time.Millisecond

// A wantedEndpoint is what the EndpointSlice is to say.
type wantedEndpoint struct {
	token        lock.Token
	active, over bool
}

func (w wantedEndpoint) same(other wantedEndpoint) bool {
	return w.token == other.token && w.active == other.active
}

func (e *endpoint) state() wantedEndpoint {
	e.mu.Lock()
	defer e.mu.Unlock()
	return wantedEndpoint{e.token, e.active, e.over}
}

func (e *endpoint) write(w wantedEndpoint) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var address netip.Addr
	if w.active {
		address = e.address
	}
	return e.options.Store.Kubernetes.Publish(ctx, e.options.Run.EndpointSlice, address, uint64(w.token))
}
