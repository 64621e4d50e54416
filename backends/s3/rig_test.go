//go:build s3

package s3

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var must, within, until, register, beat = lab.Must, lab.Within, lab.Until, lab.Register, lab.Beat

// A rig is a real S3 server, with a user that has the rights of docs/s3.md.
type rig struct {
	testing.TB
	*servers.Cluster
	hand *store // who may do everything
}

func start(t testing.TB, o servers.Options) *rig {
	t.Helper()
	c, err := servers.StartS3(within(t, time.Minute), filepath.Join(t.TempDir(), "s3"), o)
	must(t, err)
	t.Cleanup(c.Stop)
	r := &rig{t, c, nil}
	r.hand = r.store(r.manager(""))
	if o.TLS == nil {
		r.allow(DefaultObject + "*")
	}
	return r
}

// store opens an object without a Locker on it.
func (r *rig) store(c Config) *store {
	r.Helper()
	s, err := newStore(c)
	must(r, err)
	r.Cleanup(func() { must(r, s.Close()) })
	return s
}

// allow gives the user the rights of the page on objects of this name.
func (r *rig) allow(objects string) {
	r.Helper()
	r.do(http.MethodPut, "", url.Values{"policy": {""}}, fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": [%q]}, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::%s/%s"]},
		{"Effect": "Allow", "Principal": {"AWS": [%[1]q]}, "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::%[2]s"]}]}`,
		servers.S3User, servers.Bucket, objects))
}

// do makes a request as somebody who may do everything.
func (r *rig) do(method, key string, query url.Values, body string) answer {
	r.Helper()
	a, err := r.hand.do(within(r, time.Minute), method, key, query, nil, []byte(body))
	must(r, err)
	return a
}

// config is that of the user.
func (r *rig) config(object string) Config {
	c := r.manager(object)
	c.CredentialsFile = r.Members[0].UserCredentials()
	return c
}

// manager is the Config of who may do everything.
func (r *rig) manager(object string) Config {
	m := r.Members[0]
	return Config{Bucket: servers.Bucket, Object: object, Endpoint: "http://" + m.Addr(), CredentialsFile: m.Credentials()}
}

// open opens a Locker until the end of the test.
func open(t testing.TB, c Config) lock.Locker {
	t.Helper()
	l, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, l.Close()) })
	return l
}

// first is what the first call of a process says.
func first(t testing.TB, c Config) error {
	t.Helper()
	l, err := Open(t.Context(), c)
	return lab.First(t, l, err)
}
