package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/internal/late"
)

// A conn is one connection to the primary.
type conn struct {
	*pgconn.PgConn
	server server          // as it was when the connection was made
	life   context.Context // the pool's
	busy   <-chan struct{} // closed when the abandoned query is over; nil: there is none
	direct bool            // no pooler stands between
	heard  bool            // a notification has come through it
	news   string          // the version that was told last
}

// A text is written into a statement as a quoted literal.
type text string

// query sends one message, and returns the result of each statement in it. When ctx ends first the connection stays
// busy until the answer comes. To close it would cost the next call several round trips, and a server
// that is already slow another process.
func (c *conn) query(ctx context.Context, format string, args ...any) ([]*pgconn.Result, error) {
	for i, arg := range args {
		if t, ok := arg.(text); ok {
			quoted, err := c.EscapeString(string(t))
			if err != nil {
				return nil, err
			}
			args[i] = "'" + quoted + "'"
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var all []*pgconn.Result
	var err error
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		late, cancel := context.WithTimeout(c.life, patience)
		defer cancel()
		all, err = c.Exec(late, fmt.Sprintf(format, args...)).ReadAll()
	}()
	select {
	case <-answered:
		return all, err
	case <-ctx.Done():
		c.busy = answered
		return nil, context.Cause(ctx)
	}
}

// poll is how often a connection reads through which no notification has come yet.
const poll = 100 * time.Millisecond

// wait returns when something has changed, or may have.
func (c *conn) wait(ctx context.Context) error {
	short, cancel := ctx, func() {}
	if !c.heard {
		short, cancel = context.WithTimeout(ctx, poll)
	}
	defer cancel()
	err := c.WaitForNotification(short)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		c.news, err = "", nil
	}
	return err
}

// end ends the connection at once, whatever is on its way.
func (c *conn) end() {
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	_ = c.Close(ctx)
	wire := c.Conn()
	if secure, ok := wire.(*tls.Conn); ok {
		wire = secure.NetConn()
	}
	_ = wire.Close() // after an abandoned call Close leaves that to later
}

const (
	farewell = 50 * time.Millisecond  // how long a connection may take to say that it ends
	patience = 15 * time.Second       // and a call that was given up to be answered
	hedge    = 500 * time.Millisecond // after which another connection is begun beside one that is being made
	kept     = 4                      // how many are kept while nobody needs them
)

// patiences are how long the connections that are made at once may take. A proxy may have taken one and lost what came; the server
// may also be far away. So one is given up soon, and each of the others has about twice the time of the one before.
var patiences = []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second, patience}

// A pool makes connections, and keeps some that are idle. Those that are being made belong to no
// call, because a far one takes longer than a call does.
type pool struct {
	where  string // the servers, for people
	config func(number int) (*pgconn.Config, error)
	begin  func(ctx context.Context, c *conn) error // what comes first on a new connection

	ctx    context.Context // of everything, until close
	cancel context.CancelCauseFunc
	busy   atomic.Int32 // connections with a call that was given up and has no answer yet
	idle   chan *conn
	slots  chan time.Duration // the patiences that no connection has which is being made; after close there is none
	full   sync.Once
	made   atomic.Int64
}

var errClosed = errors.New("the locker is closed")

func newPool(c Config, begin func(context.Context, *conn) error) *pool {
	p := &pool{where: strings.Join(c.Hosts(), ", "), config: c.config, begin: begin, idle: make(chan *conn, kept), slots: make(chan time.Duration, len(patiences))}
	for _, d := range patiences {
		p.slots <- d
	}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	return p
}

// with does something on a connection. If that ended the connection, or got no answer, the idle ones are
// dropped: what happened to it has happened to them.
func (p *pool) with(ctx context.Context, do func(ctx context.Context, c *conn) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.ctx, func() { cancel(errClosed) })()
	c, err := p.get(ctx)
	if err != nil {
		return err
	}
	err = do(ctx, c)
	if c.busy != nil {
		p.drop()
		p.busy.Add(1)
		go p.put(c)
	} else {
		if c.IsClosed() {
			p.drop()
		}
		p.put(c)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// get returns a connection that is idle, or the next that is made.
func (p *pool) get(ctx context.Context) (*conn, error) {
	failed := make(chan error, len(patiences))
	for {
		select {
		case c := <-p.idle:
			return c, nil
		default:
		}
		p.dial(failed)
		select {
		case c := <-p.idle:
			return c, nil
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, p.silence(ctx)
		case <-time.After(hedge):
		}
	}
}

// silence says of a call for which there was no connection what is known: where calls before it have no answer either, the
// server may be well.
func (p *pool) silence(ctx context.Context) error {
	if n := p.busy.Load(); n > 0 {
		return late.Error(context.Cause(ctx), "%s has not answered %d calls before this one", p.where, n)
	}
	return late.Error(context.Cause(ctx), "%s does not answer as PostgreSQL, whose port is 5432 by default", p.where)
}

// dial begins a connection, unless too many are being made.
func (p *pool) dial(failed chan<- error) {
	var most time.Duration
	select {
	case most = <-p.slots:
	default:
		return
	}
	go func() {
		defer func() { p.slots <- most }()
		ctx, cancel := context.WithTimeout(p.ctx, most)
		defer cancel()
		c, err := p.connect(ctx)
		switch {
		case err == nil:
			p.put(c)
			return
		case ctx.Err() != nil && most < patience: // another one may take longer
			return
		}
		select {
		case failed <- err:
		default: // its caller has given up
		}
	}()
}

// connect makes a connection. When a call is given up the library would have the server cancel
// it, on a second connection. It must not: a commit that waits for a synchronous replica and is
// cancelled becomes visible without it.
func (p *pool) connect(ctx context.Context) (*conn, error) {
	config, err := p.config(int(p.made.Add(1) - 1))
	if err != nil {
		return nil, err
	}
	c := conn{life: p.ctx}
	var over atomic.Bool
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if over.Load() {
			return nil, errors.New("nothing is cancelled")
		}
		return dial(ctx, network, address)
	}
	config.ConnectTimeout = patience
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { c.heard, c.news = c.direct, n.Payload }
	config.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		c.PgConn = pg
		return p.begin(ctx, &c)
	}
	_, err = pgconn.ConnectConfig(ctx, config)
	over.Store(true)
	return &c, plain(err)
}

// tried begins the library's word of a server: its address, and its host as the URL has it.
var tried = regexp.MustCompile(`^(\S+) \(.*?\): `)

// plain is why no connection was made, for each server that was tried: its address, and what went wrong there. The
// library says beside that which of its functions failed, for which user and which database.
func plain(err error) error {
	var failed *pgconn.ConnectError
	if !errors.As(err, &failed) {
		return err
	}
	all := []error{failed.Unwrap()}
	if several, ok := all[0].(interface{ Unwrap() []error }); ok {
		all = slices.Clone(several.Unwrap())
	}
	for i, one := range all {
		why := errors.Unwrap(one)
		at := tried.FindStringSubmatch(one.Error())
		if at != nil && errors.Unwrap(why) != nil {
			why = errors.Unwrap(why)
		}
		switch {
		case why == nil:
		case clientconf.Dropped(why):
			all[i] = fmt.Errorf("what answers there ends the connection without a word (%w)", why)
		default:
			all[i] = why
		}
		if at != nil {
			all[i] = fmt.Errorf("postgres %s: %w", at[1], all[i])
		}
	}
	slices.SortStableFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

// put keeps a connection for the next call, once it is not busy.
func (p *pool) put(c *conn) {
	if c.busy != nil {
		<-c.busy
		c.busy = nil
		p.busy.Add(-1)
	}
	if !c.IsClosed() {
		select {
		case p.idle <- c:
			if p.ctx.Err() != nil {
				p.drop()
			}
			return
		default:
		}
	}
	c.end()
}

// drop ends every connection that is idle.
func (p *pool) drop() {
	for {
		select {
		case c := <-p.idle:
			c.end()
		default:
			return
		}
	}
}

// close ends every call. It may be repeated.
func (p *pool) close() {
	p.cancel(errClosed)
	p.full.Do(func() {
		for range patiences {
			<-p.slots
		}
	})
	p.drop()
}
