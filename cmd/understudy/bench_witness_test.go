package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/raft"
	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/failover"
)

// BenchmarkWitness is the time from a signal to the active's wrapper to the first stamp
// of the next command, at a ttl of 30 s: SIGKILL beside SIGTERM, in turn, in one run.
// What lies between the two is what a crash costs more than a clean stop. On Raft it
// also tells the kills of its leader. Overlap of the stamps fails it.
func BenchmarkWitness(b *testing.B) {
	for _, name := range []string{"raft", "etcd", "consul"} {
		b.Run(name, func(b *testing.B) {
			r := newTrio(b, name)
			r.ttl = 30 * time.Second
			r.everyone()
			var clean, crash, led []time.Duration
			for b.Loop() {
				clean = append(clean, r.takeover(syscall.SIGTERM))
				leads := r.leads(r.settle().id)
				gap := r.takeover(syscall.SIGKILL)
				if crash = append(crash, gap); leads {
					led = append(led, gap)
				}
			}
			normal := median(clean)
			tell(b, "clean", clean, 0)
			tell(b, "crash-above-clean", crash, normal)
			tell(b, "of-leader-above-clean", led, normal)
			_, bytes, err := failover.Used(r.witness(r.settle().id))
			must(b, err)
			b.ReportMetric(float64(bytes)/(1<<20), "MiB-witness")
			r.finish()
		})
	}
}

// BenchmarkHang is the time from SIGSTOP of the active's wrapper to the first stamp of
// the next command, with a hang timeout of 300 ms and a ttl of 30 s.
func BenchmarkHang(b *testing.B) {
	for _, name := range []string{"raft", "etcd", "consul"} {
		b.Run(name, func(b *testing.B) {
			r := newTrio(b, name)
			r.ttl = 30 * time.Second
			r.everyone("--hang-timeout", "300ms")
			var gaps []time.Duration
			for b.Loop() {
				gaps = append(gaps, r.takeover(syscall.SIGSTOP))
			}
			tell(b, "hang", gaps, 0)
			r.finish()
		})
	}
}

// BenchmarkLarge is the time from SIGKILL of a process to the word of its pidfd, by the
// memory that it holds: the kernel frees that first.
func BenchmarkLarge(b *testing.B) {
	for _, gb := range []int{0, 1, 4} {
		b.Run(fmt.Sprint(gb, "GB"), func(b *testing.B) {
			var gaps []time.Duration
			for b.Loop() {
				gaps = append(gaps, deathOf(b, gb<<30))
			}
			tell(b, "death", gaps, 0)
		})
	}
}

// everyone starts all three.
func (r *trio) everyone(flags ...string) {
	r.more, r.command = flags, []string{filepath.Join(r.dir, "stamp")}
	if out, err := exec.Command("go", "build", "-o", r.command[0], "./testdata/stamp").CombinedOutput(); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
	r.startAll()
}

// takeover sends a signal to the active's wrapper, another part of a beat later each
// time, and returns how long it takes until the next command stamps.
func (r *trio) takeover(sig syscall.Signal) time.Duration {
	now := r.settle()
	time.Sleep(time.Duration(now.token%7) * 100 * time.Millisecond) // another part of a beat each time
	at := coordinator.Clocks().Mono
	r.signal(now.id, sig)
	return r.active(now.token).first - at
}

// leads reports whether a wrapper leads Raft.
func (r *trio) leads(id string) bool {
	if r.store.Backend != "raft" {
		return false
	}
	g, err := raft.Inspect(r.t.Context(), raft.Config{Peers: r.store.Raft.Peers})
	return err == nil && g.Leader == id
}

func median(all []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(all))
	return s[len(s)/2]
}

// tell tells the median and the greatest of all, less what they are compared with.
func tell(b *testing.B, name string, all []time.Duration, less time.Duration) {
	if len(all) == 0 {
		return
	}
	ms := func(d time.Duration) float64 { return float64((d - less).Microseconds()) / 1000 }
	b.ReportMetric(ms(median(all)), "ms-"+name)
	b.ReportMetric(ms(slices.Max(all)), "ms-"+name+"-max")
	b.ReportMetric(float64(len(all)), "n-"+name)
	b.ReportMetric(0, "ns/op") // what surrounds the gap is not meant
}

// fill holds memory until it is killed.
func fill(bytes int) {
	held := make([]byte, bytes)
	for i := 0; i < len(held); i += 4096 {
		held[i] = 1
	}
	fmt.Println("full")
	time.Sleep(time.Hour) // until it is killed
	fmt.Println(len(held))
}

func deathOf(b *testing.B, bytes int) time.Duration {
	p, out := helper(b, "UNDERSTUDY_TEST=fill "+fmt.Sprint(bytes))
	line := make([]byte, 16)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "full") {
		b.Fatal(err)
	}
	at := coordinator.Clocks().Mono
	must(b, p.Signal(syscall.SIGKILL))
	_, err := p.Wait() // the runtime waits by pidfd
	must(b, err)
	return coordinator.Clocks().Mono - at
}

func helper(b *testing.B, env string) (*os.Process, *os.File) {
	out, in, err := os.Pipe()
	must(b, err)
	p, err := os.StartProcess(os.Args[0], os.Args[:1], &os.ProcAttr{Env: append(os.Environ(), env), Files: []*os.File{nil, in, os.Stderr}})
	must(b, err)
	must(b, in.Close())
	b.Cleanup(func() { _ = out.Close() })
	return p, out
}
