// Package objectmem is an object in memory: the one to read before you write your own, and the one
// to test against, since it fails on demand and runs in a bubble of testing/synctest.
//
// A [Server] is the store. Each process has a [Client] of its own: its way to the store, with
// faults. Nothing survives the process.
package objectmem

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/object"
)

// A Server keeps one object. It is safe for concurrent use.
type Server struct {
	mu      sync.Mutex
	past    []object.Value // what it was, oldest first; the last one is what it is
	version int
	era     int
	started uint64
	puts    int
	news    chan struct{} // closed and replaced with every change
}

// New returns a store without an object.
func New() *Server {
	return &Server{past: []object.Value{{}}, news: make(chan struct{})}
}

// Open returns another process's way to the store.
func (s *Server) Open() *Client {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &Client{server: s, open: ctx, close: cancel, calls: map[string]int{}}
}

// Value is what stands there.
func (s *Server) Value() object.Value {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.was(0)
}

// Puts is how often the object was written.
func (s *Server) Puts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

// Edit changes the object as by hand; nil deletes it.
func (s *Server) Edit(edit func(data []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(edit(bytes.Clone(s.was(0).Data)))
}

// Save returns what puts the object back to what it is now, its version and all.
func (s *Server) Save() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := s.was(0)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.show(saved)
	}
}

// Promote begins a new era, in which the object is what it was so many changes ago.
func (s *Server) Promote(lost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
	s.set(s.was(lost).Data)
}

// was is the object as it was so many changes ago.
func (s *Server) was(ago int) object.Value { return s.past[max(0, len(s.past)-1-ago)] }

// set writes the object and returns it; nil deletes it.
func (s *Server) set(data []byte) object.Value {
	v := object.Value{Era: strings.Repeat("I", s.era)}
	if data != nil {
		s.version++
		v.Data, v.Version = data, strconv.Itoa(s.version)
	}
	s.show(v)
	return v
}

func (s *Server) show(v object.Value) {
	s.past = append(slices.Clone(s.past[max(0, len(s.past)-16):]), v)
	close(s.news)
	s.news = make(chan struct{})
}

func (s *Server) put(data []byte, version string) (object.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.was(0); now.Version != version {
		return now, object.ErrConflict
	}
	s.puts++
	return s.set(bytes.Clone(data)), nil
}

// changed returns a channel that is closed when the object changes, nil if it has.
func (s *Server) changed(version string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.was(0).Version != version {
		return nil
	}
	return s.news
}

// A Client is one process's way to a Server.
type Client struct {
	server *Server
	open   context.Context
	close  context.CancelCauseFunc

	mu     sync.Mutex
	faults func(Call) Fault
	calls  map[string]int // by name
}

var _ object.Object = (*Client)(nil)

// A Call is one call of a Client.
type Call struct {
	Name   string // "Get", "Put", "Changed", "Start"; "News": what a Changed is about to return
	Number int    // 1 is the Client's first of that name
}

// A Fault is what goes wrong with a call.
type Fault struct {
	kvmem.Fault
	Stale int  // Get returns the object as it was so many changes ago
	Dumb  bool // Put and Changed do not tell what is there
}

// On has f decide about each later call; nil ends all faults. f is called from one goroutine at a
// time; it must not block, nor call the Client.
func (c *Client) On(f func(Call) Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = f
}

// fault counts a call and says what goes wrong with it.
func (c *Client) fault(name string) Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls[name]++; c.faults != nil {
		return c.faults(Call{name, c.calls[name]})
	}
	return Fault{}
}

// do makes one call, with its fault around it.
func (c *Client) do(ctx context.Context, name string, do func(ctx context.Context, f Fault) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.open, func() { cancel(kvmem.ErrClosed) })()
	if c.open.Err() != nil {
		return kvmem.ErrClosed
	}
	f := c.fault(name)
	return f.Around(ctx, func() error { return do(ctx, f) })
}

// Get is object.Object's.
func (c *Client) Get(ctx context.Context) (v object.Value, err error) {
	err = c.do(ctx, "Get", func(_ context.Context, f Fault) error {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		v = c.server.was(f.Stale)
		return nil
	})
	return v, err
}

// Put is object.Object's.
func (c *Client) Put(ctx context.Context, data []byte, version string) (v object.Value, err error) {
	dumb := false
	err = c.do(ctx, "Put", func(_ context.Context, f Fault) (err error) {
		dumb = f.Dumb
		v, err = c.server.put(data, version)
		return err
	})
	if err != nil && (dumb || !errors.Is(err, object.ErrConflict)) {
		v = object.Value{}
	}
	return v, err
}

// Changed is object.Object's.
func (c *Client) Changed(ctx context.Context, version string) (v object.Value, err error) {
	err = c.do(ctx, "Changed", func(ctx context.Context, f Fault) error {
		news := c.server.changed(version)
		if news != nil {
			select {
			case <-news:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return c.do(ctx, "News", func(context.Context, Fault) error {
			if !f.Dumb {
				v = c.server.Value()
			}
			return nil
		})
	})
	return v, err
}

// Start is object.Object's: each is greater by far than what one object comes to.
func (c *Client) Start(ctx context.Context) (count uint64, err error) {
	err = c.do(ctx, "Start", func(context.Context, Fault) error {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		c.server.started++
		count = uint64(c.server.era)<<50 + c.server.started<<40
		return nil
	})
	return count, err
}

// Close ends every call. It may be repeated, and called from anywhere.
func (c *Client) Close() error {
	c.close(kvmem.ErrClosed)
	return nil
}
