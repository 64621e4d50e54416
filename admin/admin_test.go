package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	must  = lab.Must
	quiet = slog.New(slog.NewTextHandler(io.Discard, nil))
)

// A contender is one process of the tests, on a store in memory that can be cut off.
type contender struct {
	*coordinator.Monitor
	handler http.Handler
	config  coordinator.Config
	cut     atomic.Bool
	stop    func() error
}

func untilTold(ctx context.Context, _ coordinator.Term) error { <-ctx.Done(); return nil }

// contend runs a contender of some roles.
func contend(t testing.TB, store *memory.Store, id string, change func(*coordinator.Config), roles ...string) *contender {
	return contendWith(t, store, id, change, untilTold, roles...)
}

// contendWith is contend with work of the test's own.
func contendWith(t testing.TB, store *memory.Store, id string, change func(*coordinator.Config), work coordinator.Work, roles ...string) *contender {
	c := &contender{Monitor: new(coordinator.Monitor)}
	c.handler = Handler(c.Monitor, Options{})
	c.config = coordinator.Config{ID: id, TTL: 10 * time.Second, Logger: quiet, Now: coordinator.Virtual, Monitor: c.Monitor, NoExit: true}
	for _, role := range roles {
		c.config.Roles = append(c.config.Roles, lock.Bid{Role: role})
	}
	if change != nil {
		change(&c.config)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- coordinator.Run(ctx, &cutOff{store.Open(), c}, c.config, work) }()
	c.stop = func() error { cancel(); return <-ended }
	return c
}

// cutOff is a Locker whose sessions do not reach the store while their contender is cut off.
type cutOff struct {
	lock.Locker
	c *contender
}

func (l *cutOff) Register(ctx context.Context, c lock.Contender, p lock.Promise, bids ...lock.Bid) (lock.Session, error) {
	if l.c.cut.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s, err := l.Locker.Register(ctx, c, p, bids...)
	return &cutSession{s, l.c}, err
}

type cutSession struct {
	lock.Session
	c *contender
}

func (s *cutSession) Beat(ctx context.Context, bids ...lock.Bid) error {
	if s.c.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Session.Beat(ctx, bids...)
}

func (s *cutSession) Close(ctx context.Context) error {
	if s.c.cut.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.Session.Close(ctx)
}

// ask makes one request.
func (c *contender) ask(method, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w
}

// want fails unless these paths are answered with these codes: "/livez 200 /readyz 200".
func (c *contender) want(t *testing.T, pairs string) {
	t.Helper()
	fields := strings.Fields(pairs)
	for i := 0; i < len(fields); i += 2 {
		if w := c.ask("GET", fields[i]); fmt.Sprint(w.Code) != fields[i+1] {
			t.Errorf("%s is answered with %d, want %s: %s", fields[i], w.Code, fields[i+1], w.Body)
		}
	}
}

// TestStates asks an active, a standby and one that is cut off, as the page's table says.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		early := &contender{handler: Handler(new(coordinator.Monitor), Options{})}
		early.want(t, "/livez 200 /readyz 503 /active 503 /standby 503 /v1/health 503 /v1/status 200 /metrics 200")
		a := contend(t, store, "a", nil, "r")
		time.Sleep(time.Second)
		b := contend(t, store, "b", nil, "r")
		time.Sleep(time.Minute)
		a.want(t, "/livez 200 /readyz 200 /active 200 /primary 200 /leader 200 /standby 503 /replica 503 /v1/health 200 /active/ 200")
		b.want(t, "/livez 200 /readyz 200 /active 503 /primary 503 /leader 503 /standby 200 /replica 200 /v1/health 429 /v1/health?standbyok 200")
		for _, what := range []string{advice(a.Monitor, ""), advice(b.Monitor, ""), advice(b.Monitor, "r"), advice(b.Monitor, "other")} {
			t.Log(what)
		}
		if got := advice(a.Monitor, "") + "," + advice(b.Monitor, ""); got != "up ready,maint" {
			t.Errorf("the agents say %s", got)
		}
		a.cut.Store(true)
		r, _ := a.Role("r")
		a.want(t, "/active 200 /readyz 200")
		time.Sleep(r.Left)
		a.want(t, "/livez 200 /readyz 503 /active 503 /standby 503 /v1/health 503")
		if got := advice(a.Monitor, ""); !strings.HasPrefix(got, "down #") {
			t.Errorf("the agent of one that is cut off says %q", got)
		}
		time.Sleep(20 * time.Second)
		b.want(t, "/active 200 /readyz 200 /v1/health 200")
		a.cut.Store(false)
		time.Sleep(time.Minute)
		a.want(t, "/livez 200 /readyz 200 /active 503 /standby 200 /v1/health 429")
		must(t, errors.Join(a.stop(), b.stop()))
		a.want(t, "/livez 200 /readyz 503 /active 503 /standby 503 /v1/health 503")
	})
}

// TestUnhealthy: who is not healthy stands by for nothing, and says why.
func TestUnhealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := contend(t, memory.New(), "a", func(c *coordinator.Config) {
			c.Healthy = func(context.Context) error { return errors.New("no disk") }
		}, "r")
		time.Sleep(time.Minute)
		c.want(t, "/livez 200 /readyz 503 /active 503 /standby 503 /v1/health 503")
		if w := c.ask("GET", "/readyz"); !strings.Contains(w.Body.String(), "no disk") {
			t.Errorf("it does not say why: %s", w.Body)
		}
		must(t, c.stop())
	})
}

// TestRoles: with several roles a probe says which it means.
func TestRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := contend(t, memory.New(), "a", nil, "r", "other")
		time.Sleep(time.Second)
		c.want(t, "/active 400 /standby 400 /v1/health 400 /active?role=r 200 /standby?role=r 503 /active?role=none 404 /livez 200 /readyz 200 /readyz?role=r 200 /readyz?role=none 404 /v1/status?role=r 200 /v1/status?role=none 404")
		for _, path := range []string{"/active", "/active?role=none"} {
			var body refusal
			must(t, json.Unmarshal(c.ask("GET", path).Body.Bytes(), &body))
			if !slices.Equal(body.Roles, []string{"r", "other"}) || body.Error == "" {
				t.Errorf("%s: %+v", path, body)
			}
		}
		if got := advice(c.Monitor, ""); got != "down #agent-send must name one of r other" {
			t.Errorf("the agent says %q", got)
		}
		must(t, c.stop())
	})
}

// TestRequests: OPTIONS and HEAD have GET's code and no body, nothing else is answered, and no
// body is read.
func TestRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := contend(t, memory.New(), "a", nil, "r")
		time.Sleep(time.Second)
		for _, method := range []string{"HEAD", "OPTIONS"} {
			for path, want := range map[string]int{"/active": 200, "/standby": 503} {
				if w := c.ask(method, path); w.Code != want || w.Body.Len() > 0 {
					t.Errorf("%s %s is answered with %d %s", method, path, w.Code, w.Body)
				}
			}
		}
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			if w := c.ask(method, "/livez"); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != methods || !strings.Contains(w.Body.String(), methods) {
				t.Errorf("%s is answered with %d %s", method, w.Code, w.Body)
			}
		}
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, httptest.NewRequest("GET", "/livez", strings.NewReader("a body")))
		if w.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("a body is answered with %d", w.Code)
		}
		if w := c.ask("GET", "/nothing"); w.Code != 404 || !strings.Contains(w.Body.String(), "/livez") {
			t.Errorf("an unknown path is answered with %d %s", w.Code, w.Body)
		}
		must(t, c.stop())
	})
}

// TestStatus tells what an operator asks for first.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		a := contend(t, store, "a", func(c *coordinator.Config) { c.Address = "h1:80" }, "r")
		time.Sleep(time.Second)
		b := contend(t, store, "b", nil, "r")
		time.Sleep(time.Minute)
		var got processRow
		must(t, json.Unmarshal(b.ask("GET", "/v1/status").Body.Bytes(), &got))
		r := got.Roles[0]
		if got.ID != "b" || !got.Live || !got.Ready || !got.Store.Answers || got.Session == "" || got.Beats.Acknowledged == 0 || r.State != "standby" || r.Active == nil || r.Active.ID != "a" || r.Active.Address != "h1:80" || r.Left != 0 {
			t.Errorf("%+v", got)
		}
		must(t, json.Unmarshal(a.ask("GET", "/v1/status?role=r").Body.Bytes(), &r))
		if r.State != "active" || r.Token == 0 || r.Left <= 0 || r.Left > 10 || r.Cause != "granted" {
			t.Errorf("%+v", r)
		}
		must(t, errors.Join(a.stop(), b.stop()))
	})
}

// TestMetrics: those that a process has are the ones that are described, promlint finds nothing
// to blame, and docs/monitoring.md has each.
func TestMetrics(t *testing.T) {
	page, err := os.ReadFile("../docs/monitoring.md")
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		lags := map[string]time.Duration{"r": 1500 * time.Millisecond, "unread": math.MaxInt64, "none": -1}
		c := contend(t, memory.New(), "a", func(c *coordinator.Config) { c.Lag = func(role string) time.Duration { return lags[role] } }, "r", "unread", "none")
		time.Sleep(time.Minute)
		ends := certificates(func() map[string]time.Time { return map[string]time.Time{"a.pem": time.Now()} })
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(Collector(c.Monitor), ends)
		blames, err := testutil.GatherAndLint(registry)
		must(t, err)
		for _, b := range blames {
			t.Errorf("%s: %s", b.Metric, b.Text)
		}
		families, err := registry.Gather()
		must(t, err)
		if len(families) != len(named) {
			t.Errorf("%d metrics are told, and %d described", len(families), len(named))
		}
		shown := map[string]bool{}
		for _, m := range regexp.MustCompile("\\| `(understudy_[a-z_]+)`").FindAllStringSubmatch(string(page), -1) {
			shown[m[1]] = true
		}
		for _, f := range families {
			if !shown[f.GetName()] {
				t.Errorf("docs/monitoring.md does not have %s", f.GetName())
			}
			delete(shown, f.GetName())
		}
		for name := range shown {
			t.Errorf("docs/monitoring.md has %s, which there is not", name)
		}
		text := c.ask("GET", "/metrics").Body.String()
		for _, line := range []string{
			`understudy_role_active{role="r"} 1`, `understudy_role_state{role="r",state="active"} 1`, `understudy_role_state{role="r",state="standby"} 0`,
			`understudy_transitions_total{cause="granted",role="r"} 1`, `understudy_witness 0`, `understudy_registered 1`, `understudy_activation_duration_seconds_count 3`,
			`understudy_store_errors_total{kind="unanswered"} 0`, `understudy_role_lag_seconds{role="r"} 1.5`, `understudy_role_lag_seconds{role="unread"} +Inf`,
		} {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("there is no %s", line)
			}
		}
		if strings.Contains(text, `understudy_role_lag_seconds{role="none"}`) {
			t.Error("a role without a log has a lag")
		}
		for role, want := range map[string]string{"r": `"lagSeconds":1.5`, "unread": `"lagSeconds":null`, "none": ""} {
			text := c.ask("GET", "/v1/status?role="+role).Body.String()
			if got := regexp.MustCompile(`"lagSeconds":[^,}]*`).FindString(text); got != want {
				t.Errorf("role %s: %q, want %q", role, got, want)
			}
		}
		must(t, c.stop())
	})
}

// TestPage: docs/monitoring.md has every endpoint, state and cause.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../docs/monitoring.md")
	must(t, err)
	h := Handler(new(coordinator.Monitor), Options{}).(*handler)
	var words []string
	for path := range h.routes {
		words = append(words, path)
	}
	for _, c := range coordinator.Causes() {
		words = append(words, string(c))
	}
	for _, s := range coordinator.States() {
		words = append(words, string(s))
	}
	words = append(words, slices.Concat(coordinator.ErrorKinds(), coordinator.FenceOutcomes())...)
	for _, w := range words {
		if !strings.Contains(string(page), "`"+w+"`") {
			t.Errorf("docs/monitoring.md does not have `%s`", w)
		}
	}
}

// BenchmarkScrape is what a scrape of a thousand roles costs, beside one of a single role.
func BenchmarkScrape(b *testing.B) {
	cost := func(n int) time.Duration {
		var roles []string
		for i := range n {
			roles = append(roles, fmt.Sprint("role-", i))
		}
		c := contend(b, memory.New(), "a", func(c *coordinator.Config) { c.Now = nil }, roles...)
		lab.Eventually(b, "every role is active", func() bool {
			return !slices.ContainsFunc(c.Roles(), func(r coordinator.RoleStatus) bool { return !r.Works() }) && len(c.Roles()) == n
		})
		began := time.Now()
		for range b.N {
			if w := c.ask("GET", "/metrics"); w.Code != 200 {
				b.Fatal(w.Code)
			}
		}
		took := time.Since(began) / time.Duration(b.N)
		must(b, c.stop())
		return took
	}
	one, many := cost(1), cost(1000)
	b.ReportMetric(float64(one.Microseconds())/1000, "ms/of-one")
	b.ReportMetric(float64(many.Microseconds())/1000, "ms/of-1000")
	b.ReportMetric(float64(many)/float64(one), "ratio")
}
