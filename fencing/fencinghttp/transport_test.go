package fencinghttp_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/understudy-ha/understudy/fencing"
	"github.com/understudy-ha/understudy/fencing/fencinghttp"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestBaseIsUsed, and not the default, where there is one.
func TestBaseIsUsed(t *testing.T) {
	mine := errors.New("mine")
	tr := &fencinghttp.Transport{Base: roundTripper(func(*http.Request) (*http.Response, error) { return nil, mine })}
	r, err := http.NewRequestWithContext(fencing.NewContext(t.Context(), "r", 5), http.MethodGet, "http://127.0.0.1:1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.RoundTrip(r); !errors.Is(err, mine) {
		t.Errorf("got %v, want the error of its own base", err)
	}
}
