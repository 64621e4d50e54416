package machine

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	soak = flag.Duration("soak", 0, "how long TestWalks walks, and TestMutants looks for each mistake whose trace shows nothing")
	seed = flag.Uint64("seed", 1, "of the first walk")
)

// walks are the bounds that are walked.
var walks = []string{
	"n=2 m=3 depth=150",
	"n=2 m=2 depth=150 janitor",
	"n=3 m=3 depth=200 janitor",
	"n=2 m=4 depth=200 ttl=6 grace=2 beat=2 janitor",
	"n=2 m=3 depth=150 drift janitor",
	"n=3 m=4 depth=250 nocrash norelease",
	"n=3 m=3 depth=200 nocrash janitor ttl=6 skew=2 grace=1 beat=2 drift",
	"n=2 m=3 depth=150 noghost janitor",
	"n=2 m=3 depth=150 pauses",
	"n=3 m=3 depth=250 ttl=8 grace=2 beat=2 fences",
	"n=2 m=3 depth=200 ttl=8 grace=2 beat=2 fences noghost janitor drift",
}

// TestWalks walks at random for as long as -soak says, by default a few seconds.
func TestWalks(t *testing.T) {
	budget := 6 * time.Second
	switch {
	case *soak > 0:
		budget = *soak
	case testing.Short():
		budget = 2 * time.Second
	}
	for i, text := range walks {
		t.Run(strings.ReplaceAll(text, " ", ","), func(t *testing.T) {
			w := newWalker(newOptions(text), *seed+uint64(i)<<32)
			start := time.Now()
			found := w.run(start.Add(budget / time.Duration(len(walks))))
			t.Logf("seed %d: %d walks, %d transitions (%.0f/s), %d fair continuations", *seed, w.walks, w.steps,
				float64(w.steps)/time.Since(start).Seconds(), w.fairs)
			if found != nil {
				t.Fatalf("%s", found.report())
			}
		})
	}
}

// A walker walks worlds at random.
type walker struct {
	options
	rng                 *rand.Rand
	walks, steps, fairs int
	fairEvery           int
}

func newWalker(o options, seed uint64) *walker {
	return &walker{options: o, rng: rand.New(rand.NewPCG(seed, 7)), fairEvery: 400}
}

// A trace is a walk, and what was wrong at its end.
type trace struct {
	options
	labels []label
	fault  string
}

// run walks until a time, or until something is wrong.
func (k *walker) run(until time.Time) *trace {
	for time.Now().Before(until) {
		if t := k.walk(); t != nil {
			return shrink(t)
		}
	}
	return nil
}

// walk is one walk. Each leans another way: some things are rare in it, some
// processes slow.
func (k *walker) walk() *trace {
	k.walks++
	w := newWorld(k.options)
	t := &trace{options: k.options}
	lean, slow := map[string]int{}, [3]int{}
	for verb, weight := range weights {
		lean[verb] = weight
	}
	for _, verb := range append(append([]string{"tick"}, plainVerbs...), messageVerbs...) {
		lean[verb] = 1 + weights[verb]*[]int{1, 4, 4, 16}[k.rng.IntN(4)]/4
	}
	for i := range slow {
		slow[i] = []int{1, 4, 4, 8}[k.rng.IntN(4)]
	}
	var can []label
	var odds []int
	for range k.depth {
		if k.rng.IntN(40) == 0 {
			slow[k.rng.IntN(3)] = []int{0, 1, 4, 8}[k.rng.IntN(4)]
		}
		can = w.labels(can[:0])
		odds = odds[:0]
		total := 0
		for _, l := range can {
			o := lean[l.verb] * 4
			if l.verb != "tick" {
				o = lean[l.verb] * slow[l.p]
			}
			odds, total = append(odds, o), total+o
		}
		r, i := k.rng.IntN(total), 0
		for r >= odds[i] {
			r -= odds[i]
			i++
		}
		t.labels = append(t.labels, can[i])
		k.steps++
		if w.do(can[i]); w.fault != "" {
			t.fault = w.fault
			return t
		}
		if k.fairEvery > 0 && k.rng.IntN(k.fairEvery) == 0 {
			k.fairs++
			if t.fault = w.allFair(); t.fault != "" {
				return t
			}
		}
	}
	return nil
}

// allFair goes on fairly in every way there is.
func (w *world) allFair() string {
	if fault := w.fair(everybody, false); fault != "" {
		return fault
	}
	for i := range w.procs {
		for _, dead := range []bool{false, true} {
			if fault := w.fair(i, dead); fault != "" {
				return fault
			}
		}
	}
	return ""
}

// replay does the labels that are possible, one after the other, and returns
// what is wrong then. A trace about liveness is judged by its end.
func (t *trace) replay(log func(string, ...any)) string {
	w := newWorld(t.options)
	w.log = log
	for _, l := range t.labels {
		if !w.possible(l) {
			w.note("    (%s)", l)
			continue
		}
		w.note("    %s", l)
		if w.do(l); w.fault != "" {
			return w.fault
		}
	}
	return w.allFair()
}

// shrink removes labels for as long as the same kind of fault remains.
func shrink(t *trace) *trace {
	kind, _, _ := strings.Cut(t.fault, ":")
	best := *t
	for size := len(best.labels) / 2; size > 0; {
		smaller := false
		for from := 0; from+size <= len(best.labels); {
			try := best
			try.labels = append(append([]label(nil), best.labels[:from]...), best.labels[from+size:]...)
			if try.fault = try.replay(nil); strings.HasPrefix(try.fault, kind+":") {
				best, smaller = try, true
			} else {
				from += size
			}
		}
		if !smaller || size > 1 {
			size /= 2
		}
	}
	return &best
}

// report says what is wrong and how it comes about.
func (t *trace) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\noptions: %+v\ntrace:\n", t.fault, t.options)
	for _, l := range t.labels {
		fmt.Fprintln(&b, l)
	}
	fmt.Fprintln(&b, "in words:")
	t.replay(func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) })
	return b.String()
}

// newOptions reads options such as "n=2 m=3 janitor".
func newOptions(text string) options {
	o := options{n: 2, m: 3, depth: 120, ttl: 4, skew: 1, grace: 1, beat: 1}
	counts := map[string]*int{"n": &o.n, "m": &o.m, "depth": &o.depth}
	times := map[string]*time.Duration{"ttl": &o.ttl, "skew": &o.skew, "grace": &o.grace, "beat": &o.beat}
	switches := map[string]*bool{
		"janitor": &o.janitor, "drift": &o.drift, "nocrash": &o.nocrash, "norelease": &o.norelease,
		"nohandoff": &o.nohandoff, "noghost": &o.noghost, "pauses": &o.pauses, "fences": &o.fences,
	}
	for _, f := range strings.Fields(text) {
		key, value, _ := strings.Cut(f, "=")
		n, _ := strconv.Atoi(value)
		switch {
		case counts[key] != nil:
			*counts[key] = n
		case times[key] != nil:
			*times[key] = time.Duration(n)
		case switches[key] != nil:
			*switches[key] = true
		case key == "only":
			o.only = value
		default:
			panic("no such option: " + f)
		}
	}
	return o
}
