package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestRaftMembers: all three nodes of a group are replaced one by one, by others that know one living
// peer each, while a session beats. It keeps its role, and no beat of it is refused for good.
func TestRaftMembers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := stores.Peers(t, "a", "b", "c", "d", "e", "f")
	stops := map[string]func(){}
	for _, p := range all[:3] {
		stops[p.ID] = votes(t, p.ID, filepath.Join(dir, p.ID), stores.List(all[:3]))
	}
	led(t, all[:3])
	client, err := raft.Dial(raft.Config{Peers: all})
	must(t, err)
	defer func() { must(t, client.Close()) }()
	g := &keptGroup{t: t, client: client}
	g.take()
	beats := func() {
		t.Helper()
		lab.Eventually(t, "a beat", func() bool { return g.session.Beat(lab.Within(t, time.Minute)) == nil })
	}
	for i := range 3 {
		old, next, living := all[i], all[i+3], all[i+1]
		args := []string{"raft", "member", "replace", old.ID, next.String(), "--raft-peers", stores.List([]raft.Peer{living})}
		if i == 0 { // it does not run yet
			if code, text := said(t, append(args, "--timeout", "2s")...); code == 0 || !strings.Contains(text, next.ID) {
				t.Errorf("of one that does not run: exit code %d, %s", code, text)
			}
		}
		if i == 1 {
			stops[old.ID]() // it is dead
		}
		stops[next.ID] = votes(t, next.ID, filepath.Join(dir, next.ID), stores.List([]raft.Peer{next, living}))
		for range 2 { // it may be repeated
			if code, text := said(t, args...); code != 0 || !strings.Contains(text, "member "+next.ID+" is counted") || !strings.Contains(text, "member "+old.ID+" is taken out") {
				t.Fatalf("exit code %d, %s", code, text)
			}
			beats()
		}
		stops[old.ID]()
	}
	unknownMembers(t, all[3].String())
	var r groupReport
	lab.Eventually(t, "the members", func() bool {
		code, text := said(t, "raft", "member", "list", "-o", "json", "--raft-peers", all[3].String())
		return code == 0 && json.Unmarshal([]byte(text), &r) == nil && r.Leader != "" && r.Margin == 1
	})
	if _, text := said(t, "status", "--role", "r", "--raft-peers", all[3].String(), "--timeout", "20s"); !strings.Contains(text, "3 members") || !strings.Contains(text, "1 more may fail") {
		t.Errorf("status by one peer: %s", text)
	}
	if voters, _, _ := r.Voters(); !slices.Equal(voters, []string{"d", "e", "f"}) {
		t.Errorf("%v", voters)
	}
	beats()
	st, err := standing(lab.Within(t, time.Minute), client, "r")
	if must(t, err); st.Term.Token != g.token || st.Term.Vacant() {
		t.Errorf("%+v", st.Term)
	}
	if code, text := said(t, "raft", "member", "list", "--raft-peers", all[4].String()); code != 0 || strings.Count(text, "voter") != 2 || strings.Count(text, "leader") != 1 {
		t.Errorf("exit code %d, %s", code, text)
	}
	for _, id := range slices.Sorted(maps.Keys(stops)) {
		if id > "d" {
			stops[id]()
		}
	}
	if code, text := said(t, "raft", "member", "remove", "f", "--timeout", "5s", "--raft-peers", all[3].String()); code != cli.NotDone {
		t.Errorf("without a majority: exit code %d, %s", code, text)
	}
}

// TestRaftMemberPromotedAndMoved: an observer is let in, counted by an operator's word, and found at
// another address, each as often as it is said.
func TestRaftMemberPromotedAndMoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := stores.Peers(t, "a", "b", "d", "d")
	a, d, to := all[0], all[2], all[3]
	votes(t, "a", filepath.Join(dir, "a"), stores.List(all[:2]))
	stopB := votes(t, "b", filepath.Join(dir, "b"), stores.List(all[:2]))
	led(t, all[:2])
	member := func(says string, args ...string) {
		t.Helper()
		for range 2 {
			if code, text := said(t, append([]string{"raft", "member"}, append(args, "--raft-peers", a.String())...)...); code != 0 || !strings.Contains(text, says) {
				t.Fatalf("%v: exit code %d, %s", args, code, text)
			}
		}
	}
	member("member d is let in", "add", d.String(), "--wait=false")
	if code, text := said(t, "raft", "member", "promote", "d", "--timeout", "2s", "--raft-peers", a.String()); code != cli.NotDone ||
		!strings.Contains(text, fmt.Sprintf(`"d" is not counted yet, as it does not answer at %s (connect: connection refused): start it, and repeat this`, d.Address)) || strings.Contains(text, "http") {
		t.Errorf("promote one that does not run: exit code %d, %s", code, text)
	}
	stop := votes(t, "d", filepath.Join(dir, "d"), stores.List([]raft.Peer{d, a}), "--raft-observer")
	member("member d observes: 2 members", "add", d.String())
	member("observes", "list")
	if code, text := said(t, "raft", "member", "replace", "b", d.String(), "--raft-peers", a.String()); code != cli.NotDone || !strings.Contains(text, "member d observes, and has no vote: b is not taken out") {
		t.Errorf("replace by an observer: exit code %d, %s", code, text)
	}
	member("member d is counted: 3 members", "promote", "d")
	if code, text := said(t, "raft", "member", "move", to.String(), "--timeout", "3s", "--raft-peers", stores.List([]raft.Peer{a, d})); code != cli.NotDone || !strings.Contains(text, "is moved, and not there in time") {
		t.Errorf("it answers where it was, and not there: exit code %d, %s", code, text)
	}
	stop()
	votes(t, "d", filepath.Join(dir, "d"), stores.List([]raft.Peer{to, a}))
	member("member d is moved: 3 members", "move", to.String())
	stopB()
	lab.Eventually(t, "a refusal, as a and d alone are left", func() bool {
		code, text := said(t, "raft", "member", "move", "d=127.0.0.1:1", "--raft-peers", a.String(), "--timeout", "5s")
		return code == cli.NotDone && strings.Contains(text, "2 must live, and with it at 127.0.0.1:1 1 answer: a")
	})
}

// TestRaftMemberThatIsActive is not taken out, unless that is forced, and is told what to do first. The process of
// one that was taken out says so, and ends.
func TestRaftMemberThatIsActive(t *testing.T) {
	t.Parallel()
	r := newTrio(t, onRaft)
	r.startAll()
	now := r.active(0)
	r.inLine(2)
	const hint = "hand over first, by understudy handoff --role r;"
	r.expect(cli.NotDone, hint, "raft", "member", "remove", now.id)
	r.expect(cli.NotDone, hint, "raft", "member", "replace", now.id, stores.Peers(t, "d")[0].String())
	r.expect(0, "3 members", "raft", "status")
	out := func(id string, flags ...string) {
		r.expect(0, "is taken out", append([]string{"raft", "member", "remove", id}, flags...)...)
		r.logged(id, fmt.Sprintf("node %q was taken out of the group", id))
		if code := r.ended(id).ExitCode(); code != cli.Usage {
			t.Errorf("%s has exit code %d", id, code)
		}
	}
	r.handoff()
	next := r.active(now.token)
	r.inLine(2)
	out(now.id)
	out(next.id, "--force")
	r.active(next.token)
	r.judge()
}

// unknownMembers expects an ID that is not a member to be neither taken out nor replaced.
func unknownMembers(t *testing.T, peers string) {
	for _, args := range [][]string{{"remove", "nosuch"}, {"replace", "nosuch", "g=127.0.0.1:1"}} {
		code, text := said(t, append(append([]string{"raft", "member"}, args...), "--raft-peers", peers)...)
		if !strings.Contains(text, `"nosuch" is not a member: nothing was changed; the members are d, e, f`) || (code == 0) != (args[0] == "remove") {
			t.Errorf("%v: exit code %d, %s", args, code, text)
		}
	}
}

// TestRaftMembersRefuse what is not a member, before anybody is asked.
func TestRaftMembersRefuse(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"takes one argument, ID=HOST:PORT":           {"add"},
		`write HOST:PORT`:                            {"add", "d=h4"},
		"names 2 members":                            {"add", "d=127.0.0.1:1,e=127.0.0.1:2"},
		"takes one argument, the member's ID":        {"remove"},
		"it was given 1 arguments":                   {"replace", "c"},
		`"c" is who goes and who comes`:              {"replace", "c", "c=127.0.0.1:1"},
		"the address of \"d\", h4:7001, is not loop": {"add", "d=h4:7001"},
	} {
		code, text := said(t, append(append([]string{"raft", "member"}, args...), "--raft-peers", "a=127.0.0.1:1", "--timeout", "2s")...)
		if code != cli.Usage || !strings.Contains(text, want) {
			t.Errorf("want %q, got exit code %d, %s", want, code, text)
		}
	}
}

// TestLastVoterStays: an error about voters that are not there has no empty list.
func TestLastVoterStays(t *testing.T) {
	t.Parallel()
	peers := stores.Peers(t, "a")
	defer votes(t, "a", filepath.Join(t.TempDir(), "a"), stores.List(peers))()
	led(t, peers)
	code, text := said(t, "raft", "member", "remove", "a", "--timeout", "20s", "--raft-peers", stores.List(peers))
	if code != cli.NotDone || !strings.Contains(text, `"a" stays: it is the only voter, and a group has one at least`) {
		t.Errorf("exit code %d, %s", code, text)
	}
}
