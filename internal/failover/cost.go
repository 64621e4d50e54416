package failover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Cost is what one kind of process costs while nothing happens.
type Cost struct {
	Store      string
	Process    string // active, standby, witness, or server; Unsettled: nothing was measured
	Roles      int    // that each contender bids for
	Contenders int
	TTL        time.Duration
	Calls      float64 // to the store, per second; of a contender
	CPU        float64 // of a core
	Resident   int64   // bytes
}

// Unsettled is a cost that could not be measured: not every role had an active in time.
const Unsettled = "unsettled"

// settleTime is that time.
const settleTime = time.Minute

// costWindow is how long a cost is measured, or two ttls where that is more.
const costWindow = 10 * time.Second

// scales are what a cost is measured at.
var scales = []struct{ roles, contenders int }{{1, 3}, {10, 3}, {100, 3}, {1000, 3}, {1, 2}, {1, 5}, {1, 20}}

// mostVoters is the greatest group of embedded Raft that is measured: nobody should
// run a greater one.
const mostVoters = 5

func (b *bench) costs(ctx context.Context) error {
	if !b.plan.Cost {
		return nil
	}
	for _, scale := range scales {
		for _, s := range b.sites[:len(b.plan.Backends)] {
			if s.backend.Inside && scale.contenders > mostVoters {
				continue
			}
			b.say(fmt.Sprintf("cost: %s, roles %d, contenders %d", s.backend.Name, scale.roles, scale.contenders))
			c, err := b.cost(ctx, s, scale.roles, scale.contenders)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				b.say(fmt.Sprintf("not measured: %v", err))
				c = []Cost{{Store: s.backend.Name, Process: Unsettled, Roles: scale.roles, Contenders: scale.contenders, TTL: b.plan.TTL}}
			}
			b.result.Costs = append(b.result.Costs, c...)
		}
	}
	return nil
}

func (b *bench) cost(ctx context.Context, s *site, roles, contenders int) (all []Cost, err error) {
	st, err := newStage(ctx, s, fmt.Sprintf("cost-%d-%d", roles, contenders), timesOf(b.plan.TTL), IDs(contenders))
	if err != nil {
		return nil, err
	}
	defer st.close()
	st.roles, st.witness = roles, true
	if err := st.settle(ctx); err != nil {
		return nil, err
	}
	before, err := st.readings(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(max(costWindow, 2*b.plan.TTL)):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	after, err := st.readings(ctx)
	if err != nil {
		return nil, err
	}
	return costsOf(before, after, Cost{Store: s.backend.Name, Roles: roles, Contenders: contenders, TTL: b.plan.TTL}), nil
}

// settle starts everything and waits until every role has an active.
func (s *stage) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTime+2*s.config.TTL)
	defer cancel()
	for _, id := range s.ids {
		if err := s.start(id); err != nil {
			return err
		}
	}
	return s.until(ctx, "an active of every role", func() bool {
		active := 0
		for _, t := range s.terms {
			if t.end == 0 {
				active++
			}
		}
		return active >= s.roles && len(s.inLine) == len(s.ids)
	})
}

// A reading is what a process has used so far.
type reading struct {
	process  string
	calls    int64
	cpu      time.Duration
	resident int64
	at       time.Time
}

func (s *stage) readings(ctx context.Context) (all []reading, err error) {
	for _, id := range s.ids {
		s.mu.Lock()
		n, kind := len(s.calls[id]), "standby"
		for _, t := range s.terms {
			if t.id == id && t.end == 0 {
				kind = "active"
			}
		}
		s.mu.Unlock()
		s.signal(id, syscall.SIGUSR1)
		if err := s.until(ctx, "a count of calls", func() bool { return len(s.calls[id]) > n }); err != nil {
			return nil, err
		}
		s.mu.Lock()
		calls := s.calls[id][n]
		s.mu.Unlock()
		r, err := read(s.procs[id].PID())
		if err != nil {
			return nil, err
		}
		r.process, r.calls = kind, calls
		all = append(all, r)
		for _, child := range children(s.procs[id].PID()) {
			r, err := read(child)
			if err != nil {
				return nil, err
			}
			r.process = "witness"
			all = append(all, r)
		}
	}
	if s.site.cluster == nil {
		return all, nil
	}
	for _, m := range s.site.cluster.Members {
		r, err := read(m.PID())
		if err != nil {
			return nil, err
		}
		r.process = "server"
		all = append(all, r)
	}
	return all, nil
}

// children are those of a process: of a contender its witness.
func children(pid int) (all []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // a good pattern
	for _, path := range lists {
		text, _ := os.ReadFile(path) // of a thread that ended: none
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// costsOf is the mean over the processes of a kind.
func costsOf(before, after []reading, like Cost) (all []Cost) {
	if len(before) != len(after) { // a process came or went: nothing can be said
		return nil
	}
	for _, kind := range []string{"active", "standby", "witness", "server"} {
		c, n := like, 0
		c.Process = kind
		for i, r := range after {
			if r.process != kind {
				continue
			}
			n++
			d := r.at.Sub(before[i].at)
			c.Calls += float64(r.calls-before[i].calls) / d.Seconds()
			c.CPU += float64(r.cpu-before[i].cpu) / float64(d)
			c.Resident += r.resident
		}
		if n > 0 {
			c.Calls, c.CPU, c.Resident = c.Calls/float64(n), c.CPU/float64(n), c.Resident/int64(n)
			all = append(all, c)
		}
	}
	return all
}

// read reads what a process has used.
func read(pid int) (r reading, err error) {
	r.cpu, r.resident, err = Used(pid)
	r.at = time.Now()
	return r, err
}

// Used is how long the threads of a process have run, and its resident memory in bytes.
func Used(pid int) (cpu time.Duration, resident int64, err error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that ended
		}
		fields := strings.Fields(string(text))
		if err != nil || len(fields) == 0 {
			return 0, 0, fmt.Errorf("read %s: %w", path, err)
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		cpu += time.Duration(n)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, 0, fmt.Errorf("process %d: %q says no memory", pid, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return cpu, pages * int64(os.Getpagesize()), err
}
