package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// members are the ways to a cluster, one for each endpoint. A call goes to the member that
// answered last; a call that is made while another waits there goes to the next. So the second
// try of a beat reaches another member when the first is stuck at one that died, and nobody waits
// for a client's back-off.
type members struct {
	config Config
	all    []*member
	last   atomic.Int32 // the one that answered last
	worked atomic.Bool  // a call was answered
	home   home
	open   context.Context
	cancel context.CancelCauseFunc
}

// A member is one endpoint.
type member struct {
	endpoint string
	foreign  sync.Once             // to say that its server belongs to another cluster
	busy     atomic.Int32          // calls without an answer
	why      atomic.Pointer[error] // why the last connection failed; nil: it did not
	token    token
	wires    wires

	mu        sync.Mutex
	client    *clientv3.Client // nil: not needed yet
	known     bool             // its server is recent enough
	preparing *preparation     // nil: it is not being made ready
	refused   error            // the password was, at
	refusedAt time.Time
}

var errClosed = errors.New("the locker is closed")

func newMembers(c Config) *members {
	m := &members{config: c}
	for _, e := range c.Endpoints {
		m.all = append(m.all, &member{endpoint: e})
	}
	m.open, m.cancel = context.WithCancelCause(context.Background())
	go c.files().Mind(m.open, c.Logger)
	return m
}

// call makes one call at one member. f returns the header of its answer.
func (m *members) call(ctx context.Context, f func(context.Context, *clientv3.Client) (*pb.ResponseHeader, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.open, func() { cancel(errClosed) })()
	if m.open.Err() != nil { // what was just started cancels a little later
		return errClosed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	i, c, err := m.contact(ctx)
	if err != nil {
		return err
	}
	at := m.all[i]
	at.busy.Add(1)
	defer at.busy.Add(-1)
	began, token := time.Now(), at.token.now()
	h, err := f(ctx, c)
	if isStale(err) { // it did nothing: try once more with another one
		at.drop(token, err)
		if _, err = m.reach(ctx, at); err == nil {
			began, token = time.Now(), at.token.now()
			h, err = f(ctx, c)
		}
	}
	if errors.Is(err, rpctypes.ErrLeaseNotFound) { // an answer, which does not say of which cluster
		at.wires.answered()
		return err
	}
	if err != nil {
		m.home.silent(i)
		m.pass(i)
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			at.wires.unanswered(began)
			at.drop(token, err)
		}
		return m.explain(at.told(ctx, began, err))
	}
	at.wires.answered()
	m.worked.Store(true)
	if err := m.home.answered(i, len(m.all), h.ClusterId); err != nil {
		m.pass(i)
		err = lock.InFields(fmt.Errorf("%s %w", at.endpoint, err), "Endpoints")
		if log := m.config.Logger; log != nil {
			go at.foreign.Do(func() { log.Warn("an endpoint is not asked any more", "error", err) }) // no call waits for a log
		}
		return err
	}
	m.last.Store(int32(i))
	return nil
}

// told adds to the error of a call, or of a wait for a connection, what gRPC leaves out: the member's name, how long it was
// waited for, and why it cannot be reached.
func (at *member) told(ctx context.Context, began time.Time, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if strings.Contains(err.Error(), "use of closed network connection") { // by us
		err = reworded{"the connection was given up, as nothing was heard on it", err}
	}
	if late.Is(err) {
		err = late.Error(err, "it did not answer within %s", time.Since(began).Round(time.Millisecond))
	}
	if why := at.why.Load(); why != nil {
		err = fmt.Errorf("%w: %w", err, *why)
	} else if long, _ := at.wires.silence(); long > 0 && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errSilent) {
		err = fmt.Errorf("%w: %w", err, silent(long))
	}
	return fmt.Errorf("etcd %s: %w", at.endpoint, err)
}

// A reworded error says something else than the one that it is.
type reworded struct {
	text string
	error
}

func (r reworded) Error() string { return r.text }
func (r reworded) Unwrap() error { return r.error }

// errSilent means that a member took a connection and said nothing.
var errSilent = errors.New("it took the connection, and said nothing")

func silent(long time.Duration) error {
	return fmt.Errorf("%w for %s", errSilent, long.Round(time.Millisecond))
}

// pick returns the member with the fewest calls under way, starting from the one that answered
// last. A member that belongs to another cluster than the rest is left out.
func (m *members) pick() int {
	last := int(m.last.Load())
	best := -1
	for n := range m.all {
		i := (last + n) % len(m.all)
		if m.home.belongs(i, len(m.all)) && (best < 0 || m.all[i].busy.Load() < m.all[best].busy.Load()) {
			best = i
		}
	}
	return max(best, 0)
}

// pass sends the next call to another member, if i was to get it.
func (m *members) pass(i int) { m.last.CompareAndSwap(int32(i), int32((i+1)%len(m.all))) }

const (
	// setup limits what makes a member ready: connections, TLS, HTTP/2, the version and the token
	// take up to seven round trips, too many to wait for in one call.
	setup = 45 * time.Second

	// refusalPause is how long a refused password is not tried again, because checking one costs
	// a member much.
	refusalPause = time.Second

	// maxAnswer is the most bytes of an answer, because anybody may be answering.
	maxAnswer = 64 << 20

	// pingTimeout is how long the answer to a ping may take.
	pingTimeout = 10 * time.Second
)

// dial makes the client, which connects when it is first used. It pings only while something is
// under way: a server closes a connection that pings while it idles ("too_many_pings"), or more
// often than every 5 s, and the next call tries an idle one anew anyway. We send the user's token
// ourselves: the client asks for one with every stream, and waits for it within the call that was
// refused.
func (m *members) dial(at *member) (*clientv3.Client, error) {
	c := clientv3.Config{
		Endpoints: []string{at.endpoint}, Context: m.open, Logger: zap.NewNop(), MaxCallRecvMsgSize: maxAnswer,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: pingTimeout, MaxUnaryRetries: 1,
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return at.connect(ctx, m.dialer(), address)
		}), grpc.WithChainUnaryInterceptor(atOnce), grpc.WithPerRPCCredentials(&at.token), grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, Jitter: 0.2, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: setup,
		})},
	}
	if m.config.secure() {
		c.TLS = m.config.files().Config(host(at.endpoint), func(err error) { at.why.Store(&err) }) // gRPC keeps only its text
	}
	return clientv3.New(c)
}

// connect connects to the member, and keeps the reason if that fails.
func (at *member) connect(ctx context.Context, dial dialer, address string) (net.Conn, error) {
	conn, err := at.wires.connect(ctx, dial, address)
	at.why.Store(nil)
	if err != nil {
		at.why.Store(&err)
	}
	return conn, err
}

// explain names an error that no waiting cures. It returns any other unchanged.
func (m *members) explain(err error) error {
	user := m.config.Username
	if user == "" {
		user = "of the certificate"
	}
	permanent := func(what string, fields ...string) error {
		err := fmt.Errorf("etcd: %s: %w", what, err)
		if len(fields) > 0 {
			err = lock.InFields(err, fields...)
		}
		return lock.Permanent(err)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		field := "Username"
		if m.config.Username == "" {
			field = "CertFile"
		}
		return permanent(fmt.Sprintf("user %s may not; grant it a role with readwrite on the prefix %q", user, m.prefix()), field)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return permanent("it requires a login; give a user and a password, or a certificate", "Username", "PasswordFile")
	case errors.Is(err, rpctypes.ErrAuthFailed) && m.worked.Load(): // it is being replaced, and the file will follow; etcd does not tell a user that is gone
		return lock.Refusal(lock.InFields(fmt.Errorf("etcd: it no longer accepts user %s and this password; write the new password into the file or start anew, or have the user back: %w", user, err), m.password()))
	case errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserNotFound):
		return permanent("it refuses user "+user+" and this password", "Username", m.password())
	case isAlert(err):
		return m.refusesUs(err)
	case errors.Is(err, rpctypes.ErrNoSpace):
		return lock.Refusal(fmt.Errorf("etcd: it refuses every write: make room, then etcdctl alarm disarm (docs/etcd.md): %w", err))
	case errors.Is(err, rpctypes.ErrAuthNotEnabled):
		return permanent("it has no users; leave these out, or enable authentication there", "Username", m.password())
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps),
		strings.Contains(err.Error(), "message larger than max"): // gRPC's word, which has no code of its own
		return permanent("the request is too large")
	}
	return err
}

// refusesUs says what an alert of a server means. Once there was an answer the files may be on their way to be renewed.
func (m *members) refusesUs(err error) error {
	if m.config.CertFile == "" {
		err = lock.InFields(fmt.Errorf("etcd: it refuses us without a certificate, and none is given; give one with its key: %w", err), "CertFile", "KeyFile")
	} else {
		err = lock.InFields(fmt.Errorf("etcd: it refuses our certificate: %w", err), "CertFile")
	}
	if m.worked.Load() {
		return lock.Refusal(err)
	}
	return lock.Permanent(err)
}

// password is the name of the field that holds it.
func (m *members) password() string {
	if m.config.Password != "" {
		return "Password"
	}
	return "PasswordFile"
}

func (m *members) prefix() string {
	if m.config.Prefix == "" {
		return kv.DefaultPrefix
	}
	return strings.TrimSuffix(m.config.Prefix, "/") + "/"
}

func (m *members) close() error {
	m.cancel(errClosed)
	var errs []error
	for _, at := range m.all {
		at.mu.Lock()
		c, p := at.client, at.preparing
		at.mu.Unlock()
		if p != nil {
			<-p.done
		}
		if c != nil {
			if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
