package failover

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// madeUp is a result whose figures are known.
func madeUp(runs int) Result {
	draw := rand.New(rand.NewPCG(1, 1))
	ms := func(base float64) Moment { return Moment((base + draw.Float64()) * float64(time.Millisecond)) }
	r := Result{Floors: map[string]Floor{}}
	for i, store := range []string{"raft", "etcd", "consul"} {
		for run := range runs {
			for _, f := range Faults {
				if f.inside && store != "raft" {
					continue
				}
				base := float64(5 * (i + 1))
				if f.silence {
					base += 500
				}
				s := Sample{
					Who: Understudy, Store: store, Fault: f.Name, TTL: 500 * time.Millisecond, Run: run + 1, Phase: float64(run) / float64(runs),
					Outcome: Moved, Old: "c0", New: "c1", Led: f.leads == always, OldEnd: Moment(-time.Millisecond), Told: ms(base), Stall: Unknown,
				}
				s.Granted = s.Told + ms(2)
				s.Started = s.Granted + ms(0)
				s.Success = s.Started + ms(0)
				if f.servers {
					s.Outcome, s.Stall = Stayed, s.Started
					s.OldEnd, s.Told, s.Granted, s.Started, s.Success, s.New = Unknown, Unknown, Unknown, Unknown, Unknown, ""
				}
				r.Samples = append(r.Samples, s)
			}
		}
		late := Sample{
			Who: Understudy, Store: store, Fault: "hang", TTL: 500 * time.Millisecond, Run: runs + 1, Outcome: Late, Old: "c0",
			OldEnd: 0, Told: Unknown, Granted: Unknown, Started: Unknown, Success: Unknown, Stall: Unknown, Note: `nobody, "at all"`,
		}
		long := late
		long.Fault, long.TTL, long.Outcome, long.Note = "crash", 2*time.Second, Moved, ""
		long.Told, long.Granted, long.Started, long.Success = ms(2000), ms(2002), ms(2004), ms(2006)
		short := long
		short.Fault, short.Told, short.Granted, short.Started, short.Success = "crash-witness", ms(8), ms(10), ms(12), ms(14)
		r.Samples = append(r.Samples, late, long, short)
		r.Floors[store] = Floor{Commit: []time.Duration{time.Millisecond}, Delivery: []time.Duration{2 * time.Millisecond}}
		r.Costs = append(r.Costs, Cost{Store: store, Process: "standby", Roles: 1, Contenders: 3, TTL: 500 * time.Millisecond, Calls: 8, CPU: 0.01, Resident: 30 << 20})
	}
	other := r.Samples[0]
	other.Who, other.Fault, other.TTL = "raft leadership, default 1s", "crash", time.Second
	none := other
	none.Who, none.Store, none.TTL = "Postgres advisory lock", "postgres", 0
	both := other
	both.Who, both.Store, both.Fault, both.TTL, both.Overlap, both.Stale = "Consul api.Lock, default 15s", "consul", "partition", 15*time.Second, 500*time.Millisecond, 100
	r.Samples = append(r.Samples, other, none, both)
	return r
}

// madeUpEnvironment is one that no machine changes.
func madeUpEnvironment() Environment {
	return Environment{
		Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: "1m0s", Complete: true, Command: []string{"understudy", "bench"}, Seed: 7,
		Settings: Settings{
			Stores: []string{"raft", "etcd", "consul"}, Faults: []string{"clean"}, Runs: 3, TTL: Millis(500 * time.Millisecond),
			Sweep: []Millis{Millis(2 * time.Second)}, Contenders: contenders, Members: members, Network: "loopback", LeftOut: []string{"latency is left out"},
		},
		Versions: map[string]string{"go": "go1.26.0"}, Kernel: "6.0", OS: "linux", Arch: "amd64", CPU: "some", Cores: 2, Memory: "1 kB", Load: "0",
	}
}

// TestFilesAreAsDocumented compares what is written with files that are kept: their
// schema changes only where that is meant.
func TestFilesAreAsDocumented(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, madeUpEnvironment(), madeUp(3)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{RunsFile, SummaryFile, EnvironmentFile} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not as %s; if that is meant, change docs/bench.md too and run with -update", name, golden)
		}
	}
	documented(t)
}

// documented expects every column and every key in the documentation.
func documented(t *testing.T) {
	text, err := os.ReadFile("../../docs/bench.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Columns {
		if !strings.Contains(string(text), "| `"+c.Name+"` | "+c.Meaning+" |") {
			t.Errorf("docs/bench.md lacks: | `%s` | %s |", c.Name, c.Meaning)
		}
	}
	for _, name := range []string{SummaryFile, EnvironmentFile} {
		golden, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(golden, &value); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys(value) {
			if !strings.Contains(string(text), "`"+key+"`") {
				t.Errorf("docs/bench.md does not say what `%s` is in %s", key, name)
			}
		}
	}
}

// keys are all of a JSON value, but the names of programs.
func keys(value any) (all []string) {
	switch v := value.(type) {
	case map[string]any:
		for k, one := range v {
			all = append(all, k)
			if k != "versions" {
				all = append(all, keys(one)...)
			}
		}
	case []any:
		for _, one := range v {
			all = append(all, keys(one)...)
		}
	}
	return all
}

func TestRunsAreReadAsWritten(t *testing.T) {
	want := madeUp(2).Samples
	var text bytes.Buffer
	if err := WriteRuns(&text, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadRuns(&text)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v: %d runs, want %d", err, len(got), len(want))
	}
	if _, err := ReadRuns(strings.NewReader("a,b\n")); err == nil {
		t.Error("another file was read as runs")
	}
}

func TestEveryFigureSaysInWordsWhatItShows(t *testing.T) {
	figures, err := Draw(Summarize(madeUp(6)), 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cumulative-crash", "box-crash", "box-store-leader", "parts-quick", "parts-silent", "ttl", "timeline"} {
		if !slices.ContainsFunc(figures, func(f Figure) bool { return f.Name == name }) {
			t.Errorf("no figure %q", name)
		}
	}
	for _, f := range figures {
		text := string(f.SVG)
		if !strings.Contains(text, "<title id=\""+f.Name+"-t\">"+f.Title) || !strings.Contains(text, "<desc id=\""+f.Name+"-d\">raft") && f.Name != "ttl" && !strings.Contains(text, "raft") {
			t.Errorf("%s: its words are not in it", f.Name)
		}
		if !strings.Contains(text, "var(--a)") || strings.Contains(text, "#0") && strings.Contains(text, "stroke:#0") {
			t.Errorf("%s: is not drawn in our colours", f.Name)
		}
	}
}

func TestQuantilesAreMeasuredValues(t *testing.T) {
	sorted := []time.Duration{10, 20, 30, 40, Endless}
	for q, want := range map[float64]time.Duration{0: 10, 0.2: 10, 0.21: 20, 0.5: 30, 0.8: 40, 0.99: Endless, 1: Endless} {
		if got := quantile(sorted, q); got != want {
			t.Errorf("quantile %v of %v is %v, want %v", q, sorted, got, want)
		}
	}
	for _, c := range []struct {
		sorted []time.Duration
		want   time.Duration
	}{{sorted, 30}, {sorted[:4], 25}, {sorted[:1], 10}, {[]time.Duration{1, Endless}, Endless}} {
		if got := medianOf(c.sorted); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.sorted, got, c.want)
		}
	}
	low, high := medianInterval(sorted)
	if low > 30 || high < 30 || low == high {
		t.Errorf("the median 30 lies from %v to %v", low, high)
	}
	if low, high := medianInterval([]time.Duration{5, 5, 5}); low != 5 || high != 5 {
		t.Errorf("the median of what is all 5 lies from %v to %v", low, high)
	}
}

// TestLittleIsCalledLittle: from few runs there is no interval and no verdict, and a busy
// machine is told of at the top.
func TestLittleIsCalledLittle(t *testing.T) {
	for runs, few := range map[int]bool{FewRuns - 1: true, FewRuns: false} {
		r := madeUp(runs)
		for _, c := range Summarize(r).Cells {
			if c.Fault == "clean" && c.HasInterval() == few {
				t.Errorf("%d runs: an interval: %t", c.Runs, !few)
			}
		}
		for _, c := range Compare(r.Samples, r.Samples) {
			if said := strings.HasPrefix(c.Verdict(), "too few"); c.Cell.Fault == "clean" && said != few {
				t.Errorf("%d runs: %s", c.Cell.Runs, c.Verdict())
			}
		}
	}
	e := madeUpEnvironment()
	e.Load = "3.10 1.00 1.00 1/100 1"
	var page bytes.Buffer
	if err := sheet.Execute(&page, newPage(e, Summary{}, Result{}, nil)); err != nil {
		t.Fatal(err)
	}
	top, _, _ := strings.Cut(page.String(), "</header>")
	for _, want := range []string{"its load was 3.10 on 2 cores", "A first look, no figure to show: runs of each fault: 3", "latency is left out"} {
		if !strings.Contains(top, want) {
			t.Errorf("the report does not say %q at the top", want)
		}
	}
}

// TestTheWitnessComesFirst: its rows are the first, and the first figure is a crash with it
// against the ttl, with what is usual beside it, be it at a ttl of its own or at none.
func TestTheWitnessComesFirst(t *testing.T) {
	s, e := Summarize(madeUp(3)), madeUpEnvironment()
	figures, err := Draw(s, time.Duration(e.Settings.TTL))
	if err != nil {
		t.Fatal(err)
	}
	p := newPage(e, s, madeUp(3), figures)
	for i, g := range p.Groups {
		if g.Fault.witness != (i < 3) {
			t.Errorf("row %d is of %s", i+1, g.Fault.Name)
		}
	}
	if f := p.Figures[0]; f.Name != "ttl" {
		t.Errorf("the first figure is %s", f.Name)
	}
	for _, want := range []string{"raft, crash-witness at 500 ms", "raft, crash-witness at 2 s", "raft, crash at 2 s", "raft leadership, default 1s: ", "Postgres advisory lock, at any ttl: "} {
		if !strings.Contains(p.Figures[0].Alt, want) {
			t.Errorf("the first figure lacks %q: %s", want, p.Figures[0].Alt)
		}
	}
}

// TestWhatOthersDoIsJudged: overlaps and stale writes stand in a baseline's row, and are no
// fault of ours.
func TestWhatOthersDoIsJudged(t *testing.T) {
	r := madeUp(3)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	var page bytes.Buffer
	if err := sheet.Execute(&page, newPage(madeUpEnvironment(), Summarize(r), r, nil)); err != nil {
		t.Fatal(err)
	}
	_, row, _ := strings.Cut(page.String(), `<th scope="row">Consul api.Lock, default 15s</th><td>partition</td>`)
	row, _, _ = strings.Cut(row, "</tr>")
	if !strings.HasSuffix(row, `<td>0</td><td class="bad-cell">500 ms</td><td class="bad-cell">100</td>`) {
		t.Errorf("its row ends with %s", row)
	}
}

func TestPhasesAreSpreadEvenly(t *testing.T) {
	all := spread(rand.New(rand.NewPCG(1, 1)), 10)
	slices.Sort(all)
	for i, p := range all {
		if int(p*10) != i {
			t.Errorf("part %d of 10 has %v", i, p)
		}
	}
}

func TestCompareKnowsNoise(t *testing.T) {
	before := madeUp(30).Samples
	after := slices.Clone(before)
	for i := range after {
		if after[i].Store == "etcd" && after[i].Fault == "clean" {
			after[i].Started += Moment(5 * time.Millisecond)
		}
		if after[i].Store == "consul" && after[i].Outcome == Late {
			after[i].Outcome, after[i].Started = Moved, Moment(520*time.Millisecond)
		}
	}
	for _, c := range Compare(before, after) {
		want := "within noise"
		switch {
		case c.Cell.Runs < FewRuns:
			want = "too few runs to say, less than 8"
		case c.Cell.Store == "etcd" && c.Cell.Fault == "clean":
			want = "WORSE"
		case c.Cell.Store == "consul" && c.Cell.Fault == "hang":
			want = "better: 1 fewer late"
		}
		if got := c.Verdict(); got != want {
			t.Errorf("%s on %s: %s (%v to %v), want %s", c.Cell.Fault, c.Cell.Store, got, c.Low, c.High, want)
		}
	}
}
