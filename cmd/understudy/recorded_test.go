//go:build haproxy && linux

package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/internal/lab/servers"
)

// recordedFile is what TestRecordFaults writes, and promtool reads.
const recordedFile = "../../deploy/monitoring/alerts_recorded_test.yaml"

// scrapes are that far apart.
const scrapeEvery = 5 * time.Second

// A film is what a Prometheus would have scraped of two contenders while something was done.
type film struct {
	*shown
	name    string
	proxies map[string]*servers.Proxy
	began   time.Time
	done    []moment
	series  map[string][]string // by name and labels, a value for each scrape; "_": there was none
}

// A moment is when something was done, and which alerts are expected to fire right before the next
// moment: none, but these.
type moment struct {
	at, after time.Duration // after: how long it went on
	alerts    []string      // as YAML
	what      string
}

// TestRecordFaults records what real contenders show while one is killed, is cut off from the store,
// while none may be active, and while two claim the role; and has promtool say on that which alerts
// fire. It writes what `make test-monitoring` tests the rules with from then on.
func TestRecordFaults(t *testing.T) {
	faults := []struct {
		name string
		play func(f *film)
	}{
		{"the active is killed, and another has taken over before anybody looks", (*film).killed},
		{"the active is cut off from the store: another takes over, and the store is silent to the one", (*film).cutOff},
		{"nobody is healthy, so nobody is active", (*film).nobody},
		{"one was started with another prefix: two claim the role", (*film).two},
		{"every contender is killed", (*film).gone},
	}
	films := make([]*film, len(faults))
	if !t.Run("film", func(t *testing.T) {
		for i, one := range faults {
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				films[i] = newFilm(t, one.name)
				one.play(films[i])
			})
		}
	}) {
		return
	}
	var out strings.Builder
	fmt.Fprintf(&out, "# What was scraped of real contenders on etcd, ttl 2s, while this was done to them. Made by `make record-monitoring`.\nrule_files: [alerts.yaml]\nevaluation_interval: %v\ntests:\n", scrapeEvery)
	for _, f := range films {
		f.write(&out)
	}
	must(t, os.WriteFile(recordedFile, []byte(out.String()), 0o644))
	said, err := exec.Command("promtool", "test", "rules", recordedFile).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func newFilm(t *testing.T, name string) *film {
	s := newShown(t, onEtcd)
	s.ids = s.ids[:2]
	f := &film{shown: s, name: name, proxies: map[string]*servers.Proxy{}, series: map[string][]string{}}
	for _, id := range s.ids {
		p, err := servers.StartProxy(s.cluster.Members[0].Addr())
		must(t, err)
		t.Cleanup(p.Close)
		f.proxies[id] = p
	}
	return f
}

// begin starts both contenders, each on a way of its own to the store.
func (f *film) begin(flags ...string) {
	for _, id := range f.ids {
		f.restart(id, flags...)
	}
}

// restart starts one of them.
func (f *film) restart(id string, flags ...string) {
	direct := f.flags
	f.flags = []string{"--backend", onEtcd, "--etcd-endpoints", f.proxies[id].Addr()}
	f.start(id, append([]string{"--admin-listen", f.admin[id]}, flags...)...)
	f.flags = direct
}

// roll scrapes for a while after something was done.
func (f *film) roll(what string, d time.Duration, alerts ...string) {
	if f.began.IsZero() {
		f.began = time.Now()
	}
	n := f.scrapes()
	f.done = append(f.done, moment{at: time.Duration(n) * scrapeEvery, after: d, alerts: alerts, what: what})
	for end := n + int(d/scrapeEvery); n < end; n++ {
		time.Sleep(time.Until(f.began.Add(time.Duration(n) * scrapeEvery))) // until the next scrape is due
		for _, id := range f.ids {
			f.scrape(id, n)
		}
	}
}

// expect says which alert fires at the end of what was rolled last.
func (f *film) expect(alert string) {
	last := &f.done[len(f.done)-1]
	last.alerts = append(last.alerts, alert)
}

// scrapes is how many there were so far.
func (f *film) scrapes() int {
	if f.began.IsZero() {
		return 0
	}
	n := 0
	for _, values := range f.series {
		n = max(n, len(values))
	}
	return n
}

// scrape keeps what a contender shows of what the alerts look at. What it showed before, and shows no
// more, is stale, as Prometheus marks it.
func (f *film) scrape(id string, n int) {
	_, text := f.ask(id, "/metrics")
	seen := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		i := strings.LastIndex(line, " ")
		if i < 0 || !looked(line) {
			continue
		}
		name, value := line[:i], line[i+1:]
		at := fmt.Sprintf(`instance="%s:7070",job="u"}`, id)
		if labels, ok := strings.CutSuffix(name, "}"); ok {
			name = labels + "," + at
		} else {
			name += "{" + at
		}
		seen[name] = f.rebased(name, value)
	}
	for name := range f.series {
		if _, ok := seen[name]; !ok && strings.Contains(name, `instance="`+id+`:`) {
			seen[name] = "_"
			if last := f.series[name]; last[len(last)-1] != "_" && last[len(last)-1] != "stale" {
				seen[name] = "stale"
			}
		}
	}
	for name, value := range seen {
		for len(f.series[name]) < n {
			f.series[name] = append(f.series[name], "_")
		}
		f.series[name] = append(f.series[name], value)
	}
}

// looked reports whether an alert looks at a series.
func looked(name string) bool {
	for _, begins := range []string{
		"understudy_role_active{", "understudy_role_ready{", `understudy_role_state{role="r",state="standby"`,
		`understudy_transitions_total{cause="granted"`, "understudy_store_last_success_timestamp_seconds", "understudy_store_errors_total{", "understudy_witness",
	} {
		if strings.HasPrefix(name, begins) {
			return true
		}
	}
	return false
}

// rebased is a value as promtool's clock has it, which begins with 0.
func (f *film) rebased(name, value string) string {
	at, err := strconv.ParseFloat(value, 64)
	if err != nil || !strings.Contains(name, "timestamp") || at == 0 {
		return value
	}
	return strconv.FormatFloat(at-float64(f.began.UnixMilli())/1000, 'f', 1, 64)
}

// alerts are all that there are, so that those which do not fire are named too.
func (f *film) alerts() (names []string) {
	text, err := os.ReadFile("../../deploy/monitoring/alerts.yaml")
	must(f.t, err)
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "- alert: "); ok {
			names = append(names, name)
		}
	}
	return names
}

// write writes the film as a test of promtool's.
func (f *film) write(out *strings.Builder) {
	fmt.Fprintf(out, "\n  - name: %q\n    interval: %v\n    input_series:\n", f.name, scrapeEvery)
	for _, name := range slices.Sorted(maps.Keys(f.series)) {
		fmt.Fprintf(out, "      - {series: '%s', values: '%s'}\n", name, shorter(f.series[name]))
	}
	fmt.Fprintln(out, "    alert_rule_test:")
	for _, m := range f.done {
		fmt.Fprintf(out, "      # %v: %s\n", m.at, m.what)
		for _, name := range f.alerts() {
			fmt.Fprintf(out, "      - eval_time: %v\n        alertname: %s\n", m.at+m.after-scrapeEvery, name)
			if i := slices.IndexFunc(m.alerts, func(one string) bool { return strings.HasPrefix(one, name+": ") }); i >= 0 {
				fmt.Fprintf(out, "        exp_alerts: [{%s}]\n", strings.TrimPrefix(m.alerts[i], name+": "))
			}
		}
	}
}

// shorter writes values that follow each other alike as promtool has them.
func shorter(values []string) string {
	var parts []string
	for i := 0; i < len(values); {
		n := i
		for n < len(values) && values[n] == values[i] {
			n++
		}
		switch one, times := values[i], n-i; {
		case times == 1 || one == "stale":
			parts = append(parts, one)
		case one == "_":
			parts = append(parts, fmt.Sprintf("_x%d", times))
		default:
			parts = append(parts, fmt.Sprintf("%sx%d", one, times-1)) // promtool's x counts what follows the first
		}
		i = n
	}
	return strings.Join(parts, " ")
}

// The alerts that the faults are expected to raise, as promtool wants them.
const (
	nobodyActive = `UnderstudyNobodyActive: exp_labels: {role: r, severity: critical}, exp_annotations: {summary: "Nobody is active in role r", description: "All of its contenders that are scraped say so. understudy why --role r says how it ended and why nobody takes over; understudy status who is in line."}`
	twoActive    = `UnderstudyTwoActive: exp_labels: {role: r, severity: critical}, exp_annotations: {summary: "2 processes say that they are active in role r", description: "Compare understudy_role_token: only the greater one counts, and only where the resource checks it. Stop the other process."}`
	noContender  = `UnderstudyNoContender: exp_labels: {role: r, severity: critical}, exp_annotations: {summary: "No contender of role r is scraped any more"}`
)

// killed: the active gets SIGKILL, and is started again.
func (f *film) killed() {
	f.begin()
	f.becomesOne()
	f.roll("both are well", 30*time.Second)
	now := f.settled()
	f.kill(now.id, syscall.SIGKILL)
	f.roll(now.id+", the active, gets SIGKILL", 90*time.Second)
	f.restart(now.id)
	f.roll(now.id+" is started again", 60*time.Second)
}

// cutOff: nothing passes between the active and the store for three minutes.
func (f *film) cutOff() {
	f.begin()
	f.becomesOne()
	f.roll("both are well", 30*time.Second)
	id := f.settled().id
	f.proxies[id].Hold(true, true)
	f.roll(id+", the active, is cut off", 60*time.Second)
	f.roll(id+" still is", 120*time.Second)
	f.expect(f.silent(id))
	f.proxies[id].Reset()
	f.proxies[id].Hold(false, false)
	f.roll(id+" reaches the store again", 60*time.Second)
}

// silent is the alert that the store has not answered a contender, with how long that is as it was
// recorded.
func (f *film) silent(id string) string {
	values := f.series[`understudy_store_last_success_timestamp_seconds{instance="`+id+`:7070",job="u"}`]
	last, err := strconv.ParseFloat(values[len(values)-1], 64)
	must(f.t, err)
	silent := time.Duration(len(values)-1)*scrapeEvery - time.Duration(last*float64(time.Second))
	return fmt.Sprintf(`UnderstudyStoreSilent: exp_labels: {instance: "%s:7070", job: u, severity: warning}, exp_annotations: {summary: "The store has not answered %s:7070 for %dm %ds"}`,
		id, id, int(silent.Minutes()), int(silent.Seconds())%60)
}

// nobody: the health check of both fails.
func (f *film) nobody() {
	f.begin("--health", "test ! -e "+f.dir+"/ill", "--health-interval", "200ms")
	f.becomesOne()
	f.roll("both are well", 30*time.Second)
	must(f.t, os.WriteFile(f.dir+"/ill", nil, 0o600))
	f.roll("the health check of both fails", 90*time.Second, nobodyActive)
	must(f.t, os.Remove(f.dir+"/ill"))
	f.roll("both are healthy again", 60*time.Second)
}

// two: each is in a group of its own.
func (f *film) two() {
	f.restart("a")
	f.restart("b", "--etcd-prefix", "other/")
	f.becomes("a", asActive)
	f.becomes("b", asActive)
	f.roll("both work", 90*time.Second, twoActive)
	f.kill("b", syscall.SIGTERM)
	f.restart("b")
	f.roll("b is started again, where a is", 60*time.Second)
}

// gone: both get SIGKILL.
func (f *film) gone() {
	f.begin()
	f.becomesOne()
	f.roll("both are well", 30*time.Second)
	for _, id := range f.ids {
		f.kill(id, syscall.SIGKILL)
	}
	f.roll("both get SIGKILL", 90*time.Second, noContender)
}
