package consul

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Once an agent has said nothing since so many connections were begun, another begins only now and then. One that
// hangs takes none of them, and still counts those that we have given up when it goes on: it allows few. As soon as
// it says a word, on any connection, they begin freely again.
const (
	mostSilent = 16
	pause      = 5 * time.Second // less than a request goes on without its caller: one is always there to be answered
)

// A pacer makes the connections to one agent.
type pacer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	open context.Context // none begins when it is done

	silent atomic.Int32 // connections begun since the last word

	mu   sync.Mutex
	next time.Time     // when another may begin in spite of that
	word chan struct{} // closed by the next word
}

// begin waits until a connection may begin.
func (p *pacer) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	defer context.AfterFunc(p.open, cancel)()
	for {
		wait, word := p.take()
		if wait <= 0 {
			return nil
		}
		select {
		case <-word:
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("it said nothing on the last %d connections: %w", mostSilent, context.Cause(ctx))
		}
	}
}

// take counts a connection, or says how long there may be none unless there is a word.
func (p *pacer) take() (time.Duration, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if wait := p.next.Sub(now); wait > 0 && p.silent.Load() >= mostSilent {
		if p.word == nil {
			p.word = make(chan struct{})
		}
		return wait, p.word
	}
	p.silent.Add(1)
	p.next = now.Add(pause)
	return 0, nil
}

// heard notes a word of the agent.
func (p *pacer) heard() {
	if p.silent.Load() <= 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent.Store(0)
	if p.word != nil {
		close(p.word)
		p.word = nil
	}
}

func (p *pacer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	conn, err := p.dial(ctx, network, address)
	if err != nil {
		p.silent.Add(-1) // the agent has none to count
		return nil, err
	}
	return &paced{Conn: conn, pacer: p}, nil
}

// A paced connection tells its pacer of each word. A word that comes before anything was asked is an error.
type paced struct {
	net.Conn
	pacer *pacer
	asked atomic.Bool
}

func (c *paced) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.pacer.heard()
		if !c.asked.Load() {
			return 0, &unasked{string(b[:n])}
		}
	}
	return n, err
}

func (c *paced) Write(b []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(b)
}

// unasked is what came before anything was asked: an agent refuses a connection so, and other protocols begin so.
type unasked struct{ text string }

func (e *unasked) Error() string { return fmt.Sprintf("it spoke before it was asked: %.100q", e.text) }
