//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/failover"
)

// bare is package admin with nothing in it, as far as the program needs it.
const bare = `package admin

import (
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
)

type Config struct {
	Listen, AgentListen, CertFile, KeyFile, CAFile, TokenFile string

	Open         bool
	Certificates func() map[string]time.Time
	Logger       *slog.Logger
}

type Server struct{}

func (Config) Validate() error                              { return nil }
func Listen(Config, *coordinator.Monitor) (*Server, error) { return nil, nil }
func (*Server) Close()                                      {}
`

// BenchmarkListener is what probes and metrics cost, in pairs, against a program that was built without
// them: private memory, processor time under a scrape a second, and a takeover after SIGKILL.
func BenchmarkListener(b *testing.B) {
	dir := b.TempDir()
	with, without := filepath.Join(dir, "with"), filepath.Join(dir, "without")
	buildProgram(b, with)
	buildProgram(b, without, "-overlay", overlay(b, dir))
	pair := map[string]*trio{with: onProgram(b, with, "--admin-listen", "127.0.0.1:0"), without: onProgram(b, without)}
	took, cpu, memory := map[string][]time.Duration{}, map[string]time.Duration{}, map[string]int64{}
	rounds := 0
	for b.Loop() {
		rounds++
		for name, r := range pair {
			took[name] = append(took[name], r.takeover(syscall.SIGKILL))
			r.settle()
		}
		began := cost(b, pair)
		for range 10 {
			for name, r := range pair {
				if name == with {
					scrape(b, r)
				}
			}
			time.Sleep(time.Second) // between two scrapes
		}
		for name, now := range cost(b, pair) {
			cpu[name] += now.cpu - began[name].cpu
			memory[name] += now.private
		}
	}
	n := float64(rounds)
	b.ReportMetric(float64(memory[with]-memory[without])/n/(1<<20), "MiB-more")
	b.ReportMetric(float64(cpu[with]-cpu[without])/n/float64(10*time.Second)*100, "%-of-a-core-more")
	b.ReportMetric(float64(median(took[with]))/float64(median(took[without])), "takeover-ratio")
	tell(b, "takeover-with", took[with], 0)
	tell(b, "takeover-without", took[without], 0)
	for _, r := range pair {
		r.finish()
	}
}

func buildProgram(b *testing.B, to string, more ...string) {
	cmd := exec.Command("go", append(append([]string{"build", "-trimpath", "-tags", "grpcnotrace", "-o", to}, more...), ".")...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	must(b, cmd.Run())
}

// overlay is a file by which go build takes the bare package in place of admin.
func overlay(b *testing.B, dir string) string {
	stub, path := filepath.Join(dir, "bare.go"), filepath.Join(dir, "overlay.json")
	must(b, os.WriteFile(stub, []byte(bare), 0o600))
	files, err := filepath.Glob("../../admin/*.go")
	must(b, err)
	replace := map[string]string{}
	for _, f := range files {
		full, err := filepath.Abs(f)
		must(b, err)
		if replace[full] = ""; filepath.Base(f) == "admin.go" {
			replace[full] = stub
		}
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	must(b, err)
	must(b, os.WriteFile(path, text, 0o600))
	return path
}

// onProgram is a trio of a program, on an etcd of its own.
func onProgram(b *testing.B, program string, flags ...string) *trio {
	r := newTrio(b, onEtcd)
	r.ttl, r.program = 30*time.Second, program
	r.everyone(flags...)
	return r
}

type expense struct {
	cpu     time.Duration
	private int64
}

// cost is what each active's wrapper has used so far.
func cost(b *testing.B, pair map[string]*trio) map[string]expense {
	all := map[string]expense{}
	for name, r := range pair {
		pid := r.procs[r.settle().id].Process.Pid
		cpu, _, err := failover.Used(pid)
		must(b, err)
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		must(b, err)
		e := expense{cpu: cpu}
		for _, line := range strings.Split(string(text), "\n") {
			var kb int64
			if n, _ := fmt.Sscanf(line[strings.Index(line, ":")+1:], "%d kB", &kb); n == 1 && strings.HasPrefix(line, "Private_") {
				e.private += kb << 10
			}
		}
		all[name] = e
	}
	return all
}

var servedAt = regexp.MustCompile(`probes and metrics are served" address=(\S+)`)

// scrape asks the active for its metrics, as Prometheus does.
func scrape(b *testing.B, r *trio) {
	all := servedAt.FindAllStringSubmatch(r.log(r.settle().id), -1)
	answer, err := http.Get("http://" + all[len(all)-1][1] + "/metrics")
	must(b, err)
	must(b, answer.Body.Close())
	if answer.StatusCode != http.StatusOK {
		b.Fatal(answer.Status)
	}
}
