package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/lab/stores"
)

// tlsOf are the flags of who has the certificate of that name.
func tlsOf(dir, name string) []string {
	return []string{
		"--raft-ca-file", filepath.Join(dir, "ca.pem"),
		"--raft-cert-file", filepath.Join(dir, name+".pem"), "--raft-key-file", filepath.Join(dir, name+".key"),
	}
}

// TestRaftCerts: a group of three over mutual TLS, an operator that steers it, and a renewal
// while all of it runs. Whoever has a certificate of another authority gets nothing.
func TestRaftCerts(t *testing.T) {
	t.Parallel()
	dir, foreign := t.TempDir(), t.TempDir()
	peers := stores.Peers(t, "a", "b", "c")
	list := stores.List(peers)
	sign := func(dir string, more ...string) (int, string) {
		return said(t, append([]string{"raft", "certs", "--dir", dir, "--raft-peers", list, "--operator", "alice"}, more...)...)
	}
	for _, dir := range []string{dir, foreign} {
		if code, text := sign(dir); code != 0 || !strings.Contains(text, "operator alice") || strings.Contains(text, "renewed") {
			t.Fatalf("exit code %d, %s", code, text)
		}
	}
	for _, p := range peers {
		defer votes(t, p.ID, filepath.Join(t.TempDir(), p.ID), list, tlsOf(dir, p.ID)...)()
	}
	as := func(dir, name string, args ...string) (int, string) {
		return said(t, append(append(args, "--raft-peers", list), tlsOf(dir, name)...)...)
	}
	if code, text := as(dir, "alice", "token-floor", "--role", "r", "--above", "100", "--timeout", "60s"); code != 0 {
		t.Errorf("an operator raises the floor: exit code %d, %s", code, text)
	}
	refused := "raft-cert-file: peer a=" + peers[0].Address + ": not allowed with this certificate: "
	if code, text := as(dir, "alice", "raft", "backup", filepath.Join(dir, "group.backup"), "--timeout", "60s"); code != cli.Usage || !strings.Contains(text, refused) {
		t.Errorf("an operator makes a backup: exit code %d, want %d and %q\n%s", code, cli.Usage, refused, text)
	}
	if code, text := as(foreign, "alice", "raft", "status", "--timeout", "60s"); code != cli.Usage || !strings.Contains(text, "tls") {
		t.Errorf("one of another authority: exit code %d, %s", code, text)
	}
	code, text := sign(dir, "-o", "json")
	var made []certReport
	must(t, json.Unmarshal([]byte(text), &made))
	if code != 0 || len(made) != 5 || made[0].Renewed || !made[1].Renewed || !made[4].Renewed {
		t.Errorf("exit code %d, %+v", code, made)
	}
	if code, text := as(dir, "alice", "token-floor", "--role", "r", "--above", "200", "--timeout", "60s"); code != 0 {
		t.Errorf("after the renewal: exit code %d, %s", code, text)
	}
}

func TestRaftCertsRefuse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	for want, args := range map[string][]string{
		"raft-peers: none is given; w":                    {"--operator", "alice"},
		"raft-peers: none is given":                       {"--raft-peers", ""},
		"dir: is empty; write a value":                    {"--raft-peers", "a=h1:7001", "--dir", ""},
		`days: "0" must be a whole number from 1 to 3650`: {"--raft-peers", "a=h1:7001", "--days", "0"},
		"missing port in address":                         {"--raft-peers", "a=h1"},
		`name "a": stands there twice`:                    {"--raft-peers", "a=h1:7001", "--operator", "a"},
	} {
		if !slices.Contains(args, "--dir") {
			args = append(args, "--dir", dir)
		}
		code, text := said(t, append([]string{"raft", "certs"}, args...)...)
		if code != cli.Usage || !strings.Contains(text, want) {
			t.Errorf("want %q, got exit code %d, %s", want, code, text)
		}
	}
	if made, err := filepath.Glob(dir); err != nil || len(made) > 0 {
		t.Errorf("%v is there, %v", made, err)
	}
}
