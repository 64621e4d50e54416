package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// patience is how long a search for a server may take.
const patience = 10 * time.Second

// soon is how long the first connection of a search may take to be made, and each of the next ones twice as long: a proxy may have
// taken it and lost what came, and the server may also be far away.
const soon = 2 * time.Second

var errClosed = errors.New("the locker is closed")

// A link is one connection. It is never mended: the next one is made anew, with the files as they are
// then, so nothing that was given up is sent later.
type link struct {
	ctx    context.Context // of its calls
	cancel context.CancelCauseFunc
	wire   net.Conn
	conn   *nats.Conn
	js     jetstream.JetStream

	mu    sync.Mutex
	ear   *nats.Subscription // nil: nobody listens
	known string             // the version that this connection told last
	heard time.Time          // when it did, or said that nothing has come since
}

// tell notes what the connection has told: the key's version, or, if that is nil, that it is still the one.
func (l *link) tell(version *string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heard = time.Now(); version != nil {
		l.known = *version
	}
}

// stands reports whether the connection has told this version, and has been alive since.
func (l *link) stands(version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known == version && time.Since(l.heard) < deaf
}

// Dial is nats.CustomDialer's.
func (d *dialer) Dial(network, address string) (wire net.Conn, err error) {
	d.link.wire, err = d.dial(d.link.ctx, network, address)
	d.why = err
	if err == nil {
		context.AfterFunc(d.link.ctx, func() { _ = d.link.wire.Close() })
	}
	return d.link.wire, err
}

type dialer struct {
	link *link
	why  error // why the last dial failed, which the library does not say
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// connect makes a connection to a server, and looks at the bucket there.
func (s *store) connect(ctx context.Context, server *url.URL) (*link, error) {
	options, err := s.options(server)
	if err != nil {
		return nil, err
	}
	l := &link{}
	l.ctx, l.cancel = context.WithCancelCause(s.ctx)
	defer context.AfterFunc(ctx, func() { l.cancel(context.Cause(ctx)) })()
	d := &dialer{link: l, dial: s.Dial}
	if d.dial == nil {
		d.dial = new(net.Dialer).DialContext
	}
	l.conn, err = nats.Connect(server.String(), append(options, nats.SetCustomDialer(d),
		nats.ClosedHandler(func(*nats.Conn) { l.cancel(nats.ErrConnectionClosed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) { // the call itself gets no answer
				err = fmt.Errorf("%w; see docs/nats.md for the rights, and for how the bucket is made", err)
				l.cancel(lock.Permanent(lock.InFields(err, s.credentials()[0])))
			}
		}))...)
	if err != nil && d.why != nil {
		err = d.why
	}
	if err == nil {
		l.js, err = jetstream.New(l.conn)
	}
	if err == nil {
		_, err = s.look(l.ctx, l)
	}
	if err != nil {
		if l.ctx.Err() != nil && s.ctx.Err() == nil {
			err = context.Cause(l.ctx)
		}
		l.end(err)
		return nil, fmt.Errorf("%s: %w", server.Host, err)
	}
	return l, nil
}

// end ends the connection at once, whatever is on its way.
func (l *link) end(why error) {
	l.cancel(why)
	if l.conn != nil {
		_ = l.wire.Close() // a write that stands would keep Close
		l.conn.Close()
	}
}

// A search is for a server that can be used.
type search struct {
	done chan struct{}
	err  error
}

// seek begins a search at all servers at once, unless one goes on. s.mu is held.
func (s *store) seek() *search {
	if s.search == nil {
		one := &search{done: make(chan struct{})}
		s.search = one
		if s.ctx.Err() == nil {
			s.group.Go(func() { s.find(one) })
		}
	}
	return s.search
}

// find takes the first connection that is made. It takes the place of the one before.
func (s *store) find(one *search) {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	type result struct {
		link *link
		err  error
	}
	all, _ := s.servers() // which Validate has read
	found := make(chan result)
	for _, server := range all {
		s.group.Go(func() {
			for most := soon; ; most *= 2 {
				within, stop := context.WithTimeout(ctx, most)
				l, err := s.connect(within, server)
				slow := err != nil && within.Err() != nil && ctx.Err() == nil
				if stop(); !slow {
					found <- result{l, err}
					return
				}
			}
		})
	}
	var first *link
	var errs []error
	for range all {
		switch r := <-found; {
		case r.err != nil:
			errs = append(errs, r.err)
		case first == nil:
			first = r.link
			s.use(first, one, nil)
			cancel()
		default:
			r.link.end(nil)
		}
	}
	if first == nil {
		s.use(nil, one, errors.Join(errs...))
	}
}

func (s *store) use(l *link, one *search, err error) {
	s.mu.Lock()
	old := s.link
	if l != nil {
		s.link, s.worked = l, true
	}
	one.err, s.search = err, nil
	s.mu.Unlock()
	close(one.done)
	if l != nil && old != nil {
		old.end(errors.New("another connection took its place"))
	}
}

// current returns the connection, or the next one that is made.
func (s *store) current(ctx context.Context) (*link, error) {
	for {
		s.mu.Lock()
		if l := s.link; l != nil && l.ctx.Err() == nil {
			s.mu.Unlock()
			return l, nil
		}
		one := s.seek()
		s.mu.Unlock()
		select {
		case <-one.done:
			if one.err != nil {
				return nil, one.err
			}
		case <-ctx.Done():
			return nil, late.Error(context.Cause(ctx), "%s does not answer as NATS, whose port is 4222 by default", strings.Join(s.Hosts(), ", "))
		case <-s.ctx.Done():
			return nil, errClosed
		}
	}
}

// with does something on the connection. If no answer comes, another connection is made meanwhile:
// this one may be dead.
func with[T any](ctx context.Context, s *store, do func(ctx context.Context, l *link) (T, error)) (none T, err error) {
	l, err := s.current(ctx)
	if err != nil {
		return none, s.named(err)
	}
	within, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })()
	type result struct {
		value T
		err   error
	}
	answered := make(chan result, 1)
	go func() { // a write to a link that stands obeys no context
		v, err := do(within, l)
		answered <- result{v, err}
	}()
	select {
	case r := <-answered:
		if within.Err() == nil {
			return r.value, s.named(r.err)
		}
	case <-within.Done():
	}
	if ctx.Err() != nil && l.ctx.Err() == nil {
		s.mu.Lock()
		s.seek()
		s.mu.Unlock()
	}
	return none, s.named(context.Cause(within))
}
