package etcd

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Wires are the connections to one member, one after the other. A network that was cut leaves one
// on which TCP retries ever more rarely: a connection that has not answered for a while is given
// up, and how long that is depends on how far away the member is.
type wires struct {
	dialed atomic.Int32 // connections that were tried

	mu       sync.Mutex
	now      *wire         // the last one; nil: none was made, or it was given up
	heard    time.Time     // the last answer
	since    time.Time     // a call began then, and none has been answered since; zero: none failed
	patience time.Duration // with one that is being made ready, if it is more than leastSilent
	silent   time.Duration // how long the last one was silent that hurry has given up; 0: there was a word since, or no connection
}

// A wire is one connection.
type wire struct {
	net.Conn
	made time.Time
	up   time.Time    // the connection stood
	trip atomic.Int64 // from its making to the member's first word: at least two round trips
	last atomic.Int64 // from then on to the last word; 0: there was none

	once sync.Once
	over chan struct{} // closed with the connection
}

// Close ends the connection.
func (w *wire) Close() error {
	w.once.Do(func() { close(w.over) })
	return w.Conn.Close()
}

const (
	again       = time.Second     // after this long another try begins beside those that are open
	mostOpen    = 10              // each as long as it is until the last one begins
	leastSilent = 2 * time.Second // nothing is given up before

	// mostSilent is the most that is waited for a first word, which takes two round trips.
	mostSilent = 16 * time.Second
)

// Read notes how long it took until the first answer, and when the last came.
func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		w.trip.CompareAndSwap(0, int64(time.Since(w.made)))
		w.last.Store(int64(time.Since(w.up)))
	}
	return n, err
}

// silent is how long nothing was heard, while something was waited for since then.
func (w *wire) silent(since time.Time) time.Duration {
	return min(time.Since(since), time.Since(w.up)-time.Duration(w.last.Load()))
}

// answered notes that the member is well.
func (w *wires) answered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard, w.since = time.Now(), time.Time{}
}

// hurry gives up a connection on which the member is silent while it is made ready, until ctx is
// done: gRPC would wait for setup, though the next connection may be well. For example, a proxy
// may accept one and then lose everything. A member may also be that far away: so each has twice
// the time of the one before.
func (w *wires) hurry(ctx context.Context) {
	began := time.Now()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(leastSilent / 20):
		}
		w.mu.Lock()
		if patience := max(w.patience, leastSilent); w.now != nil && w.now.silent(began) >= patience {
			if w.patience = min(2*patience, setup); w.now.trip.Load() == 0 {
				w.silent = time.Since(w.now.up)
			}
			_ = w.now.Close() // gRPC makes another
			w.now = nil
		}
		w.mu.Unlock()
	}
}

// expect closes a connection on which the member never says a word. hurry runs only while a call prepares the member, but
// after some failed connections gRPC fails calls at once, and still waits for the next connection for as long as setup.
func (w *wires) expect(c *wire) {
	for c.trip.Load() == 0 {
		select {
		case <-c.over:
			return
		case <-time.After(leastSilent / 20):
		}
		w.mu.Lock()
		patience := min(max(w.patience, leastSilent), mostSilent)
		late := w.now == c && c.trip.Load() == 0 && time.Since(c.up) >= patience
		if late {
			w.patience, w.silent, w.now = min(2*patience, setup), time.Since(c.up), nil
		}
		w.mu.Unlock()
		if late {
			_ = c.Close() // gRPC makes another
			return
		}
	}
}

// silence is how long the member has said nothing on the connection that it took last; 0: it has said something, or
// took none. givenUp is whether hurry has given that up.
func (w *wires) silence() (long time.Duration, givenUp bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now != nil && w.now.trip.Load() == 0 {
		return time.Since(w.now.up), false
	}
	return w.silent, w.silent > 0
}

// ready notes that the member is ready.
func (w *wires) ready() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.patience, w.silent = 0, 0
}

// unanswered notes that a call was given up, and gives up the connection if no call on it was
// answered for long enough. A connection that has not heard from its member yet is hurry's.
func (w *wires) unanswered(began time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.now == nil || w.now.trip.Load() == 0 || began.Before(w.now.made) {
		return
	}
	if began.Before(w.heard) {
		began = w.heard
	}
	if w.since.Before(w.now.made) { // none yet, or on an earlier one
		w.since = began
	}
	if time.Since(w.since) >= max(leastSilent, 2*time.Duration(w.now.trip.Load())) {
		w.since = time.Time{}
		_ = w.now.Close() // gRPC makes another
	}
}

// connect makes a connection. It does not wait for a packet that is lost: TCP would resend it
// ever more rarely.
func (w *wires) connect(ctx context.Context, dial dialer, address string) (net.Conn, error) {
	w.dialed.Add(1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began, tries, open := time.Now(), make(chan attempt, mostOpen), 0
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			if next.Reset(again); open < mostOpen {
				open++
				go func() { tries <- try(ctx, dial, address) }()
			}
		case t := <-tries:
			if open--; t.err != nil && open > 0 && ctx.Err() == nil {
				continue
			}
			go func() { // those that come too late
				for range open {
					(<-tries).close()
				}
			}()
			w.mu.Lock()
			defer w.mu.Unlock()
			if t.err != nil {
				w.now, w.silent = nil, 0
				return nil, t.err
			}
			w.silent = 0
			w.now = &wire{Conn: t.conn, made: began, up: time.Now(), over: make(chan struct{})}
			go w.expect(w.now)
			return w.now, nil
		}
	}
}

// An attempt is the outcome of one try.
type attempt struct {
	conn net.Conn
	err  error
}

func try(ctx context.Context, dial dialer, address string) attempt {
	ctx, cancel := context.WithTimeout(ctx, mostOpen*again)
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	return attempt{conn, err}
}

func (t attempt) close() {
	if t.err == nil {
		_ = t.conn.Close()
	}
}

// A dialer makes one connection, as [net.Dialer.DialContext] does.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)
