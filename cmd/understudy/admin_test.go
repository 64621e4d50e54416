//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/understudy-ha/understudy/admin"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// A shown trio is one whose wrappers have listeners.
type shown struct {
	*trio
	admin, agent map[string]string // where each listens
	client       http.Client
}

func newShown(t *testing.T, store string) *shown {
	t.Helper()
	return showOf(t, newTrio(t, store))
}

// showOf gives the wrappers of a trio addresses.
func showOf(t *testing.T, r *trio) *shown {
	t.Helper()
	s := &shown{r, map[string]string{}, map[string]string{}, http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	addresses, err := servers.Addresses(2 * len(s.ids))
	must(t, err)
	for i, id := range s.ids {
		s.admin[id], s.agent[id] = addresses[2*i], addresses[2*i+1]
	}
	return s
}

// show starts every wrapper with its listeners.
func (s *shown) show(flags ...string) {
	s.t.Helper()
	for _, id := range s.ids {
		s.start(id, append([]string{"--admin-listen", s.admin[id], "--admin-agent-listen", s.agent[id]}, flags...)...)
	}
}

// ask makes one request; code 0: there was no answer.
func (s *shown) ask(id, path string) (code int, body string) {
	w, err := s.client.Get("http://" + s.admin[id] + path)
	if err != nil {
		return 0, err.Error()
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		return 0, err.Error()
	}
	return w.StatusCode, string(text)
}

// becomes waits until paths are answered with codes.
func (s *shown) becomes(id string, want map[string]int) {
	s.t.Helper()
	for path, code := range want {
		s.eventually(fmt.Sprintf("%s%s is answered with %d", id, path, code), func() bool { got, _ := s.ask(id, path); return got == code })
	}
}

// advised is what HAProxy is told.
func (s *shown) advised(id string) string {
	conn, err := net.Dial("tcp", s.agent[id])
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	text, _ := io.ReadAll(conn) // what came counts
	return strings.TrimSpace(string(text))
}

var (
	asActive  = map[string]int{"/livez": 200, "/readyz": 200, "/active": 200, "/primary": 200, "/standby": 503, "/v1/health": 200}
	asStandby = map[string]int{"/livez": 200, "/readyz": 200, "/active": 503, "/leader": 503, "/replica": 200, "/v1/health": 429}
)

// TestAdmin asks a trio on every store who is active, before, at and after a handoff and a
// crash.
func TestAdmin(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *trio) {
		s := showOf(t, r)
		s.show()
		now := s.settle()
		to := s.others(now.id)[0]
		told := s.watch(to)
		for _, id := range s.ids {
			if id == now.id {
				s.becomes(id, asActive)
			} else {
				s.becomes(id, asStandby)
			}
		}
		if got := s.advised(now.id) + "," + s.advised(to); got != "up ready,maint" {
			t.Errorf("HAProxy is told %s", got)
		}
		if first := <-told; first {
			t.Error("a watch of a standby is told that it is active")
		}
		s.handoff(to)
		if !<-told {
			t.Error("a watch is told something else than that the role has come")
		}
		now = s.active(now.token)
		s.becomes(to, asActive)
		var state struct {
			Roles []struct {
				State  string
				Token  uint64
				Active struct{ ID string }
			}
		}
		_, body := s.ask(to, "/v1/status")
		must(t, json.Unmarshal([]byte(body), &state))
		if got := state.Roles[0]; got.State != "active" || got.Token != now.token || got.Active.ID != to {
			t.Errorf("the status says %+v, and %+v works", got, now)
		}
		s.kill(to, syscall.SIGKILL)
		after := s.active(now.token)
		s.becomes(after.id, asActive)
		_, body = s.ask(after.id, "/metrics")
		for _, line := range []string{`understudy_role_active{role="r"} 1`, `understudy_witness 1`, `understudy_failover_duration_seconds_count 1`, `understudy_transitions_total{cause="granted",role="r"} `} {
			if !strings.Contains(body, line) {
				t.Errorf("the metrics lack %s", line)
			}
		}
		for _, id := range s.others(to) {
			s.kill(id, syscall.SIGTERM)
		}
		s.judge()
	})
}

// watch follows whether a contender is active, by gRPC.
func (s *shown) watch(id string) <-chan bool {
	conn, err := grpc.NewClient(s.admin[id], grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(s.t, err)
	s.t.Cleanup(func() { _ = conn.Close() })
	stream, err := grpc_health_v1.NewHealthClient(conn).Watch(s.t.Context(), &grpc_health_v1.HealthCheckRequest{Service: admin.ActiveService}, grpc.WaitForReady(true))
	must(s.t, err)
	told := make(chan bool, 16)
	go func() {
		defer close(told)
		for {
			got, err := stream.Recv()
			if err != nil {
				return
			}
			told <- got.Status == grpc_health_v1.HealthCheckResponse_SERVING
		}
	}()
	return told
}

// TestAdminOfAStoreThatHangs: once the promise is over nobody counts as active, or as ready,
// and everybody as alive. When the store goes on, so does everything.
func TestAdminOfAStoreThatHangs(t *testing.T) {
	t.Parallel()
	s := newShown(t, onEtcd)
	s.show()
	now := s.settle()
	s.becomes(now.id, asActive)
	resume, err := s.cluster.Pause()
	must(t, err)
	for _, id := range s.ids {
		s.becomes(id, map[string]int{"/active": 503, "/readyz": 503, "/livez": 200, "/v1/health": 503})
	}
	if got := s.advised(now.id); !strings.HasPrefix(got, "down #") {
		t.Errorf("HAProxy is told %q", got)
	}
	_, body := s.ask(now.id, "/metrics")
	if !strings.Contains(body, `understudy_role_active{role="r"} 0`) || strings.Contains(body, `understudy_store_errors_total{kind="unanswered"} 0`) {
		t.Error("the metrics do not tell of the store")
	}
	must(t, resume())
	after := s.active(now.token)
	s.becomes(after.id, asActive)
	s.finish()
}

// TestAdminAfterASleep: a wrapper that was stopped for longer than its promise, and goes on,
// never says that it is active under the old token.
func TestAdminAfterASleep(t *testing.T) {
	t.Parallel()
	s := newShown(t, onRaft)
	s.more = []string{"--witness=false", "--hang-timeout", "0"}
	s.show()
	var now span
	s.eventually("all are in line", func() (ok bool) { now, ok = s.whole(); return ok })
	s.becomes(now.id, asActive)
	wrapper := s.procs[now.id].Process.Pid
	s.stopping(wrapper, func() { s.active(now.token) })
	s.send(wrapper, syscall.SIGCONT)
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) { // it wakes meanwhile
		code, body := s.ask(now.id, "/active")
		var got struct{ Token uint64 }
		if code == 200 && (json.Unmarshal([]byte(body), &got) != nil || got.Token <= now.token) {
			t.Errorf("after its promise it says %s", body)
		}
	}
	s.judge()
}

// TestAdminMistakes end a run before anything is written: a port that is taken, and an address
// that others reach without protection.
func TestAdminMistakes(t *testing.T) {
	t.Parallel()
	s := newShown(t, onRaft)
	taken, err := net.Listen("tcp", s.admin["a"])
	must(t, err)
	defer taken.Close()
	const inUse = "bind: address already in use"
	for want, flags := range map[string][]string{
		"understudy: admin-listen: listen tcp " + s.admin["a"] + ": " + inUse: {"--admin-listen", s.admin["a"]},
		"understudy: admin-listen: 0.0.0.0:7070 is not on loopback":           {"--admin-listen", "0.0.0.0:7070", "--admin-open"},
		"understudy: admin-agent-listen: 0.0.0.0:7070 is not on loopback":     {"--admin-agent-listen", "0.0.0.0:7070"},
	} {
		code, text := s.run("a", flags...)
		wants := cli.Usage
		if strings.HasSuffix(want, inUse) { // somebody may free it
			wants = cli.Lacking
		}
		if code != wants || !strings.Contains(text, want) {
			t.Errorf("%v: exit code %d\n%s", flags, code, text)
		}
		if _, err := os.Stat(filepath.Join(s.dir, "a")); err == nil {
			t.Errorf("%v: its data directory was made", flags)
		}
	}
}

// TestAdminToken: who has the token of a file may ask for metrics, on any address.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	s := newShown(t, onEtcd)
	token := filepath.Join(s.dir, "token")
	must(t, os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600))
	_, port, _ := net.SplitHostPort(s.admin["a"])
	s.start("a", "--admin-listen", "0.0.0.0:"+port, "--admin-open", "--admin-token-file", token)
	s.becomes("a", map[string]int{"/active": 200, "/metrics": 401, "/v1/status": 401})
	q, err := http.NewRequest("GET", "http://"+s.admin["a"]+"/metrics", nil)
	must(t, err)
	q.Header.Set("Authorization", "Bearer 0123456789abcdef")
	w, err := s.client.Do(q)
	must(t, err)
	defer w.Body.Close()
	if w.StatusCode != 200 {
		t.Errorf("with the token: %d", w.StatusCode)
	}
	s.kill("a", syscall.SIGTERM)
}

// TestHistoryIsShown: a contender's listener tells what the store has, and once a second at most.
func TestHistoryIsShown(t *testing.T) {
	t.Parallel()
	s := newShown(t, onEtcd)
	s.show()
	now := s.settle()
	for _, id := range s.ids {
		s.eventually(id+" tells that the term began", func() bool {
			code, body := s.ask(id, "/v1/history")
			return code == 200 && strings.Contains(body, fmt.Sprintf(`"by":%q,"kind":"began","token":%d`, now.id, now.token))
		})
	}
	if code, body := s.ask("a", "/v1/history?role=x"); code != 404 {
		t.Errorf("of a role that there is not: %d %s", code, body)
	}
	must(t, s.cluster.Members[0].Pause())
	s.becomes(now.id, map[string]int{"/v1/history": 503, "/livez": 200})
	must(t, s.cluster.Members[0].Resume())
	s.becomes(now.id, map[string]int{"/v1/history": 200})
}
