package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// TestRaftStatus of a group of three over mutual TLS, asked by an operator who knows one peer: all
// well, with one voter away, and with two.
func TestRaftStatus(t *testing.T) {
	t.Parallel()
	certs, dir := t.TempDir(), t.TempDir()
	peers := stores.Peers(t, "a", "b", "c")
	if code, text := said(t, "raft", "certs", "--dir", certs, "--raft-peers", stores.List(peers), "--operator", "alice"); code != 0 {
		t.Fatal(text)
	}
	stops := map[string]func(){}
	for _, p := range peers {
		stops[p.ID] = votes(t, p.ID, filepath.Join(dir, p.ID), stores.List(peers), tlsOf(certs, p.ID)...)
	}
	status := func(more ...string) (int, string) {
		return said(t, append(append([]string{"raft", "status", "--raft-peers", stores.List(peers)}, tlsOf(certs, "alice")...), more...)...)
	}
	led(t, peers, tlsOf(certs, "alice")[1], tlsOf(certs, "alice")[3], tlsOf(certs, "alice")[5])
	lab.Eventually(t, "1 more may fail, and nobody behind", func() bool {
		code, text := status("-o", "json")
		var r groupReport
		if json.Unmarshal([]byte(text), &r) != nil || code != 0 || len(r.Members) != 3 || r.Margin != 1 {
			return false
		}
		for _, m := range r.Members {
			if m.Node == nil || m.Behind == nil || *m.Behind != 0 || m.Node.Term == 0 || m.Node.Last == 0 || m.Node.Used == 0 || m.Node.Free == nil || len(m.Node.Certificates) != 2 {
				return false
			}
		}
		return r.Leader != "" && r.Differs == ""
	})
	lab.Eventually(t, "the table", func() bool {
		code, text := status()
		return code == 0 && strings.Contains(text, "1 more may fail") && strings.Contains(text, "leader") && strings.Count(text, "follower") == 2
	})
	lab.Eventually(t, "the same by one peer", func() bool {
		code, text := said(t, append([]string{"raft", "status", "--raft-peers", stores.List(peers[:1])}, tlsOf(certs, "alice")...)...)
		return code == 0 && strings.Contains(text, "1 more may fail") && strings.Contains(text, "counted, but not in the list of peers: b, c")
	})
	for _, command := range []string{"status", "plan"} {
		lab.Eventually(t, "the same by "+command, func() bool {
			_, text := said(t, append([]string{command, "-o", "json", "--backend", "raft", "--raft-peers", stores.List(peers[:1])}, tlsOf(certs, "alice")...)...)
			return strings.Contains(text, "counted, but not in the list of peers: b, c")
		})
	}
	stops["c"]()
	lab.Eventually(t, "none may fail", func() bool {
		code, text := status()
		return code == 0 && strings.Contains(text, "silent: c; none may fail") && strings.Contains(text, "c is silent: ")
	})
	stops["b"]()
	lab.Eventually(t, "no majority", func() bool {
		code, text := status()
		return code == cli.NotDone && strings.Contains(text, "no majority: 2 of 3 must work; silent: ") && strings.Count(text, "unknown") > 0
	})
	stops["a"]()
	if code, text := status("--timeout", "1s"); code != cli.Unavailable || !strings.Contains(text, "no peer knows a group") {
		t.Errorf("of nobody: exit code %d\n%s", code, text)
	}
	if code, text := said(t, "raft", "status", "--backend", "etcd"); code != cli.Usage || !strings.Contains(text, `backend: "etcd" has no group of embedded Raft; give raft`) {
		t.Errorf("of etcd: exit code %d\n%s", code, text)
	}
	var c raft.Checkup
	_, text := said(t, "raft", "check", "-o", "json", filepath.Join(dir, "a"))
	if must(t, json.Unmarshal([]byte(text), &c)); len(c.Members) != 3 || c.Members[0].Address != peers[0].Address || !c.Members[0].Voter {
		t.Errorf("%+v", c.Members)
	}
}

// TestRaftStatusBarred: where TLS with a majority of the members fails on this machine alone, they may well work, and
// nobody is told that no majority does.
func TestRaftStatusBarred(t *testing.T) {
	t.Parallel()
	ours, theirs, dir := t.TempDir(), t.TempDir(), t.TempDir()
	peers := stores.Peers(t, "a", "b", "c")
	var both []byte
	for _, certs := range []string{ours, theirs} {
		if code, text := said(t, "raft", "certs", "--dir", certs, "--raft-peers", stores.List(peers), "--operator", "alice"); code != 0 {
			t.Fatal(text)
		}
		one, err := os.ReadFile(filepath.Join(certs, "ca.pem"))
		must(t, err)
		both = append(both, one...)
	}
	authorities := filepath.Join(dir, "both.pem")
	must(t, os.WriteFile(authorities, both, 0o600))
	for _, p := range peers {
		certs := theirs
		if p.ID == "a" {
			certs = ours
		}
		files := tlsOf(certs, p.ID)
		files[1] = authorities
		defer votes(t, p.ID, filepath.Join(dir, p.ID), stores.List(peers), files...)()
	}
	alice := tlsOf(ours, "alice")
	led(t, peers, authorities, alice[3], alice[5])
	lab.Eventually(t, "it is not known whether a majority works", func() bool {
		_, text := said(t, append([]string{"raft", "status", "--raft-peers", stores.List(peers)}, alice...)...)
		_, all := said(t, append([]string{"status", "--backend", "raft", "--raft-peers", stores.List(peers)}, alice...)...)
		if strings.Contains(all, "no majority") {
			t.Fatal(all)
		}
		return strings.Contains(all, "TLS with b, c fails") && strings.Contains(text, "whether a majority works is not known here: TLS with b, c fails") && strings.Contains(text, "unknown authority") && !strings.Contains(text, "no majority")
	})
}
