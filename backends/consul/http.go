package consul

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/understudy-ha/understudy/backends/kv"
	"github.com/understudy-ha/understudy/internal/certs"
	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/internal/lasting"
	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// A transport sends requests, and turns each answer that says that no try can succeed into an
// error.
type transport struct {
	config  Config
	wire    *http.Transport
	lasting lasting.Transport
	worked  atomic.Bool // there was an answer
	served  atomic.Bool // there was one that was no refusal: the token was known
}

// A call that waits has its own connection, so that none waits behind another. Few more are kept:
// an agent allows 200 connections for each address that they come from. A connection is made even
// if the call that needs it gives up, and the next call takes it; it takes a round trip, and with
// TLS up to two more.
const (
	dialTimeout = 10 * time.Second
	keptIdle    = 8
	idleTimeout = 30 * time.Second
)

func newTransport(open context.Context, c Config, host string) *transport {
	name, _, _ := net.SplitHostPort(host) // Validate has seen it
	dialer := &net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 5},
	}
	dial := c.Dial
	if dial == nil {
		dial = dialer.DialContext
	}
	pace := &pacer{dial: dial, open: open}
	wire := &http.Transport{
		DialContext:         pace.connect,
		TLSClientConfig:     c.files().Config(name, func(error) {}), // the error reaches the caller by itself
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: keptIdle,
		IdleConnTimeout:     idleTimeout,
	}
	blocks := func(r *http.Request) bool { return r.URL.Query().Has("index") }
	return &transport{config: c, wire: wire, lasting: lasting.Transport{Base: wire, Open: open, Ends: blocks}}
}

// maxWords is how much of an answer an error repeats.
const maxWords = 1 << 10

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := t.lasting.RoundTrip(req)
	if err != nil {
		return nil, t.failed(err)
	}
	if err := foreign(res); err != nil {
		return nil, err
	}
	t.worked.Store(true)
	switch res.StatusCode {
	case http.StatusForbidden, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusInternalServerError:
	default:
		t.served.Store(true)
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxWords))
	if err != nil {
		return nil, err
	}
	return nil, t.answered(res.StatusCode, strings.TrimSpace(string(text)))
}

// tooMany means that the agent refuses a connection or a request because there are too many. It may take the next one.
func tooMany(at, text string) error {
	what := "it, or a proxy before it, limits how much it is asked, and what it says names the limit"
	if strings.Contains(text, "too many concurrent connections") {
		what = "it has as many connections from this host as it allows: raise limits.http_max_conns_per_client in the agent's configuration, whose default is 200"
	}
	return lock.Refusal(fmt.Errorf("the agent at %s refuses us for now (429, %.100q): %s", at, text, what))
}

// foreign means that another server answers in place of the agent, or a proxy before it. An agent sends this
// header with each answer to a call of its API, except for what it refuses before it looks at the call.
func foreign(res *http.Response) error {
	known := res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusConflict // to a call without TLS, and to a transaction
	html := strings.HasPrefix(res.Header.Get("Content-Type"), "text/html")
	if res.Header.Get("X-Consul-Default-Acl-Policy") != "" || known || res.StatusCode == http.StatusOK && !html {
		return nil
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxWords)) // what there is of it
	at, said := res.Request.URL.Scheme+"://"+res.Request.URL.Host, strings.Join(strings.Fields(string(text)), " ")
	if res.StatusCode == http.StatusTooManyRequests {
		return tooMany(at, said)
	}
	return lock.InFields(fmt.Errorf("what answers at %s is not a Consul agent, or is a proxy that does not reach one (it says %s, %.100q): write the address of an agent's HTTP API, whose port is 8500 by default",
		at, res.Status, said), "Address")
}

// failed names what is wrong with TLS.
func (t *transport) failed(err error) error {
	var record tls.RecordHeaderError
	var remote *net.OpError
	var early *unasked
	at, _, _ := t.config.address()
	switch {
	case errors.As(err, &early):
		return early.means(at)
	case errors.As(err, &record), strings.HasSuffix(err.Error(), "server gave HTTP response to HTTPS client"):
		return refused("Address", "the agent does not speak TLS at this address (%w); write http:// and give no files for TLS, or its HTTPS port", certs.Mismatch(err))
	case errors.As(err, &remote) && remote.Op == "remote error":
		return t.refusesUs(err)
	case strings.Contains(err.Error(), "malformed HTTP"):
		return noHTTP(at)
	case clientconf.Dropped(err):
		return lock.InFields(fmt.Errorf("what answers at %s ends the connection without a word (%w): it is not a Consul agent's HTTP port, which is 8500 by default, or the agent is being stopped", at, err), "Address")
	case strings.Contains(err.Error(), "readLoopPeekFail"): // over TLS it spoke before it was asked, and what it said is lost
		return tooMany(at, "too many concurrent connections")
	}
	return err
}

// means tells an agent that has too many connections from a server of another kind.
func (e *unasked) means(at string) error {
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(e.text)), nil)
	if err != nil || res.StatusCode != http.StatusTooManyRequests {
		return noHTTP(at)
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body) // what there is of it
	return tooMany(at, strings.TrimSpace(string(text)))
}

func noHTTP(at string) error {
	return lock.InFields(fmt.Errorf("what answers at %s is not a Consul agent, as it speaks no HTTP: write the address of an agent's HTTP API, whose port is 8500 by default", at), "Address")
}

// refusesUs says what an alert of the agent means. Once there was an answer the files may be on their way to be renewed.
func (t *transport) refusesUs(err error) error {
	fields, what := []string{"CertFile"}, "the agent refuses our certificate"
	if t.config.CertFile == "" {
		fields, what = []string{"CertFile", "KeyFile"}, "the agent refuses us without a certificate, and none is given; give one with its key"
	}
	err = lock.InFields(fmt.Errorf("consul: %s: %w", what, err), fields...)
	if t.worked.Load() {
		return lock.Refusal(err)
	}
	return lock.Permanent(err)
}

func (t *transport) answered(status int, text string) error {
	switch {
	case status == http.StatusForbidden && strings.Contains(text, noToken) && t.config.TokenFile != "" && t.served.Load(): // the file will follow
		return lock.Refusal(lock.InFields(fmt.Errorf("consul: it no longer knows the token; write the new one into the file (%s)", text), "TokenFile"))
	case status == http.StatusForbidden:
		return denied(t.config, text)
	case status == http.StatusBadRequest && strings.Contains(text, "HTTP request to an HTTPS server"):
		return refused("Address", "the agent speaks TLS at this address; write https://, and name its authorities")
	case status == http.StatusRequestEntityTooLarge:
		return permanent("the request is too large (%s)", text)
	case strings.Contains(text, "No path to datacenter"):
		return errNoPath
	}
	return fmt.Errorf("consul answered %d: %s", status, text)
}

// errNoPath means that the datacenter is unknown, or only cut off.
var errNoPath = errors.New("consul has no path to the datacenter")

// explain finds out what an error of the client means.
func (s *store) explain(q *api.QueryOptions, err error) error {
	if ctx := q.Context(); ctx.Err() != nil {
		return s.unanswered(ctx)
	}
	if !errors.Is(err, errNoPath) {
		return s.without(err)
	}
	var known []string
	_, listErr := s.client.Raw().Query("/v1/catalog/datacenters", &known, q)
	if listErr != nil || slices.Contains(known, s.config.Datacenter) {
		return err
	}
	return refused("Datacenter", "%q is not known to the agent; write one of %s", s.config.Datacenter, strings.Join(known, ", "))
}

// unanswered is why a call ended with its context: its time was over, or nobody wants its answer.
func (s *store) unanswered(ctx context.Context) error {
	err := context.Cause(ctx)
	began, _ := ctx.Value(beganKey{}).(time.Time)
	if !late.Is(err) {
		return err
	}
	return late.Error(err, "%s did not answer within %s", s.agent(), time.Since(began).Round(time.Millisecond))
}

func (s *store) agent() string {
	host, secure, _ := s.config.address() // Validate has seen it
	return fmt.Sprintf("the agent at %s://%s", schemes[secure], host)
}

// without is an error of the HTTP client without the method and the URL, which name a call of Consul's API that nobody
// has asked for: the agent says more. An error that names a setting says all of it.
func (s *store) without(err error) error {
	var asked *url.Error
	var field *lock.FieldError
	switch {
	case !errors.As(err, &asked):
		return err
	case errors.As(err, &field), strings.Contains(asked.Err.Error(), s.agent()):
		return asked.Err
	}
	return fmt.Errorf("%s: %w", s.agent(), asked.Err)
}

// beganKey is the key of the time at which a call began, in its context.
type beganKey struct{}

func permanent(format string, args ...any) error {
	return lock.Permanent(fmt.Errorf("consul: "+format, args...))
}

// refused is a permanent error about a field of the Config.
func refused(field, format string, args ...any) error {
	return lock.Permanent(lock.InFields(fmt.Errorf("consul: "+format, args...), field))
}

// denied is the error for a missing right. Consul's words name the right and the key, and the
// token only by its accessor.
func (s *store) denied(what string) error { return denied(s.config, what) }

// noToken is what Consul says of a token that it does not know, or no longer.
const noToken = "ACL not found"

func denied(c Config, what string) error {
	field, who := "TokenFile", "the token"
	switch {
	case c.Token != "":
		field = "Token"
	case c.TokenFile == "":
		who = "a client without one"
	}
	prefix := kv.DefaultPrefix
	if c.Prefix != "" {
		prefix = strings.TrimSuffix(c.Prefix, "/") + "/"
	}
	if strings.Contains(what, noToken) {
		return refused(field, "it does not know %s (%s)", who, what)
	}
	return refused(field, "%s may not do that (%s); it needs key_prefix %q write, and session write on the agent's node", who, what, prefix)
}

// A token is fixed, or the content of a file, read anew for each call. While the file cannot be
// read or is empty, as it may be while it is replaced, it is what was read last.
type token struct {
	fixed string
	file  string
	last  atomic.Pointer[string]
}

func (t *token) read() string {
	if t.file == "" {
		return t.fixed
	}
	if text, err := clientconf.Secret(t.file); err == nil && isToken(text) {
		t.last.Store(&text)
	}
	if last := t.last.Load(); last != nil {
		return *last
	}
	return ""
}
