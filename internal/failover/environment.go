package failover

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// An Environment is environment.json: what a figure may depend on.
type Environment struct {
	Began    time.Time         `json:"began"`
	Took     string            `json:"took"`
	Complete bool              `json:"complete"` // false: the runs were ended before the last
	Error    string            `json:"error,omitempty"`
	Command  []string          `json:"command"`
	Seed     uint64            `json:"seed"`
	Settings Settings          `json:"settings"`
	Versions map[string]string `json:"versions"` // of understudy, Go and the servers
	Kernel   string            `json:"kernel"`
	OS       string            `json:"os"`
	Arch     string            `json:"arch"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Memory   string            `json:"memory"`
	Load     string            `json:"load"` // of the machine when it began: others may work on it
}

// Busy says that the machine had more to do than it has cores when the bench began; "": it
// had not.
func (e Environment) Busy() string {
	load := overload(e.Load, e.Cores)
	if load == "" {
		return ""
	}
	return fmt.Sprintf("The machine was busy: its load was %s when this began, and the times are those of a busy machine", load)
}

// Overload is the machine's load where that is more than it has cores, as in "3.10 on 2 cores"; "": it is not.
func Overload() string { return overload(firstLine("/proc/loadavg"), runtime.NumCPU()) }

func overload(loads string, cores int) string {
	first, _, _ := strings.Cut(loads, " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil || load <= float64(cores) {
		return ""
	}
	return fmt.Sprintf("%s on %d cores", first, cores)
}

// Few says that there were too few runs for a figure to show; "": there were enough.
func (e Environment) Few() string {
	if e.Settings.Runs >= FewRuns {
		return ""
	}
	return fmt.Sprintf("A first look, no figure to show: runs of each fault: %d. Ask for 30 with --runs 30", e.Settings.Runs)
}

// Settings are those of the plan.
type Settings struct {
	Stores     []string `json:"stores"`
	Faults     []string `json:"faults"`
	Runs       int      `json:"runs"`
	TTL        Millis   `json:"ttl_ms"`
	Sweep      []Millis `json:"sweep_ttl_ms"`
	Contenders int      `json:"contenders"`
	Members    int      `json:"store_members"` // of a store that has several here
	Network    string   `json:"network"`
	LeftOut    []string `json:"left_out"` // what was not measured, and why
}

// Describe looks at the machine.
func Describe(ctx context.Context, p Plan, command []string) Environment {
	e := Environment{
		Began: time.Now().UTC(), Command: command, Seed: p.Seed, Versions: map[string]string{"go": runtime.Version()},
		OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), Load: firstLine("/proc/loadavg"),
		CPU: field("/proc/cpuinfo", "model name"), Memory: field("/proc/meminfo", "MemTotal"),
		Settings: Settings{
			Runs: p.Runs, TTL: Millis(p.TTL), Contenders: contenders, Members: members,
			Network: "loopback, through a proxy per contender and server that can be cut", LeftOut: p.LeftOut,
		},
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		e.Versions[Understudy] = info.Main.Version
	}
	for _, ttl := range p.Sweep {
		e.Settings.Sweep = append(e.Settings.Sweep, Millis(ttl))
	}
	for _, f := range p.Faults {
		e.Settings.Faults = append(e.Settings.Faults, f.Name)
	}
	all := p.Backends
	for _, b := range p.Backends {
		e.Settings.Stores = append(e.Settings.Stores, b.Name)
	}
	for _, b := range p.Baselines {
		all = append(all[:len(all):len(all)], b.Backend)
	}
	for _, b := range all {
		if path, err := servers.Path(b.Name); len(b.Given) > 0 {
			e.Versions[b.Name] = "the user's own servers"
		} else if err == nil && !b.Inside && e.Versions[b.Name] == "" {
			e.Versions[b.Name] = version(ctx, path)
		}
	}
	return e
}

// version is what a program says of itself, in its first line.
func version(ctx context.Context, path string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "unknown: " + filepath.Base(path) + ": " + err.Error()
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return first
}

func firstLine(path string) string {
	text, _ := os.ReadFile(path)
	first, _, _ := strings.Cut(string(text), "\n")
	return first
}

// field is the value of the first line "NAME : VALUE".
func field(path, name string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
