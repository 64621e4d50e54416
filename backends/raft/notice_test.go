package raft

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/lock"
)

// TestNobodyBeginsWithoutAll: a group begins when every peer has answered. Half of them are
// not enough, and neither is a majority.
func TestNobodyBeginsWithoutAll(t *testing.T) {
	for _, there := range []int{2, 3} {
		g := newGroup(t, 4, nil)
		errs := make([]error, there)
		var all sync.WaitGroup
		for i := range there {
			all.Go(func() { g.nodes[i], errs[i] = open(timeout(t, 1500*time.Millisecond), g.configs[i]) })
		}
		all.Wait()
		for i, err := range errs {
			if err == nil || !strings.Contains(err.Error(), "waiting for every peer") {
				t.Errorf("%d of 4 are there, and %s does not wait for the others: %v", there, g.configs[i].ID, err)
			}
			if err != nil {
				g.nodes[i] = nil
			}
		}
	}
}

// TestElected: what a directory holds that was part of a group with a leader is more than
// what the beginning of a group writes.
func TestElected(t *testing.T) {
	begins := func(d *directory) error {
		return errors.Join(d.bolt.SetUint64(termKey, 1), d.bolt.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration}))
	}
	for what, c := range map[string]struct {
		write func(*directory) error
		want  bool
	}{
		"nothing":     {func(*directory) error { return nil }, false},
		"a beginning": {begins, false},
		"a vote":      {func(d *directory) error { return errors.Join(begins(d), d.bolt.SetUint64(termKey, 2)) }, true},
		"an entry": {func(d *directory) error {
			return errors.Join(begins(d), d.bolt.StoreLog(&raft.Log{Index: 2, Term: 1, Type: raft.LogNoop}))
		}, true},
		"a snapshot": {func(d *directory) error {
			s, err := d.snaps.Create(raft.SnapshotVersionMax, 5, 1, raft.Configuration{}, 1, nil)
			if err != nil {
				return err
			}
			return s.Close()
		}, true},
	} {
		d, err := openDirectory(t.TempDir(), "a", Config{}.logger())
		must(t, err)
		must(t, c.write(d))
		if elected, err := d.elected(); err != nil || elected != c.want {
			t.Errorf("%s: %v, %v, want %v", what, elected, err, c.want)
		}
		must(t, d.close())
	}
}

// TestLostLeadershipIsNoRefusal: a write that was under way when its leader lost the others
// may be committed by the next one. It must not be reported as not applied, or it is made
// twice.
func TestLostLeadershipIsNoRefusal(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	leader, _ := g.leader()
	data, err := encode(ledger.Command{Op: ledger.Nothing})
	must(t, err)
	for i := range g.nodes {
		if i != leader {
			g.kill(i)
		}
	}
	const many = 8
	answers := make(chan error, many)
	for range many { // while it believes that it leads
		go func() { _, err := g.nodes[leader].commit(data, 0); answers <- err }()
	}
	unknown := 0
	for range many {
		if err := <-answers; err != nil && !errors.Is(err, errNotApplied) {
			unknown++
		}
	}
	if unknown == 0 {
		t.Error("what was under way is reported as not applied")
	}
	if _, err = g.nodes[leader].commit(data, 0); !errors.Is(err, errNotApplied) {
		t.Errorf("what is proposed to who does not lead: %v", err)
	}
}

// A spy writes down what is asked at a path.
type spy struct {
	http.RoundTripper
	path string
	mu   sync.Mutex
	asks [][]byte
}

func (s *spy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == s.path {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.mu.Lock()
		s.asks = append(s.asks, body)
		s.mu.Unlock()
	}
	return s.RoundTripper.RoundTrip(r)
}

// TestClientNeverLooksBack: the first question of a client asks for nothing older than what is
// committed when it is asked, and not for what its peer happens to know.
func TestClientNeverLooksBack(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	token := acquire(t, register(t, g.lockers[0], "a"))
	l, err := Dial(Config{Peers: g.configs[0].Peers})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	c := l.(outsider).client
	s := &spy{RoundTripper: c.caller.http.Transport, path: pathLook}
	c.caller.http.Transport = s
	standing(t, l, holds(token))
	var q question
	s.mu.Lock()
	first := s.asks[0]
	s.mu.Unlock()
	must(t, json.Unmarshal(first, &q))
	if q.After.Revision < uint64(token) {
		t.Errorf("it asks for what is after %d, and %d was committed before", q.After.Revision, token)
	}
}

// callsAs makes calls with the certificate of somebody.
func (g *group) callsAs(ours *authority, as string) (c caller, end func()) {
	g.t.Helper()
	config := Config{Peers: g.configs[0].Peers}
	ours.give(&config, as)
	d, err := newDialer(config, "")
	must(g.t, err)
	c = newCaller(d)
	return c, func() { d.conns.closeAll(); c.close() }
}

// TestJoin: who has no peer's certificate joins no group, and neither does who was not let in.
func TestJoin(t *testing.T) {
	ours := newAuthority(t)
	g := newGroup(t, 3, func(c *Config) { ours.give(c, c.ID) }).start()
	leader, _ := g.leader()
	join := func(as string, self candidate) error {
		caller, end := g.callsAs(ours, as)
		defer end()
		return caller.call(timeout(t, 5*time.Second), g.configs[0].Peers[leader], pathJoin+"?phase=remove", self, &welcome{})
	}
	for _, one := range []struct {
		as, id, want string
		last         bool
	}{
		{"operator", "b", "takes one that names a peer's ID", true},
		{"a", "x", "is not a member of the group", false}, // an operator may let it in later
	} {
		err := join(one.as, candidate{Peer: Peer{one.id, "127.0.0.1:1"}})
		if errors.Is(err, lock.ErrPermanent) != one.last || !strings.Contains(err.Error(), one.want) {
			t.Errorf("%s asks for %s: %v, want an error that says %q", one.as, one.id, err, one.want)
		}
	}
	if n := len(g.nodes[leader].voters()); n != 3 {
		t.Errorf("the group has %d voters", n)
	}
}

// TestElectOnlyForTheDead: no election is held for the sake of who does not lead.
func TestElectOnlyForTheDead(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	leader, follower := g.leader()
	other := 3 - leader - follower
	before := g.nodes[leader].raft.CurrentTerm()
	eventually(t, "that all know who leads", func() bool {
		_, id := g.nodes[other].raft.LeaderWithID()
		return string(id) == g.configs[leader].ID
	})
	var now hello
	must(t, g.nodes[follower].caller.call(timeout(t, 10*time.Second), g.configs[0].Peers[other], pathElect, hello{Leader: g.configs[follower].ID}, &now))
	if now.Leader != g.configs[leader].ID || g.nodes[leader].raft.CurrentTerm() != before {
		t.Errorf("%q leads in term %d, want %q in term %d", now.Leader, g.nodes[leader].raft.CurrentTerm(), g.configs[leader].ID, before)
	}
}

// TestEntryThatIsNoCommand changes nothing but the revision, on every node alike, and what
// follows is applied.
func TestEntryThatIsNoCommand(t *testing.T) {
	m := newMachine()
	r, ok := m.Apply(&raft.Log{Index: 7, Data: []byte("{")}).(ledger.Result)
	if !ok || r.Code != ledger.Permanent || r.Revision != 7 || m.revision() != 7 {
		t.Errorf("it says %+v, and is at revision %d", r, m.revision())
	}
	data, err := encode(ledger.Command{Op: ledger.Raise, Token: 50})
	must(t, err)
	if r, ok := m.Apply(&raft.Log{Index: 8, Data: data}).(ledger.Result); !ok || r.Code != ledger.OK || m.ledger.Floor != 50 {
		t.Errorf("what follows: %+v, floor %d", r, m.ledger.Floor)
	}
}

// A lossy transport delivers proposals, and loses the first answers.
type lossy struct {
	http.RoundTripper
	sent, lose atomic.Int32
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	if r.URL.Path == pathPropose {
		l.sent.Add(1)
		if err == nil && l.lose.Add(-1) >= 0 {
			return nil, errors.Join(errors.New("the answer is lost"), resp.Body.Close())
		}
	}
	return resp, err
}

// TestLostAnswerIsNotAskedForAgain where the command would be made a second time; what changes
// nothing when it is repeated is.
func TestLostAnswerIsNotAskedForAgain(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	g.leader()
	l, err := Dial(Config{Peers: g.configs[0].Peers})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	c := l.(outsider).client
	wire := &lossy{RoundTripper: c.caller.http.Transport}
	c.caller.http.Transport = wire
	must(t, l.Raise(timeout(t, 20*time.Second), 1)) // it is connected, and knows who answers
	for _, one := range []struct {
		what string
		call func() error
		once bool
	}{
		{"a registration", func() error {
			_, err := l.Register(timeout(t, 20*time.Second), lock.Contender{ID: "a", Session: "s"}, lock.Promise{TTL: time.Second})
			return err
		}, true},
		{"a floor", func() error { return l.Raise(timeout(t, 20*time.Second), 7) }, false},
	} {
		wire.sent.Store(0)
		wire.lose.Store(1)
		err := one.call()
		if n := wire.sent.Load(); one.once != (n == 1) || one.once != (err != nil) {
			t.Errorf("%s whose answer is lost is sent %d times: %v", one.what, n, err)
		}
	}
}
