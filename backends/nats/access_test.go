//go:build nats

package nats_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/understudy-ha/understudy/backends/nats"
	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// first is what the first call of a process says.
func first(t testing.TB, c nats.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := open(t, c).Register(ctx, lock.Contender{ID: "a", Session: lock.SessionID(t.Name())}, lock.Promise{TTL: time.Second, Skew: time.Millisecond})
	return err
}

// TestUnfit: each setting of a bucket in which no lock can be kept is refused by name.
func TestUnfit(t *testing.T) {
	r := start(t, 1)
	ctx, js := within(t, time.Minute), r.admin()
	for bucket, one := range map[string]struct {
		change func(*jetstream.StreamConfig)
		want   error
		says   string
	}{
		"ttl":       {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, nats.ErrUnfit, "ttl"},
		"small":     {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 1000 }, nats.ErrUnfit, "1000 bytes"},
		"discard":   {func(c *jetstream.StreamConfig) { c.Discard, c.MaxBytes = jetstream.DiscardOld, 1<<20 }, nats.ErrUnfit, "discard"},
		"noack":     {func(c *jetstream.StreamConfig) { c.NoAck = true }, nats.ErrUnfit, "no_ack"},
		"interest":  {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, nats.ErrUnfit, "retention"},
		"subjects":  {func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more") }, nats.ErrUnfit, "subjects"},
		"sources":   {func(c *jetstream.StreamConfig) { c.Sources = []*jetstream.StreamSource{{Name: "KV_ttl"}} }, nats.ErrUnfit, "sources"},
		"memory":    {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, nats.ErrForgets, "in memory"},
		"one":       {func(*jetstream.StreamConfig) {}, nats.ErrForgets, "replicas are 1"},
		"allowed":   {func(*jetstream.StreamConfig) {}, nil, ""},
		"forgetful": {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, nil, ""},
	} {
		s := jetstream.StreamConfig{Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowDirect: true}
		one.change(&s)
		_, err := js.CreateStream(ctx, s)
		must(t, err)
		c := r.config("g")
		c.User, c.Password, c.Bucket, c.MayForget = "root", "root", bucket, !errors.Is(one.want, nats.ErrForgets)
		err = first(t, c)
		if !errors.Is(err, one.want) || one.want != nil && (!errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), one.says)) {
			t.Errorf("%s: %v, want %v with %q", bucket, err, one.want, one.says)
		}
	}
}

// TestNoBucket: it is made where that is allowed, and else the error says what to do.
func TestNoBucket(t *testing.T) {
	r := start(t, 1)
	if err := first(t, r.config("g")); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "docs/nats.md") {
		t.Errorf("no bucket, and no right to make one: %v", err)
	}
	c := r.config("g")
	c.User, c.Password, c.MayForget = "root", "root", false
	if err := first(t, c); !errors.Is(err, nats.ErrForgets) || !errors.Is(err, lock.ErrPermanent) {
		t.Errorf("one server: %v, want ErrForgets", err)
	}
	c.MayForget = true
	if err := first(t, c); err != nil {
		t.Error(err)
	}
	if err := first(t, r.config("g2")); err != nil {
		t.Errorf("with no right but those of docs/nats.md: %v", err)
	}
}

// TestNoJetStream: servers that keep nothing are told from those that do not answer.
func TestNoJetStream(t *testing.T) {
	r := &rig{t, serve.Start(t, "nats", 1, servers.Options{Config: "jetstream: false\n"})}
	if err := first(t, nats.Config{URL: "nats://" + r.Members[0].Addr()}); !errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), "no JetStream does") {
		t.Error(err)
	}
}

// TestPayload: servers that take less than a value may have are refused by name.
func TestPayload(t *testing.T) {
	r := &rig{t, serve.Start(t, "nats", 1, servers.Options{Config: "max_payload: 65536"})}
	c := nats.Config{URL: "nats://" + r.Members[0].Addr(), MayForget: true}
	if err := first(t, c); !errors.Is(err, nats.ErrUnfit) || !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "max_payload is 65536") {
		t.Error(err)
	}
}

// TestForeign: what is not ours is named and left alone.
func TestForeign(t *testing.T) {
	r := start(t, 1)
	ctx, kv := within(t, time.Minute), r.bucket(jetstream.KeyValueConfig{})
	for group, one := range map[string]struct {
		text string
		want error
	}{"g": {"hello", object.ErrForeign}, "newer": {`{"Store":"understudy","Format":99}`, object.ErrNewer}} {
		_, err := kv.Put(ctx, group, []byte(one.text))
		must(t, err)
		if err := first(t, r.config(group)); !errors.Is(err, one.want) || !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%s: %v, want %v", group, err, one.want)
		}
		if e, err := kv.Get(ctx, group); err != nil || string(e.Value()) != one.text {
			t.Errorf("%s holds %q now, %v", group, e.Value(), err)
		}
	}
}

// TestDeleted: after the key, or the whole bucket, was deleted by hand tokens go on above all earlier
// ones, and who has seen the earlier store refuses the next one by name.
func TestDeleted(t *testing.T) {
	r := start(t, 1)
	ctx, js := within(t, time.Minute), r.admin()
	kv := r.bucket(jetstream.KeyValueConfig{})
	var last lock.Token
	for n, remove := range []func() error{
		func() error { return kv.Delete(ctx, "g") },
		func() error { return kv.Purge(ctx, "g") },
		func() error {
			if err := js.DeleteKeyValue(ctx, nats.DefaultName); err != nil {
				return err
			}
			_, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: nats.DefaultName})
			return err
		},
		func() error { return nil },
	} {
		l := open(t, r.config("g"))
		s := register(t, ctx, l, fmt.Sprint("c", n))
		token, err := s.TryAcquire(ctx, "r")
		must(t, err)
		if token <= last {
			t.Errorf("token %d after %d", token, last)
		}
		last = token
		if n == 3 {
			break
		}
		must(t, remove())
		if err := until(ctx, beat(s)); err == nil {
			t.Error("a beat on a store that was deleted succeeds")
		}
	}
}

// TestSecrets: a wrong password is refused, and the file is read again for each connection.
func TestSecrets(t *testing.T) {
	r := start(t, 1)
	r.bucket(jetstream.KeyValueConfig{})
	m, password := r.Members[0], filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(password, []byte("wrong\n"), 0o600))
	c := r.config("g")
	c.Password, c.PasswordFile = "", password
	if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "User and PasswordFile: the server refuses these") {
		t.Errorf("a wrong password: %v", err)
	}
	must(t, os.WriteFile(password, []byte("secret\n"), 0o600))
	ctx, l := within(t, time.Minute), open(t, c)
	s := register(t, ctx, l, "a")

	text, err := os.ReadFile(m.ConfigFile())
	must(t, err)
	must(t, os.WriteFile(m.ConfigFile(), []byte(strings.ReplaceAll(string(text), "password: secret", "password: two")), 0o600))
	must(t, syscall.Kill(m.PID(), syscall.SIGHUP)) // which ends the connections of users that were changed
	for range 1000 {                               // until the old password has been refused
		short, cancel := context.WithTimeout(ctx, time.Second)
		err = s.Beat(short)
		cancel()
		if errors.Is(err, lock.ErrPermanent) {
			t.Fatalf("a beat with a password that has worked: %v", err)
		}
		if errors.Is(err, lock.ErrRefused) {
			break
		}
	}
	if !errors.Is(err, lock.ErrRefused) {
		t.Errorf("the old password: %v", err)
	}
	must(t, os.WriteFile(password, []byte("two\n"), 0o600))
	must(t, until(ctx, beat(s)))
}

// TestTLS checks the servers' name and authority.
func TestTLS(t *testing.T) {
	_, files := serve.CA(t)
	r := &rig{t, serve.Start(t, "nats", 1, servers.Options{TLS: &files})}
	c := nats.Config{URL: "tls://" + r.Members[0].Addr(), CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key, MayForget: true}
	if err := first(t, c); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*nats.Config){
		"somebody.else": func(c *nats.Config) { c.ServerName = "somebody.else" }, "authorities": func(c *nats.Config) { c.CAFile = "" },
	} {
		other := c
		change(&other)
		if err := first(t, other); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to name %s", err, want)
		}
	}
}

// TestToken: a token from a file is taken, and a wrong one refused.
func TestToken(t *testing.T) {
	r := &rig{t, serve.Start(t, "nats", 1, servers.Options{Config: "authorization { token: secret }"})}
	token := filepath.Join(t.TempDir(), "token")
	c := nats.Config{URL: "nats://" + r.Members[0].Addr(), TokenFile: token, MayForget: true}
	for text, works := range map[string]bool{"secret\n": true, "wrong\n": false} {
		must(t, os.WriteFile(token, []byte(text), 0o600))
		if err := first(t, c); works != (err == nil) || !works && !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestConnectionThatFallsSilent: connections that stand and lose what comes keep nobody waiting until each of them is given up.
func TestConnectionThatFallsSilent(t *testing.T) {
	r := start(t, 1)
	r.bucket(jetstream.KeyValueConfig{})
	for words := range 3 {
		c := r.config("")
		var made *atomic.Int32
		c.Dial, made = lab.Deaf(1, words)
		lab.WorksBehindDeaf(t, open(t, c), 6*time.Second, made)
	}
}
