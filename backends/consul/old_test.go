package consul

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// old is Consul before 1.14: it has no get-or-empty, and says so in the words of its version.
// All else is a real server's.
func old(t *testing.T, words string) (address string) {
	agent, err := url.Parse("http://" + shared.Members[0].Addr())
	must(t, err)
	forward := httputil.NewSingleHostReverseProxy(agent)
	forward.Transport = &http.Transport{DisableKeepAlives: true}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Contains(body, []byte("get-or-empty")) {
			r.Body = io.NopCloser(bytes.NewReader(body))
			forward.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, `{"Results":null,"Errors":[{"OpIndex":0,"What":%q}]}`, words)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestAnOldServerIsRefused: nobody tries for ever where no try can succeed. The error names
// the version that is needed, and ends Run.
func TestAnOldServerIsRefused(t *testing.T) {
	for _, words := range []string{
		`unknown KV verb "get-or-empty"`, // 1.8 to 1.13
		"unknown KV operation: get-or-empty",
	} {
		l, err := Open(t.Context(), Config{Address: old(t, words)})
		must(t, err)
		ctx := timeout(t, 30*time.Second)
		config := coordinator.Config{ID: "a", Roles: []lock.Bid{{Role: "old"}}}
		err = coordinator.Run(ctx, l, config, func(context.Context, coordinator.Term) error { return nil })
		if ctx.Err() != nil || !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "Consul 1.14 or later is needed") {
			t.Errorf("%s: %v, want ErrPermanent that names the version that is needed", words, err)
		}
		must(t, l.Close())
	}
}
