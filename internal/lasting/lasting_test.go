package lasting

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// TestConnectionOutlivesItsCaller gives up requests whose answers come late: the next one
// takes their connection.
func TestConnectionOutlivesItsCaller(t *testing.T) {
	var slow atomic.Bool
	asked, answer := make(chan string, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RemoteAddr
		if slow.Load() {
			<-answer
		}
		_, _ = io.WriteString(w, "yes")
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	open, closed := context.WithCancel(t.Context())
	client := http.Client{Transport: &Transport{Base: base, Open: open, Ends: func(*http.Request) bool { return false }}}
	get := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		return res.Body.Close()
	}
	if err := get(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := <-asked
	for range 3 {
		slow.Store(true)
		ctx, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() { gaveUp <- get(ctx) }()
		if at := <-asked; at != first {
			t.Fatalf("a request came from %s, want the connection from %s", at, first)
		}
		cancel()
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("a request that was given up says %v", err)
		}
		slow.Store(false)
		answer <- struct{}{}
		time.Sleep(50 * time.Millisecond) // until the answer was read
	}
	slow.Store(true)
	ended := make(chan error)
	go func() { ended <- get(t.Context()) }()
	<-asked
	closed()
	if err := <-ended; err == nil {
		t.Error("a request goes on after everything was closed")
	}
	close(answer)
}
