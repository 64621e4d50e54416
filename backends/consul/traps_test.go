package consul

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// raw is a client of Consul's own, for what an operator does by hand.
func raw(t testing.TB, addr, token string) *api.Client {
	t.Helper()
	wire := &http.Transport{DisableKeepAlives: true}
	c, err := api.NewClient(&api.Config{Address: addr, Scheme: "http", Token: token, HttpClient: &http.Client{Transport: wire}})
	must(t, err)
	return c
}

// following runs a Follow of key, and sends its records and then its error.
func following(t testing.TB, s *store, key string) (<-chan kv.Record, <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	v, err := s.Read(ctx, key)
	must(t, err)
	records, ended, done := make(chan kv.Record), make(chan error, 1), make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		for changes, err := range s.Follow(ctx, v, key) {
			if err != nil {
				ended <- err
				return
			}
			for _, r := range changes {
				select {
				case records <- r:
				case <-ctx.Done():
				}
			}
		}
	}()
	return records, ended
}

// endsForNow waits for the end of a follow, which may be begun again.
func endsForNow(ctx context.Context, t testing.TB, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if errors.Is(err, lock.ErrPermanent) {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("the follow went on")
	}
}

func next(t testing.TB, records <-chan kv.Record, ended <-chan error) kv.Record {
	t.Helper()
	select {
	case r := <-records:
		return r
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return kv.Record{}
}

// Consul keeps the index of a key that is set to the value that it has.
func TestAnEqualValueMakesARevision(t *testing.T) {
	s, ctx := open(t, Config{}), timeout(t, 10*time.Second)
	first, err := put(ctx, s, "equal/a", "same", "")
	must(t, err)
	second, err := put(ctx, s, "equal/a", "same", "")
	must(t, err)
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
}

// After a session was destroyed, Consul refuses its keys for the lock delay, which
// is 15 s where none is given.
func TestTheLockDelayIsShort(t *testing.T) {
	s, ctx := open(t, Config{}), timeout(t, 10*time.Second)
	for range 10 {
		one, err := s.Grant(ctx, time.Minute)
		must(t, err)
		two, err := s.Grant(ctx, time.Minute)
		must(t, err)
		_, err = put(ctx, s, "delay/a", string(one), one)
		must(t, err)
		must(t, s.Revoke(ctx, one))
		began := time.Now()
		for {
			_, err = put(ctx, s, "delay/a", string(two), two)
			if err == nil {
				break
			}
			if errors.Is(err, lock.ErrPermanent) || errors.Is(err, kv.ErrNoLease) || time.Since(began) > time.Second {
				t.Fatalf("after %s: %v", time.Since(began), err)
			}
		}
		must(t, s.Revoke(ctx, two))
	}
}

// A node that is deregistered takes the sessions of its agent with it.
func TestADeregisteredNodeIsNoLease(t *testing.T) {
	c := start(t, 1, servers.Options{})
	s, ctx := open(t, Config{Address: c.Members[0].Addr()}), timeout(t, 20*time.Second)
	l, err := s.Grant(ctx, time.Minute)
	must(t, err)
	_, err = put(ctx, s, "node/a", "1", l)
	must(t, err)
	records, ended := following(t, s, "node/a")
	_, err = raw(t, c.Members[0].Addr(), "").Catalog().Deregister(&api.CatalogDeregistration{Node: "n0"}, nil)
	must(t, err)
	if r := next(t, records, ended); r.Key != "node/a" || r.Revision != 0 {
		t.Errorf("%+v", r)
	}
	if err := s.Keep(ctx, l); !errors.Is(err, kv.ErrNoLease) {
		t.Errorf("keep: %v", err)
	}
	if _, err := put(ctx, s, "node/a", "2", l); !errors.Is(err, kv.ErrNoLease) {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.Grant(ctx, time.Minute); errors.Is(err, lock.ErrPermanent) {
		t.Errorf("the node comes back by itself, and yet: %v", err)
	}
}

// A snapshot that is restored brings back old records; the index rises all the
// same.
func TestARestoredSnapshotEndsAFollow(t *testing.T) {
	c := start(t, 1, servers.Options{})
	s, ctx := open(t, Config{Address: c.Members[0].Addr()}), timeout(t, 30*time.Second)
	_, err := put(ctx, s, "back/a", "1", "")
	must(t, err)
	operator := raw(t, c.Members[0].Addr(), "")
	stream, _, err := operator.Snapshot().Save(nil)
	must(t, err)
	snapshot, err := io.ReadAll(stream)
	must(t, err)
	must(t, stream.Close())
	records, ended := following(t, s, "back/a")
	last, err := put(ctx, s, "back/a", "2", "")
	must(t, err)
	next(t, records, ended)
	must(t, operator.Snapshot().Restore(nil, bytes.NewReader(snapshot)))
	select {
	case err := <-ended:
		if !errors.Is(err, errWentBack) {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Fatal("the follow went on")
	}
	again, err := put(ctx, s, "back/a", "3", "")
	must(t, err)
	if again <= last {
		t.Errorf("revision %d after %d", again, last)
	}
}

func TestARestartEndsAFollow(t *testing.T) {
	c := start(t, 1, servers.Options{})
	m, ctx := c.Members[0], timeout(t, 30*time.Second)
	s := open(t, Config{Address: m.Addr()})
	first, err := put(ctx, s, "restart/a", "1", "")
	must(t, err)
	_, ended := following(t, s, "restart/")
	m.Kill()
	endsForNow(ctx, t, ended)
	if _, err := s.Read(ctx, "restart/a"); err == nil || errors.Is(err, lock.ErrPermanent) {
		t.Errorf("a server that is down: %v", err)
	}
	must(t, m.Restart(ctx))
	v, err := s.Read(ctx, "restart/a")
	must(t, err)
	if got := v.Get("restart/a"); string(got.Value) != "1" || got.Revision != first {
		t.Errorf("%+v", got)
	}
}

// Every call obeys its context within 100 ms, and Close ends every call, where the
// server is silent.
func TestASilentServer(t *testing.T) {
	c := start(t, 1, servers.Options{})
	m, ctx := c.Members[0], timeout(t, 30*time.Second)
	s := open(t, Config{Address: m.Addr()})
	l, err := s.Grant(ctx, time.Minute)
	must(t, err)
	v, err := s.Read(ctx, "silent/")
	must(t, err)
	calls := map[string]func(context.Context) error{
		"read":   func(ctx context.Context) error { _, err := s.Read(ctx, "silent/a"); return err },
		"commit": func(ctx context.Context) error { _, err := put(ctx, s, "silent/a", "1", ""); return err },
		"grant":  func(ctx context.Context) error { _, err := s.Grant(ctx, time.Minute); return err },
		"keep":   func(ctx context.Context) error { return s.Keep(ctx, l) },
		"revoke": func(ctx context.Context) error { return s.Revoke(ctx, l) },
		"follow": func(ctx context.Context) (err error) {
			for _, err = range s.Follow(ctx, v, "silent/", "silent") {
			}
			return err
		},
	}
	must(t, m.Pause())
	const limit = 200 * time.Millisecond
	for name, call := range calls {
		short, cancel := context.WithTimeout(ctx, limit)
		began := time.Now()
		err := call(short)
		cancel()
		if took := time.Since(began); took > limit+time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: after %s: %v", name, took, err)
		}
	}
	ends := make(chan error)
	for _, call := range calls {
		go func() { ends <- call(ctx) }()
	}
	must(t, s.Close())
	must(t, s.Close())
	began := time.Now()
	for range calls {
		if err := <-ends; !errors.Is(err, errClosed) {
			t.Error(err)
		}
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("Close ended every call after %s", took)
	}
	must(t, m.Resume())
}

// For an absent key and an empty prefix Consul answers at every write of anybody.
func TestOthersWritesMakeNoBusyLoop(t *testing.T) {
	agent, err := url.Parse("http://" + shared.Members[0].Addr())
	must(t, err)
	var asked atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(agent)
	forward.Transport = &http.Transport{DisableKeepAlives: true}
	forward.ErrorLog = log.New(io.Discard, "", 0) // our own cancelled queries
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	s, ctx := open(t, Config{Address: proxy.URL}), timeout(t, 20*time.Second)
	other := open(t, Config{})
	absent, absentEnded := following(t, s, "busy/absent")
	empty, emptyEnded := following(t, s, "busy/empty/")
	began, before := time.Now(), asked.Load()
	for i := 0; time.Since(began) < 2*time.Second; i++ {
		_, err := put(ctx, other, "busier", strconv.Itoa(i), "")
		must(t, err)
	}
	most := 4 * (int64(time.Since(began)/breather) + 2) // two keys, twice each
	if n := asked.Load() - before; n > most {
		t.Errorf("%d requests in %s, want %d at most", n, time.Since(began), most)
	}
	for key, ended := range map[string]<-chan error{"busy/absent": absentEnded, "busy/empty/a": emptyEnded} {
		_, err = put(ctx, other, key, "1", "")
		must(t, err)
		records := map[bool]<-chan kv.Record{true: absent, false: empty}[key == "busy/absent"]
		if r := next(t, records, ended); r.Key != key || r.Revision == 0 {
			t.Errorf("%+v", r)
		}
	}
}

// Three servers: writes go on through an agent that lives, and nothing that was
// committed is lost.
func TestTheLeaderDies(t *testing.T) {
	c := start(t, 3, servers.Options{})
	ctx := timeout(t, time.Minute)
	leader, err := c.Leader(ctx)
	must(t, err)
	s := open(t, Config{Address: c.Members[(leader+1)%3].Addr()})
	last, err := put(ctx, s, "leader/a", "0", "")
	must(t, err)
	c.Members[leader].Kill()
	began := time.Now()
	for i := 1; ; i++ {
		try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		now, err := put(try, s, "leader/a", strconv.Itoa(i), "")
		cancel()
		if err == nil {
			if now <= last {
				t.Errorf("revision %d after %d", now, last)
			}
			t.Logf("writes stalled for %s", time.Since(began))
			return
		}
		if errors.Is(err, lock.ErrPermanent) || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsPermanent(t *testing.T) {
	_, port, _ := strings.Cut(shared.Members[0].Addr(), ":")
	for name, test := range map[string]struct {
		config Config
		want   string
	}{
		"an unknown datacenter":  {Config{Datacenter: "dc9"}, "dc1"},
		"a server without TLS":   {Config{Address: "https://127.0.0.1:" + port}, "does not speak TLS"},
		"nobody at the address":  {Config{Address: "127.0.0.1:1"}, ""},
		"a host that is unknown": {Config{Address: "none.invalid:8500"}, ""},
	} {
		s := open(t, test.config)
		_, err := s.Read(timeout(t, 5*time.Second), "a")
		if err == nil || errors.Is(err, lock.ErrPermanent) != (test.want != "") || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
