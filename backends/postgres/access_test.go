//go:build postgres

package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/understudy-ha/understudy/backends/object"
	"github.com/understudy-ha/understudy/backends/postgres"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/serve"
	"github.com/understudy-ha/understudy/lock"
)

// first is what the first call of a process says.
func first(t testing.TB, c postgres.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err := open(t, c).Register(ctx, lock.Contender{ID: t.Name(), Session: lock.SessionID(t.Name())}, lock.Promise{TTL: time.Second, Skew: time.Millisecond})
	return err
}

// TestForgets: a server that may lose what it has acknowledged is refused, unless that is allowed.
func TestForgets(t *testing.T) {
	for _, name := range []string{"fsync", "synchronous_commit"} {
		r := start(t, "-c", name+"=off")
		c := config("g", r.Members[0])
		err := first(t, c)
		if !errors.Is(err, postgres.ErrForgets) || !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), name+" is off") {
			t.Errorf("%s: %v", name, err)
		}
		c.MayForget = true
		if err := first(t, c); err != nil {
			t.Errorf("%s is allowed: %v", name, err)
		}
		r.Stop()
	}
}

// TestReadOnly: that a server refuses every write is seen without a write.
func TestReadOnly(t *testing.T) {
	r := start(t)
	c := config("g", r.Members[0])
	for _, want := range []bool{false, true} {
		p, err := postgres.Inspect(t.Context(), c)
		if err != nil || p.ReadOnly != want || p.Address != r.Members[0].Addr() {
			t.Errorf("%+v, %v; want %s and read-only %v", p, err, r.Members[0].Addr(), want)
		}
		r.hand("understudy", "alter role billing set default_transaction_read_only = on")
	}
	if err := first(t, c); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a write: %v", err)
	}
}

// TestNoTable: it is made where that is allowed, and else the error says what to do.
func TestNoTable(t *testing.T) {
	r := start(t)
	c := config("g", r.Members[0])
	c.Table = "other"
	if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "docs/postgres.md") {
		t.Errorf("no table, and no right to make one: %v", err)
	}
	r.hand("understudy", "create schema ops authorization billing")
	c.Table = "ops.other"
	if err := first(t, c); err != nil {
		t.Error(err)
	}
}

// TestMayNotDelete: the right that only conformance and probe need is named where it is missing, and is granted as the page says.
func TestMayNotDelete(t *testing.T) {
	r := start(t)
	h, err := postgres.NewHand(config("g", r.Members[0]))
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()) })
	if err := h.Wipe(within(t, 20*time.Second)); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "grant delete on understudy to it") {
		t.Errorf("without the right: %v", err)
	}
	page, err := os.ReadFile("../../docs/postgres.md")
	must(t, err)
	grant := "grant delete on understudy to billing"
	if text := string(page); !strings.Contains(text, "`"+grant+"`") || !strings.Contains(text, "and `probe` as\nwell, delete") {
		t.Errorf("the page does not say who needs the right, and how it is given")
	}
	r.hand("understudy", grant)
	if err := h.Wipe(within(t, 20*time.Second)); err != nil {
		t.Errorf("with it: %v", err)
	}
}

// TestForeign: what is not ours is named and left alone.
func TestForeign(t *testing.T) {
	r := start(t)
	r.hand("understudy", `insert into understudy values ('g', 'x', 'hello'), ('newer', 'x', '{"Store":"understudy","Format":99}');
		create table foreigner (name text); grant select on foreigner to billing`)
	for group, want := range map[string]error{"g": object.ErrForeign, "newer": object.ErrNewer} {
		if err := first(t, config(group, r.Members[0])); !errors.Is(err, want) || !errors.Is(err, lock.ErrPermanent) {
			t.Errorf("%s: %v, want %v", group, err, want)
		}
	}
	if text := r.hand("understudy", "select data from understudy where name = 'g'"); text != "hello" {
		t.Errorf("the foreign row holds %q now", text)
	}
	c := config("g", r.Members[0])
	c.Table = "foreigner"
	if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "not a table of ours") {
		t.Error(err)
	}
}

// TestSecrets: TLS checks the server's name, and the password is read again for each connection.
func TestSecrets(t *testing.T) {
	r := start(t)
	m := r.Members[0]
	_, files := serve.CA(t)
	for name, from := range map[string]string{"server.crt": files.Cert, "server.key": files.Key} {
		text, err := os.ReadFile(from)
		must(t, err)
		must(t, m.Put(name, string(text)))
	}
	must(t, m.Put("pg_hba.conf", "hostssl all billing all scram-sha-256\nhost all postgres all trust\n"))
	r.hand("postgres", "alter role billing password 'one'")
	r.hand("postgres", "alter system set ssl = on")
	r.hand("postgres", "select pg_reload_conf()")

	password := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(password, []byte("wrong\n"), 0o600))
	c := config("g", m)
	c.URL, c.CAFile, c.PasswordFile = strings.TrimSuffix(c.URL, "?sslmode=disable"), files.CA, password
	if err := first(t, c); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "URL and PasswordFile: the server refuses this user and this password") {
		t.Errorf("a wrong password: %v", err)
	}
	must(t, os.WriteFile(password, []byte("one\n"), 0o600))
	named := c
	named.ServerName = "somebody.else"
	if err := first(t, named); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "somebody.else") {
		t.Errorf("a certificate of another name: %v", err)
	}
	unknown := c
	unknown.CAFile = ""
	if err := first(t, unknown); !errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), "authorities") {
		t.Errorf("a certificate of an unknown authority: %v", err)
	}

	ctx, l := within(t, time.Minute), open(t, c)
	s := register(t, ctx, l, "a")
	r.hand("postgres", "alter role billing password 'two'")
	end := "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'billing'"
	r.hand("postgres", end)
	for range 3 { // calls wait for the file
		short, cancel := context.WithTimeout(ctx, time.Second)
		if err := s.Beat(short); !errors.Is(err, lock.ErrRefused) || lock.OutcomeOf(err) != lock.Unknown {
			t.Errorf("a beat with the old password: %v", err)
		}
		cancel()
	}
	must(t, os.WriteFile(password, []byte("two\n"), 0o600))
	must(t, until(ctx, beat(s)))
}

// TestSlow: a server that answers late keeps its connections. A call that is given up has no part in
// what the next ones cost.
func TestSlow(t *testing.T) {
	r := start(t)
	ctx := within(t, time.Minute)
	s := register(t, ctx, open(t, config("g", r.Members[0])), "a")
	must(t, until(ctx, beat(s)))
	sessions := func() []string {
		return strings.Fields(r.hand("postgres", "select string_agg(pid::text, ' ') from pg_stat_activity where usename = 'billing'"))
	}
	before := sessions()
	resume, err := r.Pause()
	must(t, err)
	for range 3 {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if err := s.Beat(short); lock.OutcomeOf(err) != lock.Unknown {
			t.Errorf("a beat at a server that stands: %v", err)
		}
		cancel()
	}
	must(t, resume())
	must(t, until(ctx, beat(s)))
	after := sessions()
	if !slices.ContainsFunc(before, func(one string) bool { return slices.Contains(after, one) }) {
		t.Errorf("sessions %q are there, want some of %q", after, before)
	}
}

// TestHeldByHand: who holds the row, even by FOR SHARE alone, stops everybody's beats. So no guard does.
func TestHeldByHand(t *testing.T) {
	r := start(t)
	ctx := within(t, time.Minute)
	s := register(t, ctx, open(t, config("g", r.Members[0])), "a")
	c, err := pgconn.Connect(ctx, "postgres://postgres@"+r.Members[0].Addr()+"/understudy?sslmode=disable")
	must(t, err)
	defer c.Close(ctx)
	for how, stops := range map[string]bool{"share": true, "key share": false} {
		_, err = c.Exec(ctx, "begin; select from understudy where name = 'g' for "+how).ReadAll()
		must(t, err)
		if stops {
			short, cancel := context.WithTimeout(ctx, time.Second)
			if err := s.Beat(short); lock.OutcomeOf(err) != lock.Unknown {
				t.Errorf("a beat while somebody holds the row for %s: %v", how, err)
			}
			cancel()
			r.fewConnections(s)
		} else {
			must(t, until(ctx, beat(s)))
		}
		_, err = c.Exec(ctx, "rollback").ReadAll()
		must(t, err)
		must(t, until(ctx, beat(s)))
	}
}

// fewConnections makes beats that get no answer, as a contender does, for longer than one is waited for after it was given up. They
// must not use up the server's connections.
func (r *rig) fewConnections(s lock.Session) {
	r.Helper()
	var last error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		short, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
		last = s.Beat(short)
		cancel()
	}
	n, err := strconv.Atoi(r.hand("postgres", "select count(*) from pg_stat_activity where usename = 'billing'"))
	r.Logf("%d connections are open", n)
	if err != nil || n > 24 {
		r.Errorf("%d connections are open: %v", n, err)
	}
	if last == nil || !strings.Contains(last.Error(), "writes wait in the server already") {
		r.Errorf("the last of many beats without an answer: %v", last)
	}
}

// TestCommitIsNotCancelled: a call that is given up while its commit waits for a synchronous
// replica must not show what that replica does not have.
func TestCommitIsNotCancelled(t *testing.T) {
	r := start(t)
	ctx, c := within(t, time.Minute), config("g", r.Members[0])
	l := open(t, c)
	s := register(t, ctx, l, "a")
	version := func() string { return r.hand("understudy", "select version from understudy where name = 'g'") }
	before := version()
	r.hand("postgres", "alter system set synchronous_standby_names = 'nobody'")
	r.hand("postgres", "select pg_reload_conf()")
	lab.Eventually(t, "commits wait", func() bool { return r.hand("postgres", "show synchronous_standby_names") == "nobody" })
	for range 3 {
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		if err := s.Beat(short); lock.OutcomeOf(err) != lock.Unknown {
			t.Errorf("a beat that no replica has: %v", err)
		}
		cancel()
	}
	r.fewConnections(s)
	must(t, l.Close())                 // which ends the connections that wait for an answer still
	time.Sleep(300 * time.Millisecond) // a cancellation takes less
	if now := version(); now != before {
		t.Errorf("version %s shows, which no replica has; before it was %s", now, before)
	}
	r.hand("postgres", "alter system set synchronous_standby_names = ''")
	r.hand("postgres", "select pg_reload_conf()")
	register(t, ctx, open(t, c), "b")
}

// TestConnectionThatFallsSilent: connections that stand and lose what comes keep nobody waiting until each of them is given up.
func TestConnectionThatFallsSilent(t *testing.T) {
	r := start(t)
	for words := range 3 {
		c := config("", r.Members...)
		var made *atomic.Int32
		c.Dial, made = lab.Deaf(4, words)
		lab.WorksBehindDeaf(t, open(t, c), 10*time.Second, made)
	}
}
