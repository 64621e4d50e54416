// Package fencinghttp carries the token of a term in HTTP requests, and refuses those
// whose token is smaller than one that the server has seen.
//
// The client sends Fencing-Role and Fencing-Token. The server answers
//
//	412 Precondition Failed    the token is stale; Fencing-Current is the greatest one,
//	                           beside the role and the token that were refused
//	428 Precondition Required  the request has no role or no token
//	400 Bad Request            the role or the token is invalid
//	403 Forbidden              the role is not guarded here
//	503 Service Unavailable    the greatest token could not be read, or requests under
//	                           a smaller one have not returned in time
//
// and the handler has not been called. 412 answers a condition that does not hold, as Azure's
// blob store uses it for a write under a lost lease; 409 would invite a retry.
package fencinghttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/understudy-ha/understudy/fencing"
)

// Handler returns a handler that calls next for requests that the gate lets in. When a greater token comes,
// the context of a request ends, reads of its body and writes of its response fail, and the request with the
// greater token waits until next has returned. The connection of a request that was overtaken is closed.
// Every request counts, whatever its method: a read must have a token, too, so that what a new active reads
// is not overwritten afterwards.
func Handler(gate *fencing.Gate, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role, token := r.Header.Get(fencing.RoleHeader), r.Header.Get(fencing.TokenHeader)
		if role == "" || token == "" {
			http.Error(w, fmt.Sprintf("%s and %s: one is missing, the request needs both", fencing.RoleHeader, fencing.TokenHeader), http.StatusPreconditionRequired)
			return
		}
		name, t, err := fencing.Parse(role, token)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		ctx, leave, err := gate.Enter(r.Context(), name, t)
		if err != nil {
			refuse(w, err)
			return
		}
		defer leave()
		defer interrupt(ctx, w)()
		next.ServeHTTP(w, r.WithContext(fencing.NewContext(ctx, name, t)))
	})
}

func refuse(w http.ResponseWriter, err error) {
	var stale *fencing.StaleError
	switch {
	case errors.As(err, &stale):
		w.Header().Set(fencing.RoleHeader, fencing.FormatRole(stale.Role))
		w.Header().Set(fencing.TokenHeader, fencing.FormatToken(stale.Token))
		w.Header().Set(fencing.CurrentHeader, fencing.FormatToken(stale.Current))
		http.Error(w, err.Error(), http.StatusPreconditionFailed)
	case errors.Is(err, fencing.ErrRole):
		http.Error(w, err.Error(), http.StatusForbidden)
	default:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// interrupt makes reads and writes of a request fail when its context ends: a handler that waits
// for a paused client would never return. done ends that. A connection that was interrupted is
// closed; otherwise the next request on it would be handled and its answer lost.
func interrupt(ctx context.Context, w http.ResponseWriter) (done func()) {
	c, interrupted := http.NewResponseController(w), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		now := time.Now()
		_ = errors.Join(c.SetReadDeadline(now), c.SetWriteDeadline(now)) // a writer without deadlines does not wait for a client
	})
	return func() {
		if stop() {
			return
		}
		<-interrupted
		if conn, _, err := c.Hijack(); err == nil { // in HTTP/2 each request has deadlines of its own
			_ = conn.Close()
		}
	}
}

// A Transport adds the role and the token that a request's context carries (see
// fencing.FromContext) to it. A request without them fails with fencing.ErrNoTerm and is not
// sent. It is safe for concurrent use.
type Transport struct {
	Base http.RoundTripper // nil: http.DefaultTransport
}

// RoundTrip sends the request with the two headers.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	role, token := fencing.FromContext(r.Context())
	if token == 0 {
		if r.Body != nil {
			_ = r.Body.Close() // as every RoundTripper must
		}
		return nil, fencing.ErrNoTerm
	}
	r = r.Clone(r.Context())
	r.Header.Set(fencing.RoleHeader, fencing.FormatRole(role))
	r.Header.Set(fencing.TokenHeader, fencing.FormatToken(token))
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(r)
}

// Stale returns the *fencing.StaleError that a response means: nil if the server did not refuse
// the token. It leaves the body alone.
func Stale(r *http.Response) error {
	if r.StatusCode != http.StatusPreconditionFailed {
		return nil
	}
	role, t, err1 := fencing.Parse(r.Header.Get(fencing.RoleHeader), r.Header.Get(fencing.TokenHeader))
	_, current, err2 := fencing.Parse(r.Header.Get(fencing.RoleHeader), r.Header.Get(fencing.CurrentHeader))
	if errors.Join(err1, err2) != nil { // a condition of something else
		return nil
	}
	return &fencing.StaleError{Role: role, Token: t, Current: current}
}
