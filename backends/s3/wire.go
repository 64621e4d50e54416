package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/understudy-ha/understudy/internal/clientconf"
	"github.com/understudy-ha/understudy/internal/lasting"
	"github.com/understudy-ha/understudy/internal/late"
	"github.com/understudy-ha/understudy/lock"
)

// A wire makes requests of one server. Each is sent once: net/http sends a PUT again only where nothing of
// it has left. A request that waits has a connection of its own.
type wire struct {
	config Config
	server *url.URL
	base   *http.Transport
	http   http.RoundTripper
	ctx    context.Context // of everything, until close
	cancel context.CancelCauseFunc
	group  sync.WaitGroup
	worked atomic.Bool // a request was allowed
	role   *credentials.Credentials
	ready  chan struct{} // closed when credentials were looked for

	mu  sync.Mutex
	now credentials.Value
	why error // reading the credentials failed with last
}

const (
	dialTimeout = 10 * time.Second
	keptIdle    = 4
	idleTimeout = 20 * time.Second // less than after what S3 closes a connection
	roleTimeout = time.Second      // to connect to what knows the machine's role, which is on the machine, or nowhere
	often       = 10 * time.Second // how often credentials are read
)

func newWire(c Config) (*wire, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	u, err := c.url()
	if err != nil {
		return nil, err
	}
	w := &wire{config: c, server: u, ready: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	if c.Dial == nil {
		alive := net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 5}
		c.Dial = (&net.Dialer{Timeout: dialTimeout, KeepAliveConfig: alive}).DialContext
	}
	w.base = &http.Transport{
		DialContext:         c.Dial,
		TLSClientConfig:     c.files().Config(u.Hostname(), func(error) {}),
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: keptIdle,
		IdleConnTimeout:     idleTimeout,
	}
	w.http = &lasting.Transport{Base: w.base, Open: w.ctx, Ends: func(*http.Request) bool { return false }}
	w.role = credentials.New(c.provider())
	w.group.Go(w.mind)
	if c.Logger != nil && c.CAFile != "" {
		w.group.Go(func() { c.files().Mind(w.ctx, c.Logger) })
	}
	return w, nil
}

// provider reads credentials: from the file that is named, or from where every program of AWS looks.
func (c Config) provider() credentials.Provider {
	if c.CredentialsFile != "" {
		return &credentials.FileAWSCredentials{Filename: c.CredentialsFile, Profile: c.Profile}
	}
	return &credentials.Chain{Providers: []credentials.Provider{
		&credentials.EnvAWS{}, &credentials.FileAWSCredentials{Profile: c.Profile}, &credentials.IAM{},
	}}
}

// fromFile reads the file that is named. The library's errors quote its lines, and there are secrets in them.
func (c Config) fromFile() (v credentials.Value, err error) {
	text, err := clientconf.Secret(c.CredentialsFile)
	if err != nil {
		return v, err
	}
	if v, err = c.provider().RetrieveWithCredContext(nil); err == nil {
		return v, nil
	}
	for n, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && strings.Contains(err.Error(), line) {
			return v, fmt.Errorf("%s: line %d is neither [PROFILE] nor KEY = VALUE", c.CredentialsFile, n+1)
		}
	}
	return v, fmt.Errorf("%s: %w", c.CredentialsFile, err)
}

// refresh reads the credentials, and reports whether we are somebody else since. While they cannot be read, as in the
// middle of a renewal, those that were read last count.
func (w *wire) refresh() (changed bool) {
	var v credentials.Value
	var err error
	if w.config.CredentialsFile != "" {
		v, err = w.config.fromFile()
	} else {
		base := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: roleTimeout}).DialContext}
		ask := &lasting.Transport{Base: base, Open: w.ctx, Ends: func(*http.Request) bool { return false }}
		v, err = w.role.GetWithContext(&credentials.CredContext{Client: &http.Client{Transport: ask, Timeout: dialTimeout}})
	}
	if err == nil && v.AccessKeyID == "" {
		err = lock.InFields(errors.New("there are no credentials: no file is named, and none are in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), in ~/.aws or by a role of this machine; name a file"), "CredentialsFile")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why = err; err != nil {
		return false
	}
	changed = v.AccessKeyID != w.now.AccessKeyID || v.SecretAccessKey != w.now.SecretAccessKey || v.SessionToken != w.now.SessionToken
	w.now = v
	return changed
}

func (w *wire) who() (credentials.Value, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now, w.why
}

// mind reads the credentials now and then. No request waits for that after the first: a machine's role is asked over
// a network.
func (w *wire) mind() {
	w.refresh()
	close(w.ready)
	tick := time.NewTicker(often)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.refresh()
		case <-w.ctx.Done():
			return
		}
	}
}

// A refusal is a server's answer where it is not what was asked for.
type refusal struct {
	Status  int       `xml:"-"`
	Date    time.Time `xml:"-"`
	Code    string
	Message string
	Region  string
}

func (r *refusal) Error() string {
	return fmt.Sprintf("the server answered %d %s: %s", r.Status, r.Code, r.Message)
}

// is reports whether the server refused with one of these codes.
func is(err error, codes ...string) bool {
	var r *refusal
	return errors.As(err, &r) && slices.Contains(codes, r.Code)
}

// strangers are the codes of credentials that the server does not take, or not any more.
var strangers = []string{"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"}

// An answer has what counts of a response.
type answer struct {
	status int
	etag   string
	date   time.Time // the server's clock
	body   []byte
}

// do makes one request of a key. After a refusal of our credentials it reads them again, and tries once more if they
// have changed. That is safe: a request that was not let in did nothing.
func (w *wire) do(ctx context.Context, method, key string, query url.Values, head http.Header, body []byte) (answer, error) {
	began := time.Now()
	select {
	case <-w.ready:
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
	for try := 0; ; try++ {
		as, why := w.who()
		if as.AccessKeyID == "" {
			return answer{}, why
		}
		a, err := w.once(ctx, as, method, key, query, head, body)
		if err == nil {
			w.worked.Store(true)
		}
		if !is(err, strangers...) || try > 0 || !w.refresh() {
			if late.Alone(err) {
				err = late.Error(err, "%s did not answer within %s", w.server, time.Since(began).Round(time.Millisecond))
			}
			return a, w.named(err)
		}
	}
}

// once makes a request. Of an answer that is longer than ours can be, as a foreign object is, it reads no more than that.
func (w *wire) once(ctx context.Context, as credentials.Value, method, key string, query url.Values, head http.Header, body []byte) (a answer, err error) {
	u := w.server.JoinPath(w.config.Bucket, key)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	for name, values := range head {
		req.Header[name] = values
	}
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	req.Header.Set("User-Agent", "understudy")
	req = signer.SignV4(*req, as.AccessKeyID, as.SecretAccessKey, as.SessionToken, w.config.region())
	res, err := w.http.RoundTrip(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = res.Body.Close() }()
	a.status, a.etag = res.StatusCode, res.Header.Get("ETag")
	a.date, _ = http.ParseTime(res.Header.Get("Date"))
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, limit+1)); err != nil || a.status/100 == 2 || a.status == http.StatusNotModified {
		return a, err
	}
	r := &refusal{Status: a.status, Date: a.date}
	if err := xml.Unmarshal(a.body, r); err != nil || r.Code == "" {
		return a, fmt.Errorf("what answers at %s is not an S3 server, or is a proxy that does not reach one (it says %d, %.200q)", w.server, a.status, a.body)
	}
	return a, r
}

// named says what to do about an error, and whether trying again can help. What is refused until somebody changes
// something is final, unless a request worked before: then a credential is being replaced, say.
func (w *wire) named(err error) error {
	var r *refusal
	var plain tls.RecordHeaderError
	final := !w.worked.Load()
	switch {
	case errors.As(err, &plain):
		err = lock.InFields(fmt.Errorf("%s speaks no TLS (%w); if that is meant, write http://", w.server.Host, err), "Endpoint")
	case err == nil:
		return nil
	case !errors.As(err, &r):
		return w.unanswered(err)
	case r.Code == "NoSuchBucket":
		err = lock.InFields(fmt.Errorf("%q is not there (%w); make it, or name another", w.config.Bucket, err), "Bucket")
	case r.Code == "RequestTimeTooSkewed":
		err = fmt.Errorf("%w; this machine's clock is %s from the server's: set it", err, time.Since(r.Date).Round(time.Second))
	case r.Region != "" || r.Code == "PermanentRedirect" || r.Code == "AuthorizationHeaderMalformed":
		err = lock.InFields(fmt.Errorf("%s is not the bucket's (%w); it is %s", w.config.region(), err, r.Region), "Region")
	case is(err, strangers...):
		_, unread := w.who()
		err = lock.InFields(errors.Join(fmt.Errorf("the server does not take these credentials: %w", err), unread), "CredentialsFile")
	case r.Code == "AccessDenied":
		err = lock.InFields(fmt.Errorf("%w; see docs/s3.md for the rights", err), "CredentialsFile")
	case r.Code == "EntityTooLarge" || r.Code == "NotImplemented":
		final = true
	default:
		return err
	}
	if final {
		return lock.Permanent(err)
	}
	return lock.Refusal(err)
}

// unanswered names the server that gave no answer, and says what answers there instead, if the error shows it.
func (w *wire) unanswered(err error) error {
	var network *net.OpError
	switch text := err.Error(); {
	case strings.Contains(text, "malformed HTTP"), strings.Contains(text, "readLoopPeekFail") && w.server.Scheme == "http" && !clientconf.Dropped(err): // such as what speaks first
		return lock.InFields(fmt.Errorf("what answers at %s is not an S3 server, as it speaks no HTTP", w.server), "Endpoint")
	case clientconf.Dropped(err) && w.server.Scheme == "https" && !w.worked.Load():
		return lock.InFields(fmt.Errorf("what answers at %s ends the connection without a word (%w): it may speak no TLS; if that is meant, write http://", w.server, err), "Endpoint")
	case clientconf.Dropped(err):
		return lock.InFields(fmt.Errorf("what answers at %s ends the connection without a word (%w): it is not an S3 server, or it is being stopped", w.server, err), "Endpoint")
	case errors.As(err, &network):
		return fmt.Errorf("%s: %w", w.server, err)
	}
	return err
}
