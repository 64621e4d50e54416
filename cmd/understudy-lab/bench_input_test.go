package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-ha/understudy/internal/cli"
	"github.com/understudy-ha/understudy/internal/failover"
	"github.com/understudy-ha/understudy/internal/lab"
)

// TestBenchRefusesBadInput expects all that is wrong before anything is started.
func TestBenchRefusesBadInput(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	lab.Must(t, os.MkdirAll(full, 0o755))
	lab.Must(t, os.WriteFile(filepath.Join(full, failover.RunsFile), nil, 0o644))
	none := filepath.Join(dir, "none")
	for _, server := range []string{"ETCD", "CONSUL", "POSTGRES", "KUBE_APISERVER", "NATS_SERVER", "VERSITYGW"} {
		t.Setenv("UNDERSTUDY_"+server, none)
	}
	t.Setenv("UNDERSTUDY_BASELINE_PROGRAM", os.Args[0])
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"all at once": {
			[]string{"--backends", "rat,raft,raft", "--faults", "crush", "--runs", "0", "--ttl", "10", "--out", full},
			[]string{
				`backends: "rat" cannot be measured, use some of raft, etcd, consul, postgres, kubernetes, nats, s3, did you mean "raft"?`, `backends: "raft" is given twice`,
				`faults: there is no "crush"`, `did you mean "crash"?`, "runs 0: must be at least 1", `ttl: "10" has no unit; write 10s`,
				`out "` + full + `": holds another report; write another directory, or add --force`,
			},
		},
		"negative": {[]string{"--runs", "-3"}, []string{"runs -3: must be at least 1"}},
		"memory":   {[]string{"--backends", "memory"}, []string{`"memory" cannot be measured`}},
		"no server": {
			[]string{"--backends", "etcd"},
			[]string{none + ": no such program: run `make bin/etcd` once where understudy's source is, or set UNDERSTUDY_ETCD"},
		},
		"no servers at all": { // raft is measured, and nothing else is said to be wrong
			[]string{"--quick", "--runs", "0"},
			[]string{
				"etcd is left out", "consul is left out", "postgres is left out", "kubernetes is left out", "nats is left out", "s3 is left out",
				"understudy-lab: runs 0: must be at least 1\n",
			},
		},
		"endpoints": {[]string{"--backends", "etcd", "--etcd-endpoints", "nowhere"}, []string{`etcd-endpoints: "nowhere" is not an endpoint`}},
		"latency": {
			[]string{"--backends", "raft", "--faults", "latency", "--ttl", "1s"},
			[]string{"latency: at a ttl of 1s no beat gets through where everything takes 100ms longer each way; write a ttl of at least 5s"},
		},
		"no PostgreSQL": {
			[]string{"--baselines", "--backends", "raft", "--runs", "0"},
			[]string{
				"Postgres advisory lock is left out: no PostgreSQL server is found; on Debian: apt-get install -y postgresql,",
				"Consul api.Lock, default 15s is left out: consul is not measured",
			},
		},
		"out": {[]string{"--out", filepath.Join(full, failover.RunsFile)}, []string{"is not a directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"bench"}, c.args...)
			if !strings.Contains(strings.Join(args, " "), "--out") {
				args = append(args, "--out", filepath.Join(dir, "new"))
			}
			var out, errs bytes.Buffer
			code := execute(t.Context(), args, &out, &errs)
			if code != cli.Usage {
				t.Errorf("code %d, want %d", code, cli.Usage)
			}
			for _, want := range c.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("no %q in\n%s", want, errs.String())
				}
			}
			if strings.Contains(out.String(), "seed") {
				t.Error("it began to measure")
			}
		})
	}
}

// TestCompareOfNothing: what it takes is said.
func TestCompareOfNothing(t *testing.T) {
	t.Parallel()
	for n := range 2 {
		var out, errs bytes.Buffer
		want := fmt.Sprintf("bench compare takes two folders that bench has written, BEFORE and AFTER; it was given %d", n)
		if code := execute(t.Context(), append([]string{"bench", "compare"}, make([]string, n)...), &out, &errs); code != cli.Usage || !strings.Contains(errs.String(), want) {
			t.Errorf("exit code %d, want %d and %q:\n%s", code, cli.Usage, want, errs.String())
		}
	}
}

// TestRefusedBenchLeavesNoDirectory where there was none.
func TestRefusedBenchLeavesNoDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	var out, errs bytes.Buffer
	if code := execute(t.Context(), []string{"bench", "--backends", "raft", "--runs", "0", "--out", dir}, &out, &errs); code != cli.Usage {
		t.Errorf("code %d: %s", code, errs.String())
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it is there")
	}
}

// TestBenchMeasuresRaft is the smallest bench, whole: it needs no server.
func TestBenchMeasuresRaft(t *testing.T) {
	out, said, samples := measures(t, "raft", "clean,crash-witness")
	if !strings.Contains(said, "A first look, no figure to show: runs of each fault: 1. ") {
		t.Errorf("it does not say how little it is:\n%s", said)
	}
	if len(samples) != 2 {
		t.Errorf("runs: %+v", samples)
	}
	if page, err := os.ReadFile(filepath.Join(out, failover.ReportFile)); err != nil || !bytes.Contains(page, []byte("Never two at once")) {
		t.Errorf("%v: the report lacks its verdict", err)
	}
	var same, errs bytes.Buffer
	if code := execute(t.Context(), []string{"bench", "compare", out, out}, &same, &errs); code != 0 || !strings.Contains(same.String(), "too few runs to say") {
		t.Errorf("code %d: %s%s", code, same.String(), errs.String())
	}
}

// measures runs each fault once on a store whose servers the bench starts. Each must move the role, with its moments in
// order, and the store must have a floor. The ttl is one that a busy machine keeps; nothing here waits for it.
func measures(t *testing.T, store, faults string) (out, said string, samples []failover.Sample) {
	t.Helper()
	t.Setenv("UNDERSTUDY_TEST", "lab")
	out = filepath.Join(t.TempDir(), "report")
	var text, errs bytes.Buffer
	args := []string{"bench", "--quick", "--backends", store, "--faults", faults, "--runs", "1", "--ttl", "5s", "--sweep=false", "--cost=false", "--out", out}
	if code := execute(t.Context(), args, &text, &errs); code != 0 {
		t.Fatalf("code %d\n%s%s", code, text.String(), errs.String())
	}
	env, samples, err := failover.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	said = errs.String() + text.String()
	if !env.Complete || !regexp.MustCompile(`floor +`+store+` +one commit [1-9]`).MatchString(said) {
		t.Errorf("complete: %t, or there is no floor:\n%s", env.Complete, said)
	}
	for _, s := range samples {
		if s.Outcome == failover.Stayed && s.Fault == "store-leader" {
			continue // another led soon
		}
		if s.Outcome != failover.Moved || s.Overlap != 0 || s.Told > s.Granted || s.Granted > s.Started || s.Started > s.Success {
			t.Errorf("%+v", s)
		}
	}
	return out, said, samples
}
