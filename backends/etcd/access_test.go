package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

var must, timeout = lab.Must, lab.Within

func cluster(t testing.TB, n int, o servers.Options) *servers.Cluster {
	t.Helper()
	return serve.Start(t, "etcd", n, o)
}

func endpoints(c *servers.Cluster) (all []string) {
	for _, m := range c.Members {
		all = append(all, m.Addr())
	}
	return all
}

func open(t testing.TB, c Config) lock.Locker {
	t.Helper()
	l, err := Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// raw is a client of etcd's own, for what an operator does by hand.
func raw(t testing.TB, c clientv3.Config) *clientv3.Client {
	t.Helper()
	c.Logger = zap.NewNop()
	client, err := clientv3.New(c)
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// walk takes a session through every call of the contract.
func walk(t testing.TB, l lock.Locker, name string) error {
	return lab.Walk(timeout(t, 10*time.Second), l, name)
}

// secret writes a password where nobody else may read it.
func secret(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	return path
}

// enableAuth has the servers ask for passwords. That of root is rootpw.
func enableAuth(ctx context.Context, t *testing.T, c *servers.Cluster) {
	t.Helper()
	root := raw(t, clientv3.Config{Endpoints: endpoints(c)})
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "rootpw"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		must(t, do())
	}
}

// TestLeastPrivilege walks through the contract as a user with exactly the role in
// docs/etcd.md, and expects each refusal to be named.
func TestLeastPrivilege(t *testing.T) {
	c := cluster(t, 1, servers.Options{})
	root := raw(t, clientv3.Config{Endpoints: endpoints(c)})
	ctx := timeout(t, 30*time.Second)
	for _, do := range []func() error{
		func() error { _, err := root.RoleAdd(ctx, "root"); return err },
		func() error { _, err := root.UserAdd(ctx, "root", "rootpw"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.RoleAdd(ctx, "understudy"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "understudy", "understudy/", clientv3.GetPrefixRangeEnd("understudy/"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserAdd(ctx, "billing", "hunter2"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "billing", "understudy"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		must(t, do())
	}
	config := Config{Endpoints: endpoints(c), Username: "billing", PasswordFile: secret(t, "hunter2")}
	must(t, walk(t, open(t, config), "a"))
	must(t, walk(t, open(t, Config{Endpoints: endpoints(c), Username: "billing", Password: "hunter2"}), "text"))

	for _, test := range []struct {
		what, want string
		change     func(*Config)
	}{
		{"another prefix", "grant it a role with readwrite on the prefix \"elsewhere/\"", func(c *Config) { c.Prefix = "elsewhere" }},
		{"a wrong password", "refuses user billing", func(c *Config) { c.PasswordFile = secret(t, "wrong") }},
		{"a wrong password as text", "Username and Password: ", func(c *Config) { c.PasswordFile, c.Password = "", "wrong" }},
		{"no user", "Username and PasswordFile: ", func(c *Config) { c.Username, c.PasswordFile = "", "" }},
	} {
		other := config
		test.change(&other)
		err := walk(t, open(t, other), "b")
		var field *lock.FieldError // a mistake in what was given: exit code 64
		if !errors.Is(err, lock.ErrPermanent) || !errors.As(err, &field) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want ErrPermanent about a setting with %q", test.what, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "wrong\n")) {
			t.Errorf("%s: the error shows a secret: %v", test.what, err)
		}
	}
}

// TestTLS speaks to a server that asks for certificates, with a right one, after
// it was replaced, and with each that is wrong.
func TestTLS(t *testing.T) {
	ca, server := serve.CA(t)
	c := cluster(t, 1, servers.Options{TLS: &server})
	ours, err := ca.Issue("ours", time.Now().Add(time.Hour))
	must(t, err)
	config := Config{Endpoints: []string{"https://" + c.Members[0].Addr()}, CAFile: ours.CA, CertFile: ours.Cert, KeyFile: ours.Key}
	must(t, walk(t, open(t, config), "a"))

	_, theirs := serve.CA(t)
	wrong := config
	wrong.CAFile = theirs.CA
	if err := walk(t, open(t, wrong), "b"); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "CAFile: ") {
		t.Errorf("wrong authority: %v", err)
	}
	renamed := config
	renamed.Endpoints = []string{strings.Replace(config.Endpoints[0], "127.0.0.1", "ip6-localhost.invalid", 1)}
	if err := renamed.Validate(); err != nil {
		t.Error(err)
	}

	// A certificate that has expired is replaced while the process runs.
	_, err = ca.Issue("server", time.Now().Add(-time.Minute))
	must(t, err)
	c.Members[0].Kill()
	must(t, c.Members[0].Restart(timeout(t, time.Minute)))
	l := open(t, config)
	if err := walk(t, l, "c"); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("expired: %v", err)
	}
	_, err = ca.Issue("server", time.Now().Add(time.Hour))
	must(t, err)
	c.Members[0].Kill()
	must(t, c.Members[0].Restart(timeout(t, time.Minute)))
	for ctx, n := timeout(t, 20*time.Second), 0; ; n++ { // the client finds back by itself
		if err = walk(t, l, fmt.Sprint("d", n)); err == nil || errors.Is(err, lock.ErrPermanent) || ctx.Err() != nil {
			break
		}
	}
	must(t, err)
	expire(t, c, ca, l)

	wrong = config
	wrong.CertFile, wrong.KeyFile = theirs.Cert, theirs.Key
	refused := open(t, wrong)
	for ctx := timeout(t, 10*time.Second); err == nil || !strings.Contains(err.Error(), "tls: ") && ctx.Err() == nil; {
		err = walk(t, refused, "f") // a refusal may be told by a connection that just breaks
	}
	if !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "CertFile: ") {
		t.Errorf("a stranger's certificate: %v", err)
	}
}

// TestTLSWhereThereIsNone speaks TLS to a server that does not, and without to one that does, and without a certificate
// to one that wants one: the very first call says so, as a command makes no other.
func TestTLSWhereThereIsNone(t *testing.T) {
	t.Parallel()
	_, server := serve.CA(t)
	plain, secure := cluster(t, 1, servers.Options{}), cluster(t, 1, servers.Options{TLS: &server})
	for range 5 { // how the connection breaks is a race
		for what, test := range map[string]struct {
			at     *servers.Cluster
			config Config
			cure   string
		}{
			"https to plain": {plain, Config{Endpoints: []string{"https://" + plain.Members[0].Addr()}}, "Endpoints: etcd does not speak TLS at https://" + plain.Members[0].Addr() + "; write http://"},
			"http to TLS":    {secure, Config{Endpoints: []string{"http://" + secure.Members[0].Addr()}}, "Endpoints and CAFile: etcd speaks TLS at http://" + secure.Members[0].Addr() + "; write https://"},
			"no certificate": {secure, Config{Endpoints: []string{"https://" + secure.Members[0].Addr()}, CAFile: server.CA}, "CertFile and KeyFile: etcd: it refuses us without a certificate, and none is given"},
		} {
			l := open(t, test.config)
			err := l.Raise(timeout(t, 5*time.Second), 1)
			if !errors.Is(err, lock.ErrPermanent) || !certs.Failed(err) || !strings.Contains(err.Error(), test.cure) {
				t.Errorf("%s: %v, want ErrPermanent with %q", what, err, test.cure)
			}
		}
	}
}

// TestTLSFromNowOn: a server that comes back with TLS is told as such to who has worked with it, and may go back.
func TestTLSFromNowOn(t *testing.T) {
	t.Parallel()
	_, server := serve.CA(t)
	plain, secure := cluster(t, 1, servers.Options{}), cluster(t, 1, servers.Options{TLS: &server})
	var now atomic.Pointer[string]
	first, then := plain.Members[0].Addr(), secure.Members[0].Addr()
	now.Store(&first)
	l := open(t, Config{Endpoints: []string{first}, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, *now.Load())
	}})
	must(t, l.Raise(timeout(t, 5*time.Second), 1))
	now.Store(&then)
	plain.Stop()
	var err error
	for ctx := timeout(t, 5*time.Second); ctx.Err() == nil && (err == nil || !strings.Contains(err.Error(), "write https://")); {
		err = l.Raise(timeout(t, time.Second), 2)
	}
	if err == nil || !strings.Contains(err.Error(), "etcd speaks TLS at "+first+"; write https://") || errors.Is(err, lock.ErrPermanent) {
		t.Errorf("got %v, want what it is, and not for good", err)
	}
}

// TestSilentMember: a member that takes connections and says nothing is told as such, and within how long, once.
func TestSilentMember(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	l := open(t, Config{Endpoints: []string{listener.Addr().String()}})
	for _, patience := range []time.Duration{300 * time.Millisecond, 3 * time.Second} {
		err := l.Raise(timeout(t, patience), 1)
		if err == nil || !strings.Contains(err.Error(), "it took the connection, and said nothing for ") ||
			strings.Contains(err.Error(), "use of closed") || strings.Count(err.Error(), "context deadline exceeded") > 1 {
			t.Errorf("within %s: %v", patience, err)
		}
		t.Log(err)
	}
}

// TestPortForPeers: an endpoint that is etcd's other port is told as such.
func TestPortForPeers(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	err := walk(t, open(t, Config{Endpoints: []string{s.URL}}), "a")
	if err == nil || !strings.Contains(err.Error(), "write its port for clients") {
		t.Errorf("told: %v", err)
	}
}

// TestAuthorityIsReplaced: the files, the server's too, are another authority's from now on, and who has worked works on.
func TestAuthorityIsReplaced(t *testing.T) {
	ca, server := serve.CA(t)
	c := cluster(t, 1, servers.Options{TLS: &server})
	ours, err := ca.Issue("ours", time.Now().Add(time.Hour))
	must(t, err)
	l := open(t, Config{Endpoints: []string{"https://" + c.Members[0].Addr()}, CAFile: ours.CA, CertFile: ours.Cert, KeyFile: ours.Key})
	must(t, walk(t, l, "a"))

	must(t, ca.Replace("server", "ours"))
	c.Members[0].Kill()
	must(t, c.Members[0].Restart(timeout(t, time.Minute)))
	for ctx, n := timeout(t, 20*time.Second), 0; ; n++ { // the client finds back by itself
		if err = walk(t, l, fmt.Sprint("b", n)); err == nil || ctx.Err() != nil {
			break
		}
	}
	must(t, err)
}

// expire lets the server's and the client's certificates run out, one after the other. Who
// has worked is not to end for that: it may be renewed. It is said which it is.
func expire(t *testing.T, c *servers.Cluster, ca *servers.CA, l lock.Locker) {
	t.Helper()
	for _, name := range []string{"server", "ours"} {
		_, err := ca.Issue(name, time.Now().Add(-time.Minute))
		must(t, err)
		c.Members[0].Kill()
		must(t, c.Members[0].Restart(timeout(t, time.Minute)))
		for ctx := timeout(t, 10*time.Second); ; {
			if err = walk(t, l, "e "+name); err != nil && (strings.Contains(err.Error(), "expired") || ctx.Err() != nil) {
				break
			}
		}
		if errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "expired") {
			t.Errorf("the certificate of %s expired: %v", name, err)
		}
		_, err = ca.Issue(name, time.Now().Add(time.Hour))
		must(t, err)
	}
	c.Members[0].Kill()
	must(t, c.Members[0].Restart(timeout(t, time.Minute)))
}

// TestTwoClusters names endpoints that do not belong together. What one cluster has is
// never looked for in the other, and work goes on in the first that answered; when that is
// gone the other one is refused, as it is another store.
func TestTwoClusters(t *testing.T) {
	a, b := cluster(t, 1, servers.Options{}), cluster(t, 1, servers.Options{})
	l := open(t, Config{Endpoints: append(endpoints(a), endpoints(b)...)})
	s, err := l.Register(t.Context(), lock.Contender{ID: "a", Session: "a-1"}, lock.Promise{TTL: time.Minute}, lock.Bid{Role: "r"})
	must(t, err)
	var named atomic.Bool
	for range 20 { // each endpoint in turn, where the one before is busy
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				err := s.Beat(t.Context())
				if err != nil && strings.Contains(err.Error(), "name members of one cluster") {
					named.Store(true)
				}
				if errors.Is(err, lock.ErrLost) || errors.Is(err, lock.ErrPermanent) {
					t.Errorf("a beat says %v", err)
				}
			})
		}
		all.Wait()
	}
	if !named.Load() {
		t.Error("no error names the two clusters")
	}
	must(t, s.Beat(t.Context()))
	a.Stop()
	for err, end := error(nil), time.Now().Add(time.Minute); !errors.Is(err, lock.ErrOtherStore); {
		if time.Now().After(end) {
			t.Fatal(err)
		}
		_, err = l.Register(timeout(t, 5*time.Second), lock.Contender{ID: "a", Session: "a-2"}, lock.Promise{TTL: time.Minute}, lock.Bid{Role: "r"})
		if err == nil {
			t.Fatal("another store was taken for the old one")
		}
	}
}

// TestNobodyThere is bounded by the context, and nothing that gives up for good.
func TestNobodyThere(t *testing.T) {
	c := cluster(t, 1, servers.Options{})
	l := open(t, Config{Endpoints: endpoints(c)})
	must(t, walk(t, l, "a"))
	must(t, c.Members[0].Pause())
	defer func() { must(t, c.Members[0].Resume()) }()
	ctx := timeout(t, 200*time.Millisecond)
	begin := time.Now()
	_, err := l.Register(ctx, lock.Contender{ID: "b", Session: "b-1"}, lock.Promise{TTL: time.Second})
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	for _, named := range []error{lock.ErrPermanent, lock.ErrHeld, lock.ErrLost, lock.ErrMoved, lock.ErrGone, lock.ErrRolledBack} {
		if err == nil || errors.Is(err, named) {
			t.Errorf("got %v, want no named error", err)
		}
	}
}
