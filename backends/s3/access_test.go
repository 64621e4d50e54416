//go:build s3

package s3

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestAccess is all that takes a server which nobody kills.
func TestAccess(t *testing.T) {
	r := start(t, servers.Options{})
	for name, test := range map[string]func(*testing.T, *rig){
		"Conditions": testConditions, "Race": testRace, "Dropped": testDropped, "Conflict409": testConflict409, "Foreign": testForeign, "Refused": testRefused, "Renewed": testRenewed, "Deleted": testDeleted, "ClockBack": testClockBack, "TooLarge": testTooLarge,
	} {
		t.Run(name, func(t *testing.T) { test(t, &rig{t, r.Cluster, r.hand}) })
	}
}

// testConditions: what is written on a condition that does not hold is a conflict, and changes nothing.
func testConditions(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	s := r.store(r.config("understudy-conditions"))
	if _, err := s.Put(ctx, []byte("0"), nobodys); !errors.Is(err, object.ErrConflict) {
		t.Errorf("a version where nothing is: %v", err)
	}
	one, err := s.Put(ctx, []byte("1"), "")
	must(t, err)
	if _, err := s.Put(ctx, []byte("2"), ""); !errors.Is(err, object.ErrConflict) {
		t.Errorf("a second first: %v", err)
	}
	two, err := s.Put(ctx, []byte("2"), one.Version)
	must(t, err)
	if _, err := s.Put(ctx, []byte("3"), one.Version); !errors.Is(err, object.ErrConflict) {
		t.Errorf("an earlier version: %v", err)
	}
	if now, err := s.Get(ctx); err != nil || now.Version != two.Version || string(now.Data) != "2" {
		t.Errorf("%v, %v is there", now, err)
	}
	r.do(http.MethodDelete, s.key, nil, "")
	if _, err := s.Put(ctx, []byte("3"), two.Version); !errors.Is(err, object.ErrConflict) {
		t.Errorf("a version that was deleted: %v", err)
	}
}

// testRace: of many that write at once on one version exactly one is let in.
func testRace(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	s := r.store(r.config("understudy-race"))
	must(t, s.conditions(ctx))
	version := ""
	for round := range 10 {
		var all sync.WaitGroup
		var won atomic.Pointer[object.Value]
		var winners atomic.Int32
		for n := range 32 {
			all.Go(func() {
				v, err := s.put(ctx, s.key, fmt.Appendf(nil, "%d %d", round, n), version)
				if err == nil {
					winners.Add(1)
					won.Store(&v)
				} else if !errors.Is(err, object.ErrConflict) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if winners.Load() != 1 {
			t.Fatalf("round %d: %d of 32 have won", round, winners.Load())
		}
		version = won.Load().Version
	}
}

// proxied leads to the server through a proxy that changes requests or answers them itself.
func (r *rig) proxied(c Config, change func(w http.ResponseWriter, req *http.Request) (done bool)) Config {
	to := &httputil.ReverseProxy{Director: func(req *http.Request) { req.URL.Scheme, req.URL.Host = "http", r.Members[0].Addr() }}
	p := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !change(w, req) {
			to.ServeHTTP(w, req)
		}
	}))
	r.Cleanup(p.Close)
	u, err := url.Parse(p.URL)
	must(r, err)
	c.Endpoint = "http://" + u.Host
	return c
}

// unconditional is a way on which one header is lost, like that of a server which does not know it: its own signature covers
// what is left.
func (r *rig) unconditional(c Config, header string) Config {
	return r.proxied(c, func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut || req.Header.Get(header) == "" {
			return false
		}
		key := strings.TrimPrefix(req.URL.Path, "/"+servers.Bucket+"/")
		body := make([]byte, req.ContentLength)
		_, _ = req.Body.Read(body)
		a, err := r.hand.do(req.Context(), http.MethodPut, key, nil, nil, body)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		w.Header().Set("ETag", a.etag)
		return true
	})
}

// testDropped: a server that writes whatever a condition says is refused by name, and before it has written anything of ours,
// also where another process has found no fault with another server.
func testDropped(t *testing.T, r *rig) {
	for i, header := range []string{"If-None-Match", "If-Match"} {
		for _, there := range []bool{false, true} {
			name := fmt.Sprintf("understudy-dropped-%d-%v", i, there)
			if there {
				must(t, first(t, r.config(name)))
			}
			before, err := r.hand.do(within(t, time.Minute), http.MethodGet, name, nil, nil, nil)
			if !there && !is(err, "NoSuchKey") {
				t.Fatal(err)
			}
			err = first(t, r.unconditional(r.config(name), header))
			if !errors.Is(err, ErrUnconditional) || !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), header) {
				t.Errorf("%s is dropped: %v", header, err)
			}
			if now, _ := r.hand.do(within(t, time.Minute), http.MethodGet, name, nil, nil, nil); now.etag != before.etag {
				t.Errorf("%s was written", name)
			}
		}
	}
}

// testConflict409: AWS answers with it where another write is under way. Nothing was written, and the call goes on.
func testConflict409(t *testing.T, r *rig) {
	var left atomic.Int32
	c := r.proxied(r.config("understudy-409"), func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut || left.Add(-1) < 0 {
			return false
		}
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`<Error><Code>ConditionalRequestConflict</Code><Message>at the same time</Message></Error>`))
		return true
	})
	must(t, first(t, c))
	left.Store(3)
	must(t, first(t, c))
	if left.Load() >= 0 {
		t.Error("nobody was answered with 409")
	}
}

// testForeign: what is not ours, and what is newer, is named and left alone.
func testForeign(t *testing.T, r *rig) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"understudy-foreign": {"a picture", object.ErrForeign}, "understudy-newer": {`{"Store": "understudy", "Format": 99}`, object.ErrNewer},
		"understudy-picture": {strings.Repeat("x", limit+1), object.ErrForeign},
	} {
		r.do(http.MethodPut, name, nil, c.text)
		if err := first(t, r.config(name)); !errors.Is(err, c.want) || !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if now := r.do(http.MethodGet, name, nil, ""); string(now.body) != c.text {
			t.Errorf("%s holds %q", name, now.body)
		}
	}
}

// testRefused: what somebody must change is said with what it is.
func testRefused(t *testing.T, r *rig) {
	wrong, broad := filepath.Join(t.TempDir(), "wrong"), filepath.Join(t.TempDir(), "none")
	for file, text := range map[string]string{
		wrong: "[default]\naws_access_key_id = billing\naws_secret_access_key = wrong\n",
		broad: "[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n",
	} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
	}
	skewed := r.proxied(r.config("understudy-skew"), func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<Error><Code>RequestTimeTooSkewed</Code><Message>too far</Message></Error>`))
		return true
	})
	for want, change := range map[string]func(*Config){
		"SignatureDoesNotMatch": func(c *Config) { c.CredentialsFile = wrong },
		"InvalidAccessKeyId":    func(c *Config) { c.CredentialsFile = broad },
		`Bucket: "nowhere" is not there (the server answered 404 NoSuchBucket`: func(c *Config) { c.Bucket = "nowhere" },
		"CredentialsFile: the server answered 403 AccessDenied":                func(c *Config) { c.Object = "another" },
		"this machine's clock is 1h0m":                                         func(c *Config) { *c = skewed },
		"Region":                                                               func(c *Config) { c.Region = "eu-west-1" },
	} {
		c := r.config("understudy-refused")
		change(&c)
		if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// testRenewed: credentials that are replaced need no restart.
func testRenewed(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	good, err := os.ReadFile(r.Members[0].UserCredentials())
	must(t, err)
	c := r.config("understudy-renewed")
	c.CredentialsFile = filepath.Join(t.TempDir(), "credentials")
	must(t, os.WriteFile(c.CredentialsFile, good, 0o600))
	var refuse atomic.Bool
	c = r.proxied(c, func(w http.ResponseWriter, req *http.Request) bool {
		if !refuse.Load() || !strings.Contains(req.Header.Get("Authorization"), servers.S3User+"/") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`<Error><Code>ExpiredToken</Code><Message>it has expired</Message></Error>`))
		return true
	})
	s := register(t, ctx, open(t, c), "a")
	refuse.Store(true)
	if err := s.Beat(ctx); !errors.Is(err, lock.ErrRefused) || errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "ExpiredToken") {
		t.Errorf("%v: it is being replaced", err)
	}
	other, err := os.ReadFile(r.Members[0].Credentials())
	must(t, err)
	must(t, os.WriteFile(c.CredentialsFile, other, 0o600))
	must(t, s.Beat(ctx))
}

// testDeleted: the session is lost, and no token comes back, also when it is deleted within a second.
func testDeleted(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	c, last := r.config("understudy-deleted"), lock.Token(0)
	for n := range 5 {
		a := register(t, ctx, open(t, c), fmt.Sprint("a", n))
		token, err := a.TryAcquire(ctx, "r")
		if err != nil || token <= last {
			t.Fatalf("token %d, %v; before it was %d", token, err, last)
		}
		last = token
		r.do(http.MethodDelete, c.Object, nil, "")
		if err := until(ctx, beat(a)); err == nil {
			t.Error("a beat succeeded on an object that is not there")
		}
	}
}

// testClockBack: the server's clock is turned back, and counts rise all the same.
func testClockBack(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	c := r.config("understudy-clock")
	before, err := r.store(c).Start(ctx)
	must(t, err)
	if now := uint64(time.Now().UnixMicro()); before < now-10e6 || before > now {
		t.Errorf("a count of %d at %d", before, now)
	}
	// What the server's clock had shown a year later stands there.
	later := before + 365*24*3600*1e6
	r.do(http.MethodPut, c.Object+".start", nil, fmt.Sprint(later))
	if after, err := r.store(c).Start(ctx); err != nil || after <= later {
		t.Errorf("a count of %d, %v, after %d", after, err, later)
	}
	r.do(http.MethodPut, c.Object+".start", nil, "a picture")
	if _, err := r.store(c).Start(ctx); !errors.Is(err, object.ErrForeign) {
		t.Error(err)
	}
}

// testTooLarge: nothing is sent that is over the limit, and the error has the number.
func testTooLarge(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	c := r.config("understudy-large")
	l := open(t, c)
	register(t, ctx, l, "a")
	before := r.do(http.MethodGet, c.Object, nil, "").etag
	for n := 0; ; n++ {
		big := lock.Contender{ID: fmt.Sprint(n), Session: lock.SessionID(fmt.Sprint("s", n)), Labels: lab.Labels(16)}
		_, err := l.Register(ctx, big, lock.Promise{TTL: 10 * time.Second, Skew: time.Second})
		if errors.Is(err, object.ErrTooLarge) && errors.Is(err, lock.ErrPermanent) && strings.Contains(err.Error(), "at most 917504") {
			break
		}
		if err != nil || n > 300 {
			t.Fatalf("%d contenders: %v", n, err)
		}
		before = r.do(http.MethodGet, c.Object, nil, "").etag
	}
	if now := r.do(http.MethodGet, c.Object, nil, "").etag; now != before {
		t.Error("what is too large was sent")
	}
}

// TestVersions is all that takes a bucket which keeps versions.
func TestVersions(t *testing.T) {
	r := start(t, servers.Options{})
	r.do(http.MethodPut, "", url.Values{"versioning": {""}}, `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`)
	for name, test := range map[string]func(*testing.T, *rig){"PutBack": testPutBack, "Race": testRace, "DeletedThere": testDeletedThere} {
		t.Run(name, func(t *testing.T) { test(t, &rig{t, r.Cluster, r.hand}) })
	}
}

// testDeletedThere: versitygw takes the last version for one that is there still after it was deleted, so that the object may go on as it
// was. No token comes back either way, and nobody takes a role that is held.
func testDeletedThere(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	c := r.config("understudy-gone")
	a := register(t, ctx, open(t, c), "a")
	before, err := a.TryAcquire(ctx, "r")
	must(t, err)
	r.do(http.MethodDelete, c.Object, nil, "")
	goesOn := until(ctx, beat(a)) == nil
	b := register(t, ctx, open(t, c), "b")
	after, err := b.TryAcquire(ctx, "r")
	if goesOn && !errors.Is(err, lock.ErrHeld) || !goesOn && (err != nil || after <= before) {
		t.Errorf("token %d, %v, after %d; the holder goes on: %v", after, err, before, goesOn)
	}
}

// testPutBack: an earlier version of the bucket is put back. Who saw the later term is shown the one that is there, and a raised
// floor is the way out.
func testPutBack(t *testing.T, r *rig) {
	ctx := within(t, time.Minute)
	c := r.config("understudy-back")
	l := open(t, c)
	a, b := register(t, ctx, l, "a"), register(t, ctx, l, "b")
	kept, err := a.TryAcquire(ctx, "r")
	must(t, err)
	earlier := r.do(http.MethodGet, c.Object, nil, "")
	must(t, a.Release(ctx, "r", kept))
	lost, err := b.TryAcquire(ctx, "r")
	must(t, err)
	r.do(http.MethodPut, c.Object, nil, string(earlier.body))
	if now := r.do(http.MethodGet, c.Object, nil, "").etag; now != earlier.etag {
		t.Fatalf("the version that was put back is %s, want %s", now, earlier.etag)
	}
	must(t, until(ctx, beat(b)))
	if st := lab.Standing(t, ctx, l, "r"); st.Term.Token != kept || lost <= kept {
		t.Errorf("token %d is shown, want %d, put back after %d", st.Term.Token, kept, lost)
	}
	must(t, l.Raise(ctx, lost))
	must(t, a.Release(ctx, "r", kept))
	if next, err := b.TryAcquire(ctx, "r"); err != nil || next <= lost {
		t.Errorf("token %d, %v, after %d", next, err, lost)
	}
}

// TestTLS: the server's certificate is checked.
func TestTLS(t *testing.T) {
	_, files := serve.CA(t)
	_, others := serve.CA(t)
	r := start(t, servers.Options{TLS: &files})
	c := r.manager("")
	c.Endpoint = "https://" + r.Members[0].Addr()
	c.CAFile = files.CA
	must(t, first(t, c))
	c.CAFile = others.CA
	if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "signed by none of the authorities in "+others.CA) {
		t.Error(err)
	}
}

// TestRestart kills the server and starts it again: sessions and terms go on.
func TestRestart(t *testing.T) {
	r, ctx := start(t, servers.Options{}), within(t, 3*time.Minute)
	lab.Outlives(t, ctx, open(t, r.config("")), r.Members[0].Kill, r.Members[0].Restart)
}
