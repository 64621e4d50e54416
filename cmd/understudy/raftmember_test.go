package main

import (
	"encoding/json"
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
	if voters, _ := r.Voters(); !slices.Equal(voters, []string{"d", "e", "f"}) {
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
	if code, text := said(t, "raft", "member", "remove", "f", "--timeout", "5s", "--raft-peers", all[3].String()); code == 0 || code == cli.NotDone {
		t.Errorf("without a majority: exit code %d, %s", code, text)
	}
}

// unknownMembers expects an ID that is not a member to be neither taken out nor replaced.
func unknownMembers(t *testing.T, peers string) {
	for _, args := range [][]string{{"remove", "nosuch"}, {"replace", "nosuch", "g=127.0.0.1:1"}} {
		code, text := said(t, append(append([]string{"raft", "member"}, args...), "--raft-peers", peers)...)
		if !strings.Contains(text, `"nosuch" is not a member: nothing was changed`) || (code == 0) != (args[0] == "remove") {
			t.Errorf("%v: exit code %d, %s", args, code, text)
		}
	}
}

// TestRaftMembersRefuse what is no member, before anybody is asked.
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
