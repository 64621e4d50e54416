package admin

import (
	"context"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
)

// value is what /metrics says of a metric, by its name and labels; NaN never stands for one that is not there.
func (c *contender) value(t *testing.T, name string) float64 {
	t.Helper()
	text := c.ask("GET", "/metrics").Body.String()
	found := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(name) + " (.*)$").FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("there is no %s:\n%s", name, text)
	}
	v, err := strconv.ParseFloat(found[1], 64)
	must(t, err)
	return v
}

// TestValues: the token, what is left of the promise, the store's last success and the work that is over are those of the
// moment of the scrape.
func TestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		terms := make(chan coordinator.Term, 2)
		a := contendWith(t, store, "a", nil, func(ctx context.Context, term coordinator.Term) error {
			terms <- term
			<-ctx.Done()
			return nil
		}, "r")
		time.Sleep(time.Second)
		b := contend(t, store, "b", nil, "r")
		time.Sleep(time.Minute)
		term := <-terms
		if got := a.value(t, `understudy_role_token{role="r"}`); got != float64(term.Token) {
			t.Errorf("the active's token is %v, want %d", got, term.Token)
		}
		if left, want := a.value(t, `understudy_role_promise_left_seconds{role="r"}`), term.Left().Seconds(); left != want || left <= 0 || left > 10 {
			t.Errorf("%v s of the promise are left, want %v", left, want)
		}
		if heard := a.value(t, "understudy_store_last_success_timestamp_seconds"); heard > float64(time.Now().Unix()) || heard < float64(time.Now().Unix())-10 {
			t.Errorf("the store last answered at %v, and it is %d", heard, time.Now().Unix())
		}
		for name, want := range map[string]float64{`understudy_role_token{role="r"}`: 0, `understudy_role_promise_left_seconds{role="r"}`: 0, `understudy_role_active{role="r"}`: 0, `understudy_role_ready{role="r"}`: 1} {
			if got := b.value(t, name); got != want {
				t.Errorf("a standby's %s is %v, want %v", name, got, want)
			}
		}
		before := a.value(t, `understudy_role_promise_left_seconds{role="r"}`)
		a.cut.Store(true)
		time.Sleep(2 * time.Second)
		if left := a.value(t, `understudy_role_promise_left_seconds{role="r"}`); left >= before {
			t.Errorf("cut off, %v s of the promise are left, after %v", left, before)
		}
		time.Sleep(time.Minute)
		if left := a.value(t, `understudy_role_promise_left_seconds{role="r"}`); left != 0 {
			t.Errorf("%v s are left of a promise that is over", left)
		}
		if ready := a.value(t, `understudy_role_ready{role="r"}`); ready != 0 {
			t.Errorf("cut off, it is ready: %v", ready)
		}
		if n := a.value(t, `understudy_beats_total{outcome="failed"}`); n == 0 {
			t.Error("no beat has failed")
		}
		a.cut.Store(false)
		must(t, a.stop())
		must(t, b.stop())
	})
}

// TestCertificateValue: the end of each certificate is a time.
func TestCertificateValue(t *testing.T) {
	ends := time.Unix(2_000_000_000, 0)
	got := testutil.ToFloat64(prometheus.Collector(certificates(func() map[string]time.Time { return map[string]time.Time{"a.pem": ends} })))
	if got != 2_000_000_000 {
		t.Errorf("it ends at %v", got)
	}
}

// TestReadyWithSeveralRoles: a process is ready while one of its roles can be served here, and a probe that names a role is
// told of that one.
func TestReadyWithSeveralRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		fail := make(chan struct{})
		c := contendWith(t, store, "a", nil, func(ctx context.Context, term coordinator.Term) error {
			if term.Role == "spoilt" {
				<-fail
				return nil // its work is done for good
			}
			return untilTold(ctx, term)
		}, "r", "spoilt")
		time.Sleep(time.Second)
		c.want(t, "/readyz 200 /readyz?role=r 200 /readyz?role=spoilt 200")
		close(fail)
		time.Sleep(time.Second)
		c.want(t, "/readyz 200 /readyz?role=r 200 /readyz?role=spoilt 503 /livez 200")
		must(t, c.stop())
	})
}
