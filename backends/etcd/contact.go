package etcd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/understudy-ha/understudy/lock"
)

// contact returns a member to which there is a connection, and its client: the one that pick
// names, or the next that can be reached. No part of a call was sent before, so trying one member
// after the other repeats nothing.
func (m *members) contact(ctx context.Context) (int, *clientv3.Client, error) {
	var failed []error
	first, permanent := m.pick(), true
	for n := range m.all {
		i := (first + n) % len(m.all)
		c, err := m.reach(ctx, m.all[i])
		if err == nil {
			return i, c, nil
		}
		m.home.silent(i)
		m.pass(i)
		failed = append(failed, err)
		permanent = permanent && errors.Is(err, lock.ErrPermanent)
		if ctx.Err() != nil {
			break
		}
	}
	err := errors.Join(failed...)
	if !permanent { // another member may come back
		err = curable{err}
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return 0, nil, err
}

// A curable error is not permanent, though one of those in it may be.
type curable struct{ err error }

func (c curable) Error() string { return c.err.Error() }
func (c curable) Is(target error) bool {
	return target != lock.ErrPermanent && errors.Is(c.err, target)
}
func (c curable) As(target any) bool { return errors.As(c.err, target) }

// Unsent tells package coordinator that no part of the call was sent.
func (c curable) Unsent() bool { return true }

// reachTimeout is how long a member that swallows everything keeps a call from the next one.
const reachTimeout = time.Second

// A preparation makes a member ready: connected, of a version that is recent enough, and with a
// token. It goes on when its waiters give up, so that something that takes longer than a call
// still gets done.
type preparation struct {
	done   chan struct{}
	client *clientv3.Client
	err    error
}

// reach returns the member's client once the member is ready. A call without a connection would
// silently wait for one.
func (m *members) reach(ctx context.Context, at *member) (*clientv3.Client, error) {
	began := time.Now()
	at.mu.Lock()
	c := at.client
	if c != nil && at.known && (m.config.Username == "" || at.hasToken()) && c.ActiveConnection().GetState() == connectivity.Ready {
		at.mu.Unlock()
		return c, nil
	}
	if at.refused != nil && time.Since(at.refusedAt) < refusalPause {
		defer at.mu.Unlock()
		return nil, m.explain(at.told(ctx, began, at.refused))
	}
	p := at.preparing
	if p == nil {
		p = &preparation{done: make(chan struct{})}
		at.preparing = p
		go m.prepare(at, p)
	}
	at.mu.Unlock()
	at.busy.Add(1)
	defer at.busy.Add(-1)
	if len(m.all) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, reachTimeout)
		defer cancel()
	}
	select {
	case <-p.done:
		if p.err != nil {
			return nil, m.explain(at.told(ctx, began, p.err))
		}
		return p.client, nil
	case <-ctx.Done():
		return nil, at.told(ctx, began, context.Cause(ctx))
	}
}

func (m *members) prepare(at *member, p *preparation) {
	ctx, cancel := context.WithTimeout(m.open, setup)
	defer cancel()
	at.mu.Lock()
	switch {
	case at.client != nil:
	case m.open.Err() != nil:
		p.err = errClosed
	default:
		at.client, p.err = m.dial(at)
	}
	p.client = at.client
	known := at.known
	at.mu.Unlock()
	if p.err == nil {
		go at.wires.hurry(ctx)
		p.err = m.makeReady(ctx, at, p.client, known)
	}
	if p.err == nil {
		at.wires.ready()
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	at.known = p.err == nil
	at.refused, at.refusedAt = nil, time.Now()
	if errors.Is(p.err, rpctypes.ErrAuthFailed) {
		at.refused = p.err
	}
	at.preparing = nil
	close(p.done)
}

func (m *members) makeReady(ctx context.Context, at *member, c *clientv3.Client, known bool) error {
	if err := connected(ctx, c.ActiveConnection()); err != nil {
		if at.why.Load() != nil || ctx.Err() != nil {
			return err
		}
		if long, givenUp := at.wires.silence(); givenUp {
			return fmt.Errorf("%w: %w", err, silent(long))
		}
		if err = m.whyNot(ctx, c.ActiveConnection(), err); isAlert(err) || at.why.Load() != nil {
			return err
		}
		return cmp.Or(m.mismatch(ctx, at), err)
	}
	if m.config.Username != "" && !at.hasToken() {
		if err := m.authenticate(ctx, at, c); err != nil {
			return err
		}
	}
	if known {
		return nil
	}
	token := at.token.now()
	st, err := pb.NewMaintenanceClient(c.ActiveConnection()).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		err = rpctypes.Error(err)
		at.drop(token, err)
		return err
	}
	if tooOld(st.Version) {
		return lock.Permanent(fmt.Errorf("the server is version %s, and understudy needs 3.5 or later", st.Version))
	}
	return nil
}

// connected waits until there is a connection, or the attempt has failed.
func connected(ctx context.Context, conn *grpc.ClientConn) error {
	conn.Connect()
	for {
		state := conn.GetState()
		switch state {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return errors.New("there is no connection")
		}
		if !conn.WaitForStateChange(ctx, state) {
			return context.Cause(ctx)
		}
	}
}

// whyNot says why there is no connection if one was made and broke at once, for example because
// the server refuses our certificate. gRPC tells only a call, which then fails at once.
func (m *members) whyNot(ctx context.Context, conn *grpc.ClientConn, err error) error {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, told := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	if told == nil || ctx.Err() != nil {
		return err
	}
	why := plain(status.Convert(told).Message())
	switch {
	case strings.Contains(why, "looked like an HTTP/1.1 header"):
		why = "what answers there speaks HTTP/1.1, not gRPC, as etcd's port for peers does; write its port for clients, which is 2379 by default"
	case strings.Contains(why, "error reading server preface") && strings.Contains(why, "frame too large"):
		why = "what answers there does not speak gRPC, as etcd's port for clients does, which is 2379 by default: it is another server, or wants TLS"
	case strings.Contains(why, "error reading server preface"), strings.Contains(why, "broken pipe"), strings.Contains(why, "connection reset by peer"):
		why = "what answers there ends the connection without a word: it is not etcd's port for clients, which is 2379 by default, or a proxy that reaches no etcd, or it is being stopped (" + why + ")"
	}
	err = fmt.Errorf("%w: %s", err, why)
	if m.config.CertFile != "" {
		if bad := m.config.files().Check(); bad != nil {
			err = fmt.Errorf("%w; %w", err, bad)
		}
	}
	return err
}

// plain is what gRPC says about a connection without its own words around it.
func plain(why string) string {
	inner, ok := strings.CutPrefix(why, "connection error: desc = ")
	if inner, err := strconv.Unquote(inner); ok && err == nil {
		why = strings.TrimPrefix(inner, "transport: ")
	}
	return strings.TrimPrefix(why, "Error while dialing: ")
}

// atOnce makes a call fail if its connection has just broken, or its token was refused. The
// client would make it wait for another.
func atOnce(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := next(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
	if isStale(rpctypes.Error(err)) {
		return errStale
	}
	return err
}

// tooOld reports whether a server's version is before 3.5.
func tooOld(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err := strconv.Atoi(major)
	n, err2 := strconv.Atoi(minor)
	return err == nil && err2 == nil && (m < 3 || m == 3 && n < 5)
}

// lost waits until an open connection has broken.
func lost(ctx context.Context, conn *grpc.ClientConn) error {
	for conn.GetState() == connectivity.Ready {
		if !conn.WaitForStateChange(ctx, connectivity.Ready) {
			return context.Cause(ctx)
		}
	}
	return errors.New("the connection broke")
}
