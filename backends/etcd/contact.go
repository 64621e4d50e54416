package etcd

import (
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

	"github.com/understudy-ha/understudy/lock"
)

// contact returns a member to which there is a connection, and its client: the one
// that pick names, or the next that can be reached. Nothing of a call was sent
// before, so that trying one member after the other repeats nothing.
func (m *members) contact(ctx context.Context) (int, *clientv3.Client, error) {
	var failed []error
	first, permanent := m.pick(), true
	for n := range m.all {
		i := (first + n) % len(m.all)
		c, err := m.reach(ctx, m.all[i])
		if err == nil {
			return i, c, nil
		}
		m.pass(i)
		failed = append(failed, err)
		permanent = permanent && errors.Is(err, lock.ErrPermanent)
		if ctx.Err() != nil {
			break
		}
	}
	err := errors.Join(failed...)
	if !permanent { // another member may come back
		err = errors.New(strings.ReplaceAll(err.Error(), lock.ErrPermanent.Error()+": ", ""))
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return 0, nil, err
}

// reachTimeout is how long a member that swallows everything keeps a call from the
// next one.
const reachTimeout = time.Second

// reach returns the member's client once its connection stands, and leads to a
// server that will do. A call without a connection would wait for one in silence.
func (m *members) reach(ctx context.Context, at *member) (*clientv3.Client, error) {
	at.busy.Add(1)
	defer at.busy.Add(-1)
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	c, err := m.clientOf(ctx, at)
	if err != nil {
		return nil, m.explain(at.told(ctx, err))
	}
	conn := c.ActiveConnection()
	if conn.GetState() == connectivity.Ready && at.known.Load() {
		return c, nil
	}
	st, err := pb.NewMaintenanceClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return nil, m.explain(m.refresh(at, c, at.told(ctx, rpctypes.Error(err))))
	}
	if tooOld(st.Version) {
		return nil, fmt.Errorf("%w: etcd %s: the server is version %s, and understudy needs 3.5 or later", lock.ErrPermanent, at.endpoint, st.Version)
	}
	at.known.Store(true)
	return c, nil
}

// atOnce makes a call fail whose connection has just broken. The client would have
// it wait for another.
func atOnce(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return next(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
}

// tooOld reports whether a server's version is one before 3.5.
func tooOld(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	m, err := strconv.Atoi(major)
	n, err2 := strconv.Atoi(minor)
	return err == nil && err2 == nil && (m < 3 || m == 3 && n < 5)
}

// lost waits until a connection that stood stands no more.
func lost(ctx context.Context, conn *grpc.ClientConn) error {
	for conn.GetState() == connectivity.Ready {
		if !conn.WaitForStateChange(ctx, connectivity.Ready) {
			return context.Cause(ctx)
		}
	}
	return errors.New("the connection broke")
}
