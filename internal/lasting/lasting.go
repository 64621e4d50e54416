// Package lasting makes HTTP requests that outlive their callers.
package lasting

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// A Transport goes on with a request that its caller has given up once that had a
// connection. HTTP/1.1 would close the connection with it, and where the server is far
// away the next request, which needs a round trip more for a new one, would be late as
// well, and so on.
type Transport struct {
	Base http.RoundTripper
	Open context.Context          // nothing goes on when it is done
	Ends func(*http.Request) bool // requests that end with their callers, as long ones should

	left atomic.Int32 // requests that go on without their callers
}

// A request goes on for so long, and so many do at once: each keeps a connection, and a
// server that has stalled, and not died, would be left with more than it allows.
const (
	most     = 10 * time.Second
	mostLeft = 8

	mostBytes = 64 << 20 // of an answer: whoever answers may be anybody
)

// RoundTrip makes one request. What comes back has been read to its end.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	caller := req.Context()
	if t.Ends(req) {
		res, err := t.Base.RoundTrip(req)
		if err == nil {
			res.Body = bounded{io.LimitReader(res.Body, mostBytes), res.Body}
		}
		return res, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(caller), most)
	var mu sync.Mutex
	var sent bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		mu.Lock()
		defer mu.Unlock()
		sent = true
	}})
	end := context.AfterFunc(t.Open, cancel)
	over := make(chan struct{})
	leave := context.AfterFunc(caller, func() {
		mu.Lock()
		gone := !sent
		mu.Unlock()
		defer t.left.Add(-1)
		if t.left.Add(1) > mostLeft || gone {
			cancel()
		}
		<-over
	})
	answers := make(chan answer, 1)
	go func() {
		defer close(over)
		defer cancel()
		defer leave()
		defer end()
		answers <- read(t.Base.RoundTrip(req.WithContext(ctx)))
	}()
	select {
	case a := <-answers:
		if a.err != nil && caller.Err() != nil {
			return nil, context.Cause(caller)
		}
		return a.res, a.err
	case <-caller.Done():
		return nil, context.Cause(caller)
	}
}

// CloseIdleConnections closes those that no request uses.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.Base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// A bounded body ends in the midst of what is too large.
type bounded struct {
	io.Reader
	io.Closer
}

type answer struct {
	res *http.Response
	err error
}

// read reads a response to its end, so that its connection is free.
func read(res *http.Response, err error) answer {
	if err != nil {
		return answer{nil, err}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, mostBytes+1))
	_ = res.Body.Close() // it was read
	if err == nil && len(body) > mostBytes {
		err = fmt.Errorf("the answer has more than %d bytes", mostBytes)
	}
	if err != nil {
		return answer{nil, err}
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return answer{res, nil}
}
