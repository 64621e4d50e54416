package lasting

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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
		waits := slow.Load()
		asked <- r.RemoteAddr
		if waits {
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

// TestFewGoOn: of many requests to a server that has stalled a few go on without their
// callers, and the others end with them.
func TestFewGoOn(t *testing.T) {
	const all = 3 * mostLeft
	begun, ended, answer := make(chan bool, all), make(chan bool, all), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- true
		select {
		case <-r.Context().Done():
			ended <- true
		case <-answer:
		}
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	client := http.Client{Transport: &Transport{Base: base, Open: t.Context(), Ends: func(*http.Request) bool { return false }}}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, all)
	for range all {
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
			if err == nil {
				_, err = client.Do(req)
			}
			gaveUp <- err
		}()
	}
	for range all {
		<-begun
	}
	cancel()
	for range all {
		if err := <-gaveUp; !errors.Is(err, context.Canceled) {
			t.Errorf("a request that was given up says %v", err)
		}
	}
	for range all - mostLeft {
		<-ended
	}
	if n := len(ended); n > 0 {
		t.Errorf("%d requests more have ended, want %d to go on", n, mostLeft)
	}
	close(answer)
}

// TestAnswersAreBounded: an answer without an end takes a bounded amount of memory.
func TestAnswersAreBounded(t *testing.T) {
	block := make([]byte, 1<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for err := error(nil); err == nil; {
			_, err = w.Write(block)
		}
	}))
	defer server.Close()
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	for _, ends := range []bool{false, true} {
		client := http.Client{Transport: &Transport{Base: base, Open: t.Context(), Ends: func(*http.Request) bool { return ends }}}
		res, err := client.Get(server.URL)
		if !ends {
			if err == nil || !strings.Contains(err.Error(), "the answer has more than 67108864 bytes") {
				t.Errorf("got %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != mostBytes || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}
