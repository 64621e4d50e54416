package kubernetes

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/internal/lasting"
	"github.com/understudy-ha/understudy/lock"
)

// A wire makes requests of one API server. A request that waits has a connection of its own, so that
// none waits behind another, and another try does not go where the last one hangs.
type wire struct {
	config Config
	http   http.RoundTripper
	base   *http.Transport
	ctx    context.Context // of everything, until close
	cancel context.CancelFunc
	group  sync.WaitGroup
	worked atomic.Bool // a request was allowed

	// Where the store is does not change, whatever the files say later.
	server    *url.URL
	namespace string
	host      string

	mu     sync.Mutex
	now    access
	failed error // what reading the files failed with last
}

const (
	dialTimeout = 10 * time.Second
	keptIdle    = 4
	idleTimeout = 30 * time.Second
	often       = 10 * time.Second // how often the files are read, besides for every connection
)

func newWire(c Config) (*wire, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	a, err := c.read()
	if err != nil {
		return nil, err
	}
	w := &wire{config: c, now: a, server: a.server, namespace: a.namespace, host: a.host()}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{
			Timeout:         dialTimeout,
			KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 5},
		}).DialContext
	}
	w.base = &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			w.refresh()
			return dial(ctx, network, address)
		},
		TLSClientConfig:     w.tls(a.name),
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: keptIdle,
		IdleConnTimeout:     idleTimeout,
	}
	w.http = &lasting.Transport{Base: w.base, Open: w.ctx, Ends: func(r *http.Request) bool { return r.URL.Query().Has("watch") }}
	w.spawn(w.mind)
	if c.Logger != nil && a.files.Used() {
		w.spawn(func() { a.files.Mind(w.ctx, c.Logger) })
	}
	return w, nil
}

// tls is made of what the files say when a connection is made.
func (w *wire) tls(name string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         name,
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(s tls.ConnectionState) error {
			a, _ := w.access()
			err := clientconf.Verify(s, a.roots, name)
			var unknown x509.UnknownAuthorityError
			if errors.As(err, &unknown) {
				err = fmt.Errorf("the API server's certificate is signed by none of the authorities that %s; add the one that signs it (%w)", w.config.source(), err)
			}
			if err != nil && !w.worked.Load() {
				err = lock.Permanent(err)
			}
			return err
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if a, _ := w.access(); a.pair != nil {
				return a.pair, nil
			}
			return &tls.Certificate{}, nil
		},
	}
}

// source says where credentials are from.
func (c Config) source() string {
	if c.Kubeconfig != "" {
		return c.Kubeconfig + " names"
	}
	return "the service account in " + c.serviceAccount() + " names"
}

// access is how the server is reached now; err: the files cannot be read, and it is what they said before.
func (w *wire) access() (access, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.failed
}

// refresh reads the files, and reports whether we are somebody else since. While one cannot be read, as in
// the middle of a renewal, what was read last counts. Server and namespace stay what they were: a
// file that names others is not to lead us to another store.
func (w *wire) refresh() (changed bool) {
	a, err := w.config.read()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed = err; err != nil {
		return false
	}
	changed = a.as() != w.now.as()
	w.now = a
	return changed
}

// mind reads the files now and then. No request waits for that.
func (w *wire) mind() {
	for tick := time.NewTicker(often); w.ctx.Err() == nil; {
		select {
		case <-tick.C:
			w.refresh()
		case <-w.ctx.Done():
			tick.Stop()
		}
	}
}

// A status is an API server's answer where it is not what was asked for.
type status struct {
	Kind    string
	Code    int
	Reason  string
	Message string
	Details struct {
		Kind   string
		Causes []struct{ Message string }
	}
}

func (s *status) Error() string {
	return fmt.Sprintf("the API server answered %d: %s", s.Code, s.Message)
}

// mostWords is how much of an answer is read that says no.
const mostWords = 64 << 10

// do makes one request, and decodes its answer. A *status says what the API server refused.
func (w *wire) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	res, err := w.send(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		return fmt.Errorf("the answer of %s cannot be read: %w", w.server, err)
	}
	return nil
}

// send makes one request. After a 401 it reads the credential again, and tries once more if that has changed. That
// is safe: a request that was not let in did nothing.
func (w *wire) send(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	for try := 0; ; try++ {
		a, _ := w.access()
		res, err := w.once(ctx, a, method, path, query, body)
		if !is(err, http.StatusUnauthorized) {
			if err == nil {
				w.worked.Store(true)
			}
			return res, err
		}
		w.base.CloseIdleConnections() // our certificate is theirs
		if changed := w.refresh(); !changed || try > 0 {
			_, unread := w.access()
			return nil, w.refused(ctx, errors.Join(fmt.Errorf("%w; it does not accept the credential that %s", err, w.config.source()), unread))
		}
	}
}

func (w *wire) once(ctx context.Context, a access, method, path string, query url.Values, body []byte) (*http.Response, error) {
	u := w.server.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "understudy")
	if req.Header.Set("Content-Type", "application/json"); method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/json-patch+json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := w.http.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, mostWords))
	if err != nil {
		return nil, err
	}
	s := &status{}
	if err := json.Unmarshal(text, s); err != nil || s.Kind != "Status" {
		return nil, fmt.Errorf("%s answered %d, and not as an API server of Kubernetes does: %.200q", w.server, res.StatusCode, text)
	}
	s.Code = res.StatusCode
	return nil, s
}

// refused makes an error permanent, so that somebody changes a credential or a right. It does not if a request worked
// before, or if the API server is not ready: until then it refuses those whom it will let in.
func (w *wire) refused(ctx context.Context, err error) error {
	if w.worked.Load() {
		return lock.Refusal(err)
	}
	a, _ := w.access()
	a.token = "" // everybody may ask that
	res, e := w.once(ctx, a, http.MethodGet, "/readyz", nil, nil)
	if e != nil {
		return err
	}
	_ = res.Body.Close() // it was only to be there
	field := "ServiceAccount"
	if w.config.Kubeconfig != "" {
		field = "Kubeconfig"
	}
	return lock.Permanent(lock.InFields(err, field))
}

// spawn runs f until close, unless that was called.
func (w *wire) spawn(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx.Err() == nil {
		w.group.Go(f)
	}
}

// close ends every request. It may be repeated.
func (w *wire) close() {
	w.mu.Lock()
	w.cancel()
	w.mu.Unlock()
	w.group.Wait()
	w.base.CloseIdleConnections()
}
