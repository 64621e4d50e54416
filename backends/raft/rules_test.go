package raft

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/understudy-ha/understudy/backends/ledger"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/servers"
	"github.com/understudy-ha/understudy/lock"
)

// TestLogIsWeighed as it is, also where a gap is before what came with a snapshot, and where
// nothing is.
func TestLogIsWeighed(t *testing.T) {
	d, err := openDirectory(t.TempDir(), "a", Config{}.logger())
	must(t, err)
	defer func() { must(t, d.close()) }()
	for _, c := range []struct {
		add  []uint64
		want int
	}{{nil, 0}, {[]uint64{1}, 1}, {[]uint64{2, 3}, 6}, {[]uint64{8, 9}, 23}} {
		for _, i := range c.add {
			must(t, d.bolt.StoreLog(&raft.Log{Index: i, Term: 1, Data: make([]byte, i)}))
		}
		d.bolt.bytes = 0
		if err := d.bolt.measure(); err != nil || d.bolt.bytes != c.want {
			t.Errorf("with %v it weighs %d, want %d: %v", c.add, d.bolt.bytes, c.want, err)
		}
	}
}

// TestFollowing: what the group has acknowledged and this node's ledger has not come to is noted,
// and the first of it counts.
func TestFollowing(t *testing.T) {
	g := newGroup(t, 1, nil).start()
	g.raises(0, 7)
	n := g.nodes[0]
	at := n.machine.revision()
	for _, c := range []struct{ acknowledged, behind uint64 }{{at, 0}, {at + 1000, at + 1000}, {at + 2000, at + 1000}} {
		if n.acknowledged(c.acknowledged); n.lag.behind != c.behind {
			t.Errorf("after %d, at %d, it is behind %d, want %d", c.acknowledged, at, n.lag.behind, c.behind)
		}
	}
	must(t, n.follows(ledger.Command{Op: ledger.Beat}))
	n.lag.since = time.Now().Add(-time.Hour)
	if err := n.follows(ledger.Command{Op: ledger.Beat}); err == nil || !strings.Contains(err.Error(), "does not follow its group's log") {
		t.Errorf("after an hour: %v", err)
	}
	must(t, n.follows(ledger.Command{Op: ledger.Release}))
}

// TestFollowingNobody: a node whose group has no leader does not suspect its own disk.
func TestFollowingNobody(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	leader, follower := g.leader()
	n := g.nodes[follower]
	eventually(t, "it follows somebody", func() bool { _, id := n.raft.LeaderWithID(); return id != "" })
	n.lag.mu.Lock()
	n.lag.behind, n.lag.since = n.machine.revision()+1000, time.Now().Add(-time.Hour)
	n.lag.mu.Unlock()
	if err := n.follows(ledger.Command{Op: ledger.Beat}); err == nil {
		t.Error("it is not told that it lags")
	}
	g.stop(leader)
	g.stop(3 - leader - follower)
	eventually(t, "there is no leader, and the disk is not named", func() bool { return n.follows(ledger.Command{Op: ledger.Beat}) == nil })
}

// TestWhoHasAnEmptyDirectory: a node that waits on one, by its own word, and nobody who answers in
// its place.
func TestWhoHasAnEmptyDirectory(t *testing.T) {
	waits := hello{ID: "b", Directory: "new"}
	for want, h := range map[string]hello{
		"b": waits, "": {ID: "b"}, "no": {ID: "b", Directory: "old", Group: "g"}, "none": {ID: "b", Directory: "old", State: true},
	} {
		if h.empty() != (want == "b") {
			t.Errorf("%+v has an empty directory: %v", h, h.empty())
		}
	}
	for what, c := range map[string]struct {
		answers map[string]answer
		want    []string
	}{
		"its own word":     {map[string]answer{"b": {h: waits}}, []string{"b"}},
		"another's word":   {map[string]answer{"c": {h: waits}}, nil},
		"no answer":        {map[string]answer{"b": {h: waits, err: io.EOF}}, nil},
		"the node itself":  {map[string]answer{"a": {h: hello{ID: "a", Directory: "new"}}}, nil},
		"one that has one": {map[string]answer{"b": {h: hello{ID: "b", Directory: "old", Group: "g"}}}, nil},
	} {
		var g Group
		if g.heard("a", c.answers); !slices.Equal(g.Empty, c.want) {
			t.Errorf("%s: %v, want %v", what, g.Empty, c.want)
		}
	}
}

// TestLostMajority: three of four voters must have kept their directories, whichever they are.
func TestLostMajority(t *testing.T) {
	for _, c := range []struct {
		empty []string
		lost  bool
	}{{nil, false}, {[]string{"a"}, false}, {[]string{"a", "x"}, false}, {[]string{"b", "a"}, true}} {
		g := Group{Voters: []string{"a", "b", "c", "d"}, Empty: c.empty}
		if says := g.Lost(); (says != "") != c.lost || c.lost && !strings.Contains(says, "directories of a, b are empty") {
			t.Errorf("empty are %v: %q", c.empty, says)
		}
	}
	if says := (Group{Empty: []string{"a"}}).Lost(); says != "" {
		t.Errorf("of a group that is not known: %q", says)
	}
}

// TestOptions: a group whose timing is long sends less.
func TestOptions(t *testing.T) {
	for timing, part := range map[time.Duration]time.Duration{499 * time.Millisecond: 5, 500 * time.Millisecond: 2, 2 * time.Second: 2} {
		if o := (&node{config: Config{Timing: timing}, log: Config{}.logger()}).options(); o.CommitTimeout != timing/part {
			t.Errorf("timing %v: a commit is told after %v, want %v", timing, o.CommitTimeout, timing/part)
		}
	}
}

// TestOperators are named by a URI of the scheme understudy.
func TestOperators(t *testing.T) {
	for uri, want := range map[string]bool{
		"understudy://operator/alice": true, "https://operator/alice": false, "understudy://peer/alice": false, "understudy://operator/": false,
	} {
		u, err := url.Parse(uri)
		must(t, err)
		if isOperator(&x509.Certificate{URIs: []*url.URL{u}}) != want {
			t.Errorf("%s is an operator: %v", uri, !want)
		}
	}
}

// TestAnswerToNobody: where the connection is not known there is nobody to answer.
func TestAnswerToNobody(t *testing.T) {
	for _, failed := range []error{io.EOF, tls.RecordHeaderError{Msg: "no", RecordHeader: [5]byte{userStream}}} {
		if err := answerPlain(failed); !errors.Is(err, failed) {
			t.Errorf("%v, want %v", err, failed)
		}
	}
}

// TestMarkerIsWhole, or it is damaged.
func TestMarkerIsWhole(t *testing.T) {
	for text, says := range map[string]string{
		`{"Format":1,"ID":"a","Directory":"d"}`: "", `{"Format":1,"Directory":"d"}`: "is damaged", `{"Format":1,"ID":"a"}`: "is damaged", `{`: "is damaged",
		`{"Format":2,"ID":"a","Directory":"d"}`: "this program reads 1",
	} {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, markerFile), []byte(text), 0o600))
		if _, err := readMarker(dir); (err == nil) != (says == "") || err != nil && (!errors.Is(err, lock.ErrPermanent) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}

// TestCheckNamesTheMarkersNode, also where the log is another's.
func TestCheckNamesTheMarkersNode(t *testing.T) {
	dir := t.TempDir()
	d, err := openDirectory(dir, "a", Config{}.logger())
	must(t, err)
	must(t, errors.Join(d.bolt.Set(ownerKey, []byte("b")), d.close()))
	if c, err := Check(dir); err != nil || c.Node != "a" || c.Damage == "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestSnapshotOfANewerLibrary is passed over, as the library does.
func TestSnapshotOfANewerLibrary(t *testing.T) {
	dir := t.TempDir()
	files, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	must(t, err)
	s, err := files.Create(raft.SnapshotVersionMax, 5, 1, raft.Configuration{}, 1, nil)
	must(t, err)
	must(t, s.Close())
	if all := readSnapshots(dir); len(all) != 1 {
		t.Fatalf("%d snapshots are read, want 1", len(all))
	}
	path := filepath.Join(dir, snapFolder, s.ID(), metaFile)
	var meta map[string]any
	must(t, json.Unmarshal(readFile(t, path), &meta))
	meta["Version"] = raft.SnapshotVersionMax + 1
	data, err := json.Marshal(meta)
	must(t, err)
	must(t, os.WriteFile(path, data, 0o600))
	list, err := files.List()
	if all := readSnapshots(dir); err != nil || len(all) != len(list) || len(all) != 0 {
		t.Errorf("%d are read, and %d by the library, %v", len(all), len(list), err)
	}
}

// TestBestAnswer is the leader's, or that of the longest log, and never one that failed.
func TestBestAnswer(t *testing.T) {
	says := func(id, state string, term, last uint64, err error) statusAnswer {
		return statusAnswer{node: NodeStatus{ID: id, State: state, Term: term, Last: last, Members: []Member{{ID: id}}}, err: err}
	}
	a, b, c := says("a", "follower", 3, 9, nil), says("b", "leader", 2, 5, nil), says("c", "follower", 3, 8, nil)
	failed := says("d", "leader", 9, 9, io.EOF)
	alone := statusAnswer{node: NodeStatus{ID: "e", State: "leader", Term: 9}}
	for want, answers := range map[string][]statusAnswer{
		"a": {c, a, failed, alone}, "b": {a, b, c, failed}, "": {failed, alone}, "c": {failed, c},
	} {
		got := best(answers)
		if (got == nil) != (want == "") || got != nil && got.ID != want {
			t.Errorf("%+v is the best, want %q", got, want)
		}
	}
}

// TestStatusPastASilentPeer: who accepts connections and says nothing does not keep a member that is in no list of peers from
// being asked.
func TestStatusPastASilentPeer(t *testing.T) {
	t.Parallel()
	g := newGroup(t, 3, nil).start()
	g.leader()
	g.stop(2)
	peers := g.configs[0].Peers
	deaf, err := net.Listen("tcp", peers[2].Address)
	must(t, err)
	defer deaf.Close()
	ctx := timeout(t, time.Minute)
	s, err := Status(ctx, Config{Peers: []Peer{peers[2], peers[0]}})
	must(t, err)
	voters, silent, failing := s.Voters()
	if len(voters) != 3 || !slices.Equal(silent, []string{"c"}) || len(failing) > 0 || ctx.Err() != nil {
		t.Errorf("voters %v, silent %v, failing %v; %v", voters, silent, failing, ctx.Err())
	}
	if text := s.Members[2].Silent; !strings.Contains(text, "peer c="+peers[2].Address+": it has not answered within ") {
		t.Errorf("c is silent: %s", text)
	}
}

// TestStatusBeforeAnySnapshot names none.
func TestStatusBeforeAnySnapshot(t *testing.T) {
	g := newGroup(t, 1, nil).start()
	g.leader()
	if s := g.nodes[0].status(); s.Snapshot != 0 || !s.SnapshotAt.IsZero() || s.State != "leader" || s.Last == 0 {
		t.Errorf("%+v", s)
	}
}

// TestWhatWasPassedOnIsNot again: two that take each other for the leader would do so forever.
func TestWhatWasPassedOnIsNot(t *testing.T) {
	g := newGroup(t, 3, nil).start()
	_, follower := g.leader()
	err := g.nodes[follower].caller.call(timeout(t, 5*time.Second), g.configs[0].Peers[follower], pathJoin+onlyLeader+"&phase=remove", candidate{Peer: g.configs[0].Peers[follower]}, &welcome{})
	if !errors.Is(err, errNotApplied) || !strings.Contains(err.Error(), "is not the leader") {
		t.Error(err)
	}
}

// TestObjections: what answers as this node at its own address, and what a peer has heard of
// it, by the peer's own word.
func TestObjections(t *testing.T) {
	n := newGroup(t, 1, nil).start().nodes[0]
	is := n.dir.bolt.writes()
	own, peer := n.config.peer("a"), Peer{"b", "127.0.0.1:1"}
	for _, c := range []struct {
		p    Peer
		h    hello
		says string
	}{
		{own, hello{ID: "a", Process: n.process}, ""},
		{own, hello{ID: "a", Process: "another"}, "answers at its address"},
		{own, hello{ID: "b", Process: "another", Twin: true}, ""},
		{peer, hello{ID: "b", Process: "another"}, ""},
		{peer, hello{ID: "b", Twin: true}, "reaches it at the address in its list"},
		{peer, hello{ID: "c", Twin: true}, ""},
		{peer, hello{ID: "a", Process: "another"}, ""},
		{peer, hello{ID: "b", Known: is + 1000}, "it is older than it was"},
		{peer, hello{ID: "c", Known: is + 1000}, ""},
		{peer, hello{ID: "b", Known: is}, ""},
	} {
		if err := n.objects(c.p, c.h); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v answers %+v: %v, want %q", c.p, c.h, err, c.says)
		}
	}
}

// TestFarPeersAreSaid once, each time that they come to be too far away.
func TestFarPeersAreSaid(t *testing.T) {
	g, said := newGroup(t, 2, nil), new(lab.Said)
	limit := MaxTrip(g.configs[0].timing())
	var proxy *servers.Proxy
	peers := through(t, g.configs[0].Peers[1:], func(p *servers.Proxy) { proxy = p })
	g.configs[0].Peers = append(slices.Clone(g.configs[0].Peers[:1]), peers...)
	g.configs[0].Logger = slog.New(slog.NewTextHandler(said, nil))
	n := g.start().nodes[0]
	far := map[string]bool{}
	measured := func(what string, delay time.Duration, want bool, times int) {
		t.Helper()
		proxy.Delay(delay)
		for range 4 {
			n.measure(t.Context(), far)
		}
		if trip := time.Duration(n.trip.Load()); !reflect.DeepEqual(far, map[string]bool{"b": want}) || (trip > limit) != want {
			t.Errorf("%s: far away are %v, the longest trip is %v", what, far, trip)
		}
		// The node measures by itself, too, now and then.
		if n := strings.Count(said.String(), "a peer is too far away"); n < times || n > times+1 {
			t.Errorf("%s: it is said %d times, want %d", what, n, times)
		}
	}
	measured("near", 0, false, 0)
	measured("far", limit, true, 1)
	measured("near again", 0, false, 1)
	measured("far again", limit, true, 2)
}
