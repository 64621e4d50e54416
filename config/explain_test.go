package config

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/lock"
)

// TestExplain expects what a store says of a field to name by what it was set, whichever way
// that was, and to be the same error.
func TestExplain(t *testing.T) {
	path := write(t, "backend: etcd\netcd:\n  endpoints: [h1:1]\n  certFile: cert\nhangTimeout: 9s\n")
	c, err := Read(Source{
		Flags:   parse(t, "--config", path, "--etcd-key-file", "key"),
		Environ: []string{"UNDERSTUDY_ETCD_USERNAME=u", "ETCDCTL_CACERT=ca"}, Log: io.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	no := errors.New("no")
	wrap := func(fields ...string) error {
		return fmt.Errorf("register: %w", lock.Permanent(lock.InFields(no, fields...)))
	}
	for _, test := range []struct {
		err  error
		want string
	}{
		{lock.InFields(no, "CertFile", "KeyFile"), "FILE:4: etcd.certFile and etcd-key-file: no"},
		{lock.InFields(no, "CAFile", "CertFile", "Username"), "ETCDCTL_CACERT, FILE:4: etcd.certFile and UNDERSTUDY_ETCD_USERNAME: no"},
		{lock.InFields(no, "Prefix"), "etcd-prefix: no"},                // which nobody has set
		{lock.InFields(no, "Password"), "UNDERSTUDY_ETCD_PASSWORD: no"}, // which has no flag
		{lock.InFields(no, "ID"), "id: no"},                             // which is not the store's alone
		{lock.InFields(no, "HealthEvery", "HangTimeout"), "health-interval and FILE:5: hangTimeout: no"},
		{lock.InFields(no, "Snapshots"), "Snapshots: no"}, // which is not a setting
		{lock.Permanent(lock.InFields(no, "KeyFile")), "etcd-key-file: no"},
		{wrap("KeyFile", "Username"), "register: etcd-key-file and UNDERSTUDY_ETCD_USERNAME: no"},
		{errors.Join(no, lock.InFields(no, "KeyFile"), wrap("KeyFile")), "no\netcd-key-file: no\nregister: etcd-key-file: no"},
		{fmt.Errorf("watch: %w", errors.Join(no, wrap("KeyFile"), lock.InFields(no, "Username"), wrap("KeyFile"))), // of each peer
			"watch: no\nregister: etcd-key-file: no\nUNDERSTUDY_ETCD_USERNAME: no\nregister: etcd-key-file: no"},
		{no, "no"},
	} {
		got := c.Explain(c.Explain(test.err)) // who explains twice says no more
		if text := strings.ReplaceAll(got.Error(), path, "FILE"); text != test.want {
			t.Errorf("got %s\nwant %s", text, test.want)
		}
		if !errors.Is(got, no) || errors.Is(got, lock.ErrPermanent) != errors.Is(test.err, lock.ErrPermanent) {
			t.Errorf("%v is another error now", got)
		}
	}
	if err := c.Explain(nil); err != nil {
		t.Error(err)
	}
}

// TestRepeatedFlag: of a flag that may be repeated all count, and another one is refused.
func TestRepeatedFlag(t *testing.T) {
	c, err := Read(Source{Flags: parse(t, "--backend", "memory", "--label", "a=1", "--label", "b=2", "--address", "x:1"), Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if c.Coordinator.Labels["a"] != "1" || c.Coordinator.Labels["b"] != "2" || c.Coordinator.Address != "x:1" {
		t.Errorf("labels %v, address %q", c.Coordinator.Labels, c.Coordinator.Address)
	}
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	Flags(set)
	if err := set.Parse([]string{"--address", "x:1", "--address", "y:1"}); !errors.Is(err, ErrTwice) || !strings.Contains(err.Error(), "--address") {
		t.Errorf("two addresses: %v", err)
	}
}

// TestExplainAddress: the store's address is not the contender's.
func TestExplainAddress(t *testing.T) {
	c, err := Read(Source{Flags: parse(t, "--backend", "consul", "--address", "me:1", "--consul-address", "c:1"), Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Explain(lock.InFields(errors.New("no"), "Address")).Error(), "consul-address: no"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestLogExplains expects the same of the log.
func TestLogExplains(t *testing.T) {
	var log strings.Builder
	c, err := contend(Source{Environ: append([]string{"UNDERSTUDY_CONSUL_TOKEN_FILE=" + write(t, "token"), "UNDERSTUDY_BACKEND=consul"}, node[0])})
	if err != nil {
		t.Fatal(err)
	}
	c.log = &log
	l := c.logger()
	l.Warn("refused", "error", fmt.Errorf("beat: %w", lock.InFields(errors.New("no"), "TokenFile")))
	asynclog.Flush(l, asynclog.ExitFlush)
	if want := `error="beat: UNDERSTUDY_CONSUL_TOKEN_FILE: no"`; !strings.Contains(log.String(), want) {
		t.Errorf("want %s in %s", want, log.String())
	}
}
