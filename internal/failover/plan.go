package failover

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// Check says why a fault cannot be measured at a ttl.
func (f Fault) Check(ttl time.Duration) error {
	if f.Name == "latency" && ttl < MinLatencyTTL {
		return fmt.Errorf("latency: at a ttl of %v no beat gets through where everything takes %v longer each way; write a ttl of at least %v", ttl, Latency, MinLatencyTTL)
	}
	return nil
}

// Expect is about how long the plan takes.
func (p Plan) Expect() (d time.Duration) {
	for _, b := range p.Backends {
		d += 5 * time.Second
		for _, f := range p.Faults {
			if (!f.inside || b.Inside) && f.Lacks(b) == "" {
				d += time.Duration(p.Runs) * f.Expect(p.TTL)
			}
		}
		if p.Cost {
			d += time.Duration(len(scales)) * (5*time.Second + max(costWindow, 2*p.TTL))
		}
	}
	var longest time.Duration
	for _, ttl := range p.Sweep {
		one := 20*time.Second + SweepRuns*(ttl+4*time.Second)
		if ttl >= longTTL {
			longest = max(longest, one)
		} else {
			d += time.Duration(len(p.Backends)) * one
		}
	}
	d += longest
	longest = 0
	for _, b := range p.Baselines {
		for _, name := range baselineFaults {
			f, runs := Faults[faultIndex(name)], time.Duration(min(BaselineRuns, p.Runs))
			one := 3*time.Second + runs*(f.Expect(b.TTL)+2*time.Second)
			switch {
			case !b.waits(f):
				d += one
			case b.TTL == 0: // it waits in vain
				longest = max(longest, one+runs*b.Patience)
			default:
				longest = max(longest, one)
			}
		}
	}
	return d + longest
}

// What a process takes, at most, of memory and of descriptors.
const (
	contenderMemory = 40 << 20
	serverMemory    = 250 << 20
	descriptors     = 120 // that this process holds for one contender: proxies and pipes
)

// CheckRoom says whether the machine has too little memory or too few descriptors.
func (p Plan) CheckRoom() error {
	processes, most := 0, contenders
	for _, b := range p.Backends {
		processes += b.members()
	}
	need := int64(processes) * serverMemory
	if p.Cost {
		most = max(most, scales[len(scales)-1].contenders)
	}
	for _, ttl := range p.Sweep {
		if ttl >= longTTL {
			most = max(most, contenders*len(p.Sweep))
		}
	}
	n := max(most*max(1, len(p.Backends)), contenders*len(baselineFaults)*len(p.Baselines))
	need += int64(n) * contenderMemory
	var errs []error
	free, _, _ := strings.Cut(field("/proc/meminfo", "MemAvailable"), " ")
	if kib, err := strconv.ParseInt(free, 10, 64); err == nil && kib<<10 < need {
		errs = append(errs, fmt.Errorf("memory: %d MiB are free, %d processes of this plan take about %d MiB; measure fewer stores, or without --sweep and --cost", kib>>10, processes+n, need>>20))
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < uint64(n*descriptors) {
		errs = append(errs, fmt.Errorf("descriptors: %d are allowed, this plan takes about %d; raise the limit (ulimit -n)", limit.Cur, n*descriptors))
	}
	return errors.Join(errs...)
}

// PrintSummary writes the table that a terminal shows.
func PrintSummary(to io.Writer, s Summary) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nFAULT\tSTORE\tTTL\tMEDIAN\tP99\tMAX\tDETECT\tGRANT\tACTIVATE\tX FLOOR\tRUNS\tLATE\tBROKEN\tOVERLAP\tSTALE")
	for _, c := range s.Cells {
		ratio := "–"
		if c.Ratio > 0 {
			ratio = fmt.Sprintf("%.1f", c.Ratio)
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%v\t%v\t%v\t%v\t%v\t%s\t%d\t%d\t%d\t%v\t%d\n", c.Fault, c.label(), c.TTL, c.Median, c.P99, c.Max,
			c.Detect, c.Grant, c.Activate, ratio, c.Runs, c.Late, c.Broken, c.Overlap, c.Stale)
	}
	for _, f := range s.Floors {
		fmt.Fprintf(w, "floor\t%s\tone commit %v (p99 %v), with its delivery %v (p99 %v)\n", f.Store, f.Commit, f.CommitP99, f.Delivery, f.DeliveryP99)
	}
	return w.Flush()
}
