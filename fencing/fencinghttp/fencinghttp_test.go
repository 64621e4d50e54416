package fencinghttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinghttp"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const role = "Ablösung 1"

// serve starts a server behind a gate, and returns its URL and a client.
func serve(t *testing.T, tokens fencing.Tokens, next http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	return serveBy(t, 1, tokens, next)
}

// serveBy is serve by HTTP/1.1 or by HTTP/2, in which all of a client's requests share a connection.
func serveBy(t *testing.T, version int, tokens fencing.Tokens, next http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(fencinghttp.Handler(fencing.NewGate(tokens, role), next))
	base := &http.Transport{}
	if s.EnableHTTP2 = version == 2; s.EnableHTTP2 {
		s.StartTLS()
		base = s.Client().Transport.(*http.Transport)
	} else {
		s.Start()
	}
	t.Cleanup(func() { base.CloseIdleConnections(); s.Close() })
	return s.URL, &http.Client{Transport: &fencinghttp.Transport{Base: base}}
}

func put(t testing.TB, c *http.Client, url string, token lock.Token, body io.Reader) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(fencing.NewContext(t.Context(), role, token), http.MethodPut, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r, string(text), err
}

// TestSmallerTokenIsRefused also for a read, and the handler does not hear of it.
func TestSmallerTokenIsRefused(t *testing.T) {
	var calls []lock.Token
	url, client := serve(t, &fencing.Memory{}, func(_ http.ResponseWriter, r *http.Request) {
		name, token := fencing.FromContext(r.Context())
		if name != role {
			t.Errorf("the handler sees role %q", name)
		}
		calls = append(calls, token)
	})
	for _, token := range []lock.Token{7, 7, 9} {
		r, text, err := put(t, client, url, token, nil)
		if err != nil || r.StatusCode != http.StatusOK || fencinghttp.Stale(r) != nil {
			t.Fatal(r, text, err)
		}
	}
	r, text, err := put(t, client, url, 8, nil)
	if err != nil || r.StatusCode != http.StatusPreconditionFailed || !strings.Contains(text, "token 8") || !strings.Contains(text, "9") {
		t.Fatal(r, text, err)
	}
	var stale *fencing.StaleError
	if !errors.As(fencinghttp.Stale(r), &stale) || *stale != (fencing.StaleError{Role: role, Token: 8, Current: 9}) {
		t.Fatalf("%v", stale)
	}
	if len(calls) != 3 {
		t.Fatalf("the handler was called for %v", calls)
	}
}

// TestStatus of each way to be refused.
func TestStatus(t *testing.T) {
	url, client := serve(t, broken{}, func(http.ResponseWriter, *http.Request) { t.Error("the handler was called") })
	plain := client.Transport.(*fencinghttp.Transport).Base
	for _, c := range []struct {
		role, token string
		want        int
	}{
		{"", "1", http.StatusPreconditionRequired},
		{"r", "", http.StatusPreconditionRequired},
		{"r", "x", http.StatusBadRequest},
		{"r", "0", http.StatusBadRequest},
		{"other", "1", http.StatusForbidden},
		{fencing.FormatRole(role), "1", http.StatusServiceUnavailable},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		req.Header.Set(fencing.RoleHeader, c.role)
		req.Header.Set(fencing.TokenHeader, c.token)
		r, err := plain.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != c.want || fencinghttp.Stale(r) != nil {
			t.Errorf("%q %q: %s, want %d", c.role, c.token, r.Status, c.want)
		}
	}
	if _, err := client.Get(url); !errors.Is(err, fencing.ErrNoTerm) {
		t.Errorf("without a term: %v", err)
	}
}

type broken struct{}

func (broken) Raise(context.Context, string, lock.Token) error { return errors.New("no database") }

// TestStalledRequestIsOvertaken: a handler waits for the body of a client that stalls. A
// greater token does not wait for that client, and comes after the handler has returned.
func TestStalledRequestIsOvertaken(t *testing.T) {
	for version, protocol := range map[int]string{1: "HTTP/1.1", 2: "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) { testStalledRequest(t, version, protocol) })
	}
}

func testStalledRequest(t *testing.T, version int, protocol string) {
	begun, order := make(chan struct{}), make(chan string, 2)
	url, client := serveBy(t, version, &fencing.Memory{}, func(_ http.ResponseWriter, r *http.Request) {
		_, token := fencing.FromContext(r.Context())
		if token == 5 {
			close(begun)
			_, err := io.ReadAll(r.Body)
			if err == nil || !errors.Is(context.Cause(r.Context()), fencing.ErrStale) {
				t.Errorf("read: %v, cause: %v", err, context.Cause(r.Context()))
			}
			order <- "old returned"
			return
		}
		order <- "new began"
	})
	body, stall := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _, _ = put(t, client, url, 5, body) // its connection breaks, or it has an answer of no worth
	}()
	_, _ = stall.Write([]byte("half"))
	<-begun
	if r, text, err := put(t, client, url, 6, nil); err != nil || r.StatusCode != http.StatusOK || r.Proto != protocol {
		t.Fatal(r, text, err)
	}
	if first, second := <-order, <-order; first != "old returned" || second != "new began" {
		t.Fatal(first, second)
	}
	stall.Close()
	<-done
}

// TestConnectionIsNotUsedAgain on which a request was overtaken, though its answer had
// been read whole: the next request on it is not handled, or it is answered.
func TestConnectionIsNotUsedAgain(t *testing.T) {
	inside, handled := make(chan struct{}), make(chan string, 2)
	url, client := serve(t, &fencing.Memory{}, func(w http.ResponseWriter, r *http.Request) {
		if _, token := fencing.FromContext(r.Context()); token == 5 {
			w.Header().Set("Content-Length", "2")
			_, _ = io.WriteString(w, "ok")
			_ = http.NewResponseController(w).Flush()
			close(inside)
			<-r.Context().Done()
			return
		}
		handled <- r.URL.Path
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	send := func(path string, token lock.Token) error {
		_, err := fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n%s: %s\r\n%s: %s\r\n\r\n",
			path, fencing.RoleHeader, fencing.FormatRole(role), fencing.TokenHeader, fencing.FormatToken(token))
		if err != nil {
			return err
		}
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		_, err = io.ReadAll(r.Body)
		return err
	}
	if err := send("/old", 5); err != nil {
		t.Fatal(err)
	}
	<-inside
	if _, _, err := put(t, client, url+"/new", 6, nil); err != nil {
		t.Fatal(err)
	}
	<-handled
	if err := send("/again", 6); err != nil { // a proxy may share its connections
		select {
		case path := <-handled:
			t.Errorf("%s was handled, and its answer is lost: %v", path, err)
		default:
		}
	}
}
