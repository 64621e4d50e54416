package zookeeper

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/lock"
)

// silence is how long a server may say nothing, which answers a ping three times in it. The least that servers allow is twice
// their tickTime.
const silence = 4 * time.Second

// A link is one connection, and never another one: the library would connect again by itself, and send there what has
// waited.
type link struct {
	conn   *zk.Conn
	ctx    context.Context // until it is lost
	cancel context.CancelCauseFunc
	up     chan struct{} // closed when it can be used

	mu   sync.Mutex
	wire net.Conn        // nil: none was made yet
	told string          // the version that it told last
	ear  <-chan zk.Event // of the watch; nil: there is none
}

var errLost = errors.New("the connection to ZooKeeper is lost")

// current is a connection that can be used.
func (s *store) current(ctx context.Context) (l *link, err error) {
	s.mu.Lock()
	if l = s.link; s.ctx.Err() == nil && (l == nil || l.ctx.Err() != nil) {
		if l, err = s.connect(); err == nil {
			s.link = l
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, lock.Permanent(err) // no address is given
	}
	if l == nil {
		return nil, errClosed
	}
	select {
	case <-l.up:
		return l, nil
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// connect begins to connect to one of the servers. s.mu is held.
func (s *store) connect() (*link, error) {
	l := &link{up: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancelCause(s.ctx)
	left, dial := len(s.Servers), s.Dial
	if dial == nil {
		dial = net.DialTimeout
	}
	var err error
	var events <-chan zk.Event
	l.conn, events, err = zk.Connect(s.Servers, silence, zk.WithLogInfo(false), zk.WithLogger(quiet{}), zk.WithHostProvider(new(hosts)),
		zk.WithDialer(func(network, address string, timeout time.Duration) (net.Conn, error) {
			if left == 0 {
				return nil, errLost
			}
			left--
			c, err := dial(network, address, timeout)
			if err == nil {
				l.mu.Lock()
				left, l.wire = 0, c
				l.mu.Unlock()
			} else if left == 0 {
				l.cancel(err)
			}
			return c, err
		}),
		zk.WithEventCallback(func(e zk.Event) {
			switch e.State {
			case zk.StateHasSession:
				if e.Type == zk.EventSession {
					close(l.up)
				}
			case zk.StateDisconnected, zk.StateExpired:
				l.cancel(errLost)
			}
		}))
	if err != nil {
		l.cancel(err)
		return nil, err
	}
	s.group.Go(func() {
		select {
		case <-l.up:
		case <-time.After(silence):
			l.cancel(errLost)
		case <-l.ctx.Done():
		}
		<-l.ctx.Done()
		l.conn.Close() // it waits for the server, a second at most
		l.mu.Lock()
		if l.wire != nil {
			_ = l.wire.Close() // it may be closed already
		}
		l.mu.Unlock()
		for range events { // until the library has ended
		}
	})
	return l, nil
}

// hosts are the servers in turn. The library's own looks names up at once, whatever a call's context says.
type hosts struct {
	all  []string
	next int
}

func (h *hosts) Init(all []string) error { h.all = all; return nil }
func (h *hosts) Len() int                { return len(h.all) }
func (h *hosts) Connected()              {}

// Next reports, too, whether each was tried: then the library makes a pause, in which it can be closed.
func (h *hosts) Next() (server string, again bool) {
	h.next++
	return h.all[(h.next-1)%len(h.all)], h.next > len(h.all)
}

// value is one that the connection has told.
func (l *link) value(word string, number int32, data []byte) object.Value {
	v := object.Value{Data: data, Version: version(word, number, data)}
	l.tell(v.Version)
	return v
}

func (l *link) tell(version string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = version
}

func (l *link) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// read reads a znode, and sets a watch unless one stands.
func (l *link) read(path string) (data []byte, stat *zk.Stat, err error) {
	if l.listen() != nil {
		return l.conn.Get(path)
	}
	data, stat, ear, err := l.conn.GetW(path)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ear = ear
	return data, stat, err
}

// listen is the watch that stands: nothing has changed since it was set. nil: there is none.
func (l *link) listen() <-chan zk.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ear:
		l.ear = nil
	default:
	}
	return l.ear
}

// quiet is a log that nobody reads: every error is returned by a call, too.
type quiet struct{}

func (quiet) Printf(string, ...any) {}

// with makes a call, which has no context of its own, on the connection that there is.
func with[T any](ctx context.Context, s *store, call func(*link) (T, error)) (v T, err error) {
	l, err := s.current(ctx)
	if err != nil {
		return v, err
	}
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() { // until it is answered or the connection is closed
		v, err := call(l)
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		for _, one := range []error{zk.ErrNoAuth, zk.ErrAuthFailed, zk.ErrInvalidPath} {
			if errors.Is(a.err, one) {
				a.err = lock.Permanent(a.err)
			}
		}
		return a.v, a.err
	case <-ctx.Done():
		return v, context.Cause(ctx)
	case <-l.ctx.Done():
		return v, context.Cause(l.ctx)
	}
}
