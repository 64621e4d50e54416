package pairs

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
)

// tick is the unit of processor time in /proc: USER_HZ, which is 100 on every Linux.
const tick = 10 * time.Millisecond

// processes are the folders in /proc of what the site has started, the users' programs too.
func (s *site) processes() (all []string) {
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	lab.Must(s.t, err)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil && bytes.Contains(text, []byte("UNDERSTUDY_PAIRS_SITE="+s.mark)) {
			all = append(all, filepath.Dir(name))
		}
	}
	return all
}

// A usage is the processor time that each process of a site has had, by its folder in /proc.
type usage map[string]time.Duration

func (s *site) used() usage {
	all := usage{}
	for _, dir := range s.processes() {
		text, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")       // the name may hold anything
		for _, field := range strings.Fields(rest)[11:13] { // utime, stime
			ticks, err := strconv.Atoi(field)
			lab.Must(s.t, err)
			all[dir] += time.Duration(ticks) * tick
		}
	}
	return all
}

// since is what the processes that are left, and the new ones, have had since then.
func (u usage) since(before usage) (sum time.Duration) {
	for dir, now := range u {
		sum += now - before[dir]
	}
	return sum
}

// memory is the private memory of a wrapper and its witness, the mean of all, in MiB.
func (s *site) memory() float64 {
	var kib float64
	for _, dir := range s.processes() {
		program, err := os.Readlink(filepath.Join(dir, "exe"))
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || program != s.program || bytes.HasPrefix(args, []byte("understudy-init")) {
			continue
		}
		f, err := os.Open(filepath.Join(dir, "smaps_rollup"))
		if err != nil {
			continue // it has ended
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			var n float64
			if line := lines.Text(); strings.HasPrefix(line, "Private_") {
				_, _ = fmt.Sscanf(line[strings.Index(line, ":")+1:], "%f", &n)
				kib += n
			}
		}
		_ = f.Close()
	}
	return kib / 1024 / float64(len(s.contenders))
}

// counts reports whether the store counts its writes: embedded Raft does not tell them.
func (s *site) counts() bool { return s.cluster != nil }

// writes is how many writes the store has had: etcd's revision, the length of Consul's log.
func (s *site) writes() float64 {
	if !s.counts() {
		return 0
	}
	if s.store == "consul" {
		var self struct {
			Stats struct {
				Raft struct {
					Last float64 `json:"last_log_index,string"`
				} `json:"raft"`
			}
		}
		lab.Must(s.t, json.Unmarshal(s.get("/v1/agent/self"), &self))
		return self.Stats.Raft.Last
	}
	const name = "etcd_debugging_mvcc_current_revision "
	for line := range strings.Lines(string(s.get("/metrics"))) {
		if number, is := strings.CutPrefix(line, name); is {
			v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			lab.Must(s.t, err)
			return v
		}
	}
	s.t.Fatalf("etcd has no metric %s", name)
	return 0
}

// get asks the store's first member.
func (s *site) get(path string) []byte {
	r, err := http.Get("http://" + s.cluster.Members[0].Addr() + path)
	lab.Must(s.t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	lab.Must(s.t, err)
	return text
}
