package fencinghttp_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinghttp"
	"github.com/understudy-ha/understudy/lock"
)

func Example() {
	// The server. Its memory of tokens is lost with it, and so must be what it guards.
	gate := fencing.NewGate(&fencing.Memory{}, "billing")
	server := httptest.NewServer(fencinghttp.Handler(gate, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "done")
	})))
	defer server.Close()

	// The work, with the role and the token of its term.
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	client := &http.Client{Transport: &fencinghttp.Transport{Base: base}}
	post := func(token lock.Token) {
		ctx := fencing.NewContext(context.Background(), "billing", token)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		r, err := client.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer r.Body.Close()
		fmt.Println(r.Status, "-", fencinghttp.Stale(r))
	}
	post(33)
	post(34) // the next active
	post(33) // the one before comes back
	// Output:
	// 200 OK - <nil>
	// 200 OK - <nil>
	// 412 Precondition Failed - stale fencing token: role "billing", token 33: the current one is 34
}
