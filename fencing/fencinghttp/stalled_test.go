package fencinghttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/fencing"
)

// TestStalledAnswerIsOvertaken: a handler writes to a client that does not read. A greater
// token does not wait for that client, and comes after the handler has returned.
func TestStalledAnswerIsOvertaken(t *testing.T) {
	begun, order := make(chan struct{}), make(chan string, 2)
	url, client := serve(t, &fencing.Memory{}, func(w http.ResponseWriter, r *http.Request) {
		if _, token := fencing.FromContext(r.Context()); token != 5 {
			order <- "new began"
			return
		}
		close(begun)
		var err error
		for block := bytes.Repeat([]byte("x"), 1<<20); err == nil; {
			_, err = w.Write(block)
		}
		if !errors.Is(context.Cause(r.Context()), fencing.ErrStale) {
			t.Errorf("write: %v, cause: %v", err, context.Cause(r.Context()))
		}
		order <- "old returned"
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n%s: %s\r\n%s: 5\r\n\r\n", fencing.RoleHeader, fencing.FormatRole(role), fencing.TokenHeader); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReaderSize(conn, 16).Peek(1); err != nil { // and no more
		t.Fatal(err)
	}
	<-begun
	end := time.AfterFunc(10*time.Second, func() {
		t.Error("the handler waits for its client")
		conn.Close()
	})
	r, text, err := put(t, client, url, 6, nil)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Error(r, text, err)
	}
	if first, second := <-order, <-order; first != "old returned" || second != "new began" {
		t.Error(first, second)
	}
	end.Stop()
	conn.Close()
}
