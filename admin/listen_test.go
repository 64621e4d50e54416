package admin

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/understudy-ha/understudy/backends/memory"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// secret writes a file that nobody else may read.
func secret(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// listen shows a contender, until the test ends.
func listen(t *testing.T, c Config, m *coordinator.Monitor) *Server {
	t.Helper()
	c.Logger = quiet
	s, err := Listen(c, m)
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

const token = "0123456789abcdef"

// TestWhoMayAsk asks for a probe and for metrics with nothing, with a token, a wrong one, a
// certificate, and one that another authority has signed.
func TestWhoMayAsk(t *testing.T) {
	ca, err := servers.NewCA(t.TempDir())
	must(t, err)
	ours, err := ca.Issue("ours", time.Now().Add(time.Hour))
	must(t, err)
	other, err := servers.NewCA(t.TempDir())
	must(t, err)
	theirs, err := other.Issue("theirs", time.Now().Add(time.Hour))
	must(t, err)
	file, tls := secret(t, token+"\n"), Config{CertFile: ours.Cert, KeyFile: ours.Key, CAFile: ours.CA}
	both := tls
	both.TokenFile = file
	loopback, anywhere := "127.0.0.1:0", "0.0.0.0:0"
	for name, one := range map[string]struct {
		config Config
		listen string
		open   bool
		want   string // for each way to ask: may a probe, metrics, the status, the history
	}{
		"loopback":           {Config{}, loopback, false, "nothing:yyyy token:yyyy wrong:yyyy"},
		"loopback and token": {Config{TokenFile: file}, loopback, false, "nothing:ynnn token:yyyy wrong:ynnn"},
		"token":              {Config{TokenFile: file}, anywhere, false, "nothing:nnnn token:yyyy wrong:nnnn"},
		"token, open":        {Config{TokenFile: file}, anywhere, true, "nothing:ynnn token:yyyy wrong:ynnn"},
		"certificate":        {tls, anywhere, false, "nothing:nnnn token:nnnn ours:yyyy theirs:----"},
		"certificate, open":  {tls, anywhere, true, "nothing:ynnn token:ynnn ours:yyyy theirs:----"},
		"both":               {both, anywhere, false, "nothing:nnnn token:yyyy wrong:nnnn ours:yyyy theirs:----"},
	} {
		t.Run(name, func(t *testing.T) {
			one.config.Listen, one.config.Open = one.listen, one.open
			s := listen(t, one.config, new(coordinator.Monitor))
			for want := range strings.FieldsSeq(one.want) {
				how, want, _ := strings.Cut(want, ":")
				client := clientOf(t, how, ours, map[string]servers.Files{"ours": ours, "theirs": theirs}[how])
				got := ""
				for _, path := range []string{"/livez", "/metrics", "/v1/status", "/v1/history"} {
					got += client.may(s, one.config.CertFile != "", path)
				}
				if got != want {
					t.Errorf("with %s: %s, want %s", how, got, want)
				}
			}
		})
	}
}

// TestCertificateEnds is a metric of our own certificate, and of the authorities.
func TestCertificateEnds(t *testing.T) {
	ca, err := servers.NewCA(t.TempDir())
	must(t, err)
	ours, err := ca.Issue("ours", time.Now().Add(time.Hour))
	must(t, err)
	s := listen(t, Config{Listen: "127.0.0.1:0", CertFile: ours.Cert, KeyFile: ours.Key, CAFile: ours.CA}, new(coordinator.Monitor))
	w, err := clientOf(t, "ours", ours, ours).Get("https://" + s.Addr().String() + "/metrics")
	must(t, err)
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	must(t, err)
	for _, file := range []string{ours.Cert, ours.CA} {
		if want := fmt.Sprintf("understudy_certificate_not_after_timestamp_seconds{file=%q} ", file); !strings.Contains(string(text), want) {
			t.Errorf("there is no %s", want)
		}
	}
}

type asker struct {
	*http.Client
	bearer string
}

// clientOf is one that trusts our authority.
func clientOf(t *testing.T, how string, ours, mine servers.Files) asker {
	t.Helper()
	text, err := os.ReadFile(ours.CA)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	if mine.Cert != "" {
		pair, err := tls.LoadX509KeyPair(mine.Cert, mine.Key)
		must(t, err)
		// It is shown whichever authorities the server names.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	transport := &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}
	return asker{&http.Client{Transport: transport}, map[string]string{"token": token, "wrong": token + "0"}[how]}
}

// may is y or n, or - where there is no connection.
func (a asker) may(s *Server, secure bool, path string) string {
	_, port, _ := net.SplitHostPort(s.Addr().String())
	scheme := map[bool]string{true: "https", false: "http"}[secure]
	q, _ := http.NewRequest("GET", fmt.Sprintf("%s://127.0.0.1:%s%s", scheme, port, path), nil)
	if a.bearer != "" {
		q.Header.Set("Authorization", "Bearer "+a.bearer)
	}
	w, err := a.Do(q)
	if err != nil {
		return "-"
	}
	_ = w.Body.Close()
	if path == "/v1/history" && w.StatusCode == http.StatusServiceUnavailable { // before anything began there is none
		return "y"
	}
	return map[int]string{200: "y", 401: "n"}[w.StatusCode]
}

// TestANewToken counts from the next request on.
func TestANewToken(t *testing.T) {
	file := secret(t, token)
	s := listen(t, Config{Listen: "0.0.0.0:0", TokenFile: file}, new(coordinator.Monitor))
	old, now := asker{http.DefaultClient, token}, asker{http.DefaultClient, "another-one-of-16"}
	if old.may(s, false, "/livez") != "y" || now.may(s, false, "/livez") != "n" {
		t.Fatal("the token is not what is asked for")
	}
	q, _ := http.NewRequest("GET", "http://"+s.Addr().String()+"/livez", nil)
	q.Header.Set("Authorization", "bearer "+token) // the name of a scheme has no case
	w, err := http.DefaultClient.Do(q)
	must(t, err)
	if _ = w.Body.Close(); w.StatusCode != http.StatusOK {
		t.Errorf("a scheme in small letters: %s", w.Status)
	}
	must(t, os.WriteFile(file, []byte(now.bearer), 0o600))
	if old.may(s, false, "/livez") != "n" || now.may(s, false, "/livez") != "y" {
		t.Error("the new token does not count, or the old one does")
	}
	must(t, os.WriteFile(file, nil, 0o600)) // in the middle of a change
	if (asker{http.DefaultClient, ""}).may(s, false, "/livez") != "n" || now.may(s, false, "/livez") != "y" {
		t.Error("an empty file opens the door, or closes it")
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestMistakes are told by field, and nothing is bound.
func TestMistakes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	free, err := servers.Addresses(1)
	must(t, err)
	expired := func() Config {
		ca, err := servers.NewCA(t.TempDir())
		must(t, err)
		f, err := ca.Issue("old", time.Now().Add(-time.Hour))
		must(t, err)
		return Config{Listen: free[0], CertFile: f.Cert, KeyFile: f.Key}
	}()
	open := filepath.Join(t.TempDir(), "open")
	must(t, os.WriteFile(open, []byte(token), 0o644))
	for want, c := range map[string]Config{
		`Listen: "7070" is not an address; write HOST:PORT`:                  {Listen: "7070"},
		`Listen: "h:x": the port must be a number`:                           {Listen: "h:x"},
		`Listen: 0.0.0.0:1 is not on loopback, and anybody there could read`: {Listen: "0.0.0.0:1"},
		`Listen: :1 is not on loopback`:                                      {Listen: ":1", Open: true},
		`Listen: somewhere:1 is not on loopback`:                             {Listen: "somewhere:1"},
		`AgentListen: [::]:1 is not on loopback, and the agent's protocol`:   {AgentListen: "[::]:1"},
		`TokenFile: it protects nothing`:                                     {TokenFile: secret(t, token)},
		`TokenFile: the token has 5 characters, but must have at least 16`:   {Listen: free[0], TokenFile: secret(t, "short")},
		`TokenFile: ` + open + `: others may read it`:                        {Listen: free[0], TokenFile: open},
		`CertFile and KeyFile: give both or none`:                            {Listen: free[0], CertFile: "x"},
		`CertFile: certificate `:                                             expired,
		`CAFile: clients show certificates to a server that has one`:         {Listen: free[0], CAFile: open},
		`Listen: listen tcp ` + taken.Addr().String() + `: bind: address already in use; free the address, or give another one`: {Listen: taken.Addr().String(), AgentListen: free[0]},
		`AgentListen: listen tcp ` + taken.Addr().String():                                                                      {Listen: free[0], AgentListen: taken.Addr().String()},
	} {
		c.Logger = quiet
		s, err := Listen(c, new(coordinator.Monitor))
		if err == nil {
			s.Close()
			t.Errorf("no error, want %q", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
		l, err := net.Listen("tcp", free[0])
		if err != nil {
			t.Fatalf("after %q an address stays bound: %v", want, err)
		}
		must(t, l.Close())
	}
}

// TestWatch is told over one connection, without TLS, that the role moves.
func TestWatch(t *testing.T) {
	store := memory.New()
	real := func(c *coordinator.Config) { c.Now = nil }
	a := contend(t, store, "a", real, "r")
	lab.Eventually(t, "a is active", func() bool { r, _ := a.Role("r"); return r.Works() })
	b := contend(t, store, "b", real, "r")
	lab.Eventually(t, "b stands by", func() bool { r, _ := b.Role("r"); return r.State == coordinator.Standby })
	s := listen(t, Config{Listen: "127.0.0.1:0"}, b.Monitor)
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	client := grpc_health_v1.NewHealthClient(conn)
	watch := func(service string) (next func() grpc_health_v1.HealthCheckResponse_ServingStatus) {
		w, err := client.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		must(t, err)
		return func() grpc_health_v1.HealthCheckResponse_ServingStatus {
			got, err := w.Recv()
			must(t, err)
			return got.Status
		}
	}
	active, byName, ready, none := watch(ActiveService), watch(ActiveService+"/r"), watch(""), watch("none")
	if active() != grpc_health_v1.HealthCheckResponse_NOT_SERVING || byName() != grpc_health_v1.HealthCheckResponse_NOT_SERVING ||
		ready() != grpc_health_v1.HealthCheckResponse_SERVING || none() != grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Error("a standby is ready, and not active")
	}
	must(t, a.stop())
	if active() != grpc_health_v1.HealthCheckResponse_SERVING || byName() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Error("the watch was told something else than that the role has come")
	}
	got, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: ActiveService})
	must(t, err)
	if got.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("an active is %v", got.Status)
	}
	if _, err = client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), ActiveService+"/r") {
		t.Errorf("an unknown service: %v", err)
	}
	list, err := client.List(t.Context(), &grpc_health_v1.HealthListRequest{})
	if must(t, err); len(list.Statuses) != 2 {
		t.Errorf("there are %v", list.Statuses)
	}
	must(t, b.stop())
	if active() != grpc_health_v1.HealthCheckResponse_NOT_SERVING || ready() != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
		t.Error("the watch was not told that the process has stopped")
	}
}

// TestGRPCNeedsProtection, too, off loopback.
func TestGRPCNeedsProtection(t *testing.T) {
	s := listen(t, Config{Listen: "0.0.0.0:0", TokenFile: secret(t, token)}, new(coordinator.Monitor))
	_, port, _ := net.SplitHostPort(s.Addr().String())
	conn, err := grpc.NewClient("127.0.0.1:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
}

// TestAgent answers a line, and with several roles about the one that is sent.
func TestAgent(t *testing.T) {
	real := func(c *coordinator.Config) { c.Now = nil }
	store := memory.New()
	one := contend(t, store, "a", real, "r")
	several := contend(t, store, "b", real, "r", "other")
	lab.Eventually(t, "one is active, and the other stands by", func() bool {
		r, _ := one.Role("r")
		s, _ := several.Role("r")
		o, _ := several.Role("other")
		return (r.Works() && s.State == coordinator.Standby || s.Works() && r.State == coordinator.Standby) && o.Works()
	})
	ask := func(s *Server, send string) string {
		conn, err := net.Dial("tcp", s.AgentAddr().String())
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, send)
		must(t, err)
		line, err := bufio.NewReader(conn).ReadString('\n')
		must(t, err)
		return strings.TrimSpace(line)
	}
	words := map[bool]string{true: "up ready", false: "maint"}
	r, _ := one.Role("r")
	first, second := listen(t, Config{AgentListen: "127.0.0.1:0"}, one.Monitor), listen(t, Config{AgentListen: "127.0.0.1:0"}, several.Monitor)
	for _, c := range []struct {
		s          *Server
		send, want string
	}{
		{first, "", words[r.Works()]},
		{first, "r\n", words[r.Works()]},
		{second, "r\n", words[!r.Works()]},
		{second, "other\n", "up ready"},
		{second, "none\n", `down #no role "none" here`},
		{second, "\n", "down #agent-send must name one of r other"},
	} {
		if got := ask(c.s, c.send); got != c.want {
			t.Errorf("sent %q, it says %q, want %q", c.send, got, c.want)
		}
	}
	must(t, one.stop())
	must(t, several.stop())
}

// TestCloseWaitsForNoClient, be it one that watches, or one that says nothing.
func TestCloseWaitsForNoClient(t *testing.T) {
	s := listen(t, Config{Listen: "127.0.0.1:0", AgentListen: "127.0.0.1:0"}, new(coordinator.Monitor))
	silent, err := net.Dial("tcp", s.Addr().String())
	must(t, err)
	defer silent.Close()
	conn, err := grpc.NewClient(s.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	defer conn.Close()
	w, err := grpc_health_v1.NewHealthClient(conn).Watch(context.Background(), &grpc_health_v1.HealthCheckRequest{})
	must(t, err)
	_, err = w.Recv()
	must(t, err)
	s.Close()
	if _, err = w.Recv(); err == nil {
		t.Error("the watch goes on")
	}
}
