package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/understudy-ha/understudy/backends"
)

// checkNumbers: the durations that a bound names are its numbers, too.
func checkNumbers(t *testing.T, b bound) {
	t.Helper()
	var said, numbers []string
	if b.Unit != "" { // it names counts
		for _, text := range regexp.MustCompile(`[0-9]+`).FindAllString(b.Bound, -1) {
			said = append(said, text+".000")
		}
	}
	for _, text := range regexp.MustCompile(`[0-9.]+m?s\b`).FindAllString(b.Bound, -1) {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, fmt.Sprintf("%.3f", d.Seconds()))
	}
	for _, n := range []*float64{b.Min, b.Max} {
		if n != nil {
			numbers = append(numbers, fmt.Sprintf("%.3f", *n))
		}
	}
	if !slices.Equal(slices.Compact(numbers), said) {
		t.Errorf("%s: %q, with the numbers %v", b.What, b.Bound, numbers)
	}
}

// TestPlan prints the bounds of the default settings, and of a short ttl, whose
// outages are shorter than an election.
func TestPlan(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want map[string]string
	}{
		"default": {nil, map[string]string{
			"active: told to stop": "at 7.85s", "active: process exits": "at 9.85s",
			"clean stop": "the work's stop + commits", "handoff": "the work's stop + commits",
			"crash": "tens of ms", "hang": "about 5s", "round trip between peers": "at most 500ms",
			"crash, no witness": "7.65s to 14.4s", "hang, no witness": "7.65s to 14.4s", "cut off": "7.65s to 14.4s",
			"store's outage ridden out": "4.1s", "store's election": "about 2.3s", "history per contender": "9874 to 34560 entries a day",
		}},
		"etcd": {[]string{"--backend", "etcd", "--hang-timeout", "0"}, map[string]string{
			"active: told to stop": "at 7.85s", "active: process exits": "at 9.85s",
			"clean stop": "the work's stop + commits", "handoff": "the work's stop + commits",
			"crash": "tens of ms", "hang": "7.65s to 11.4s", "round trip to the store": "at most 1.125s",
			"crash, no witness": "7.65s to 11.4s", "hang, no witness": "7.65s to 11.4s", "cut off": "7.65s to 11.4s",
			"store's outage ridden out": "4.1s", "store's election": "about 1.9s", "history per contender": "9874 to 34560 revisions a day",
			"least rights": "readwrite on the prefix understudy/",
		}},
		"a hang timeout beyond the promise": {[]string{"--backend", "etcd", "--hang-timeout", "1h"}, map[string]string{
			"active: told to stop": "at 7.85s", "active: process exits": "at 9.85s",
			"clean stop": "the work's stop + commits", "handoff": "the work's stop + commits",
			"crash": "tens of ms", "hang": "7.35s to 9.85s", "round trip to the store": "at most 1.125s",
			"crash, no witness": "7.65s to 11.4s", "hang, no witness": "7.65s to 11.4s", "cut off": "7.65s to 11.4s",
			"store's outage ridden out": "4.1s", "store's election": "about 1.9s", "history per contender": "9874 to 34560 revisions a day",
			"least rights": "readwrite on the prefix understudy/",
		}},
		"timing beyond the try": {[]string{"--ttl", "2s", "--raft-timing", "1s"}, map[string]string{
			"active: told to stop": "at 1.53s", "active: process exits": "at 1.93s",
			"clean stop": "the work's stop + commits", "handoff": "the work's stop + commits",
			"crash": "tens of ms", "hang": "about 1s", "round trip between peers": "at most 112.5ms",
			"crash, no witness": "1.57s to 5.32s", "hang, no witness": "1.57s to 5.32s", "cut off": "1.57s to 5.32s",
			"store's outage ridden out": "780ms", "store's election": "about 2.3s", "history per contender": "49371 to 172800 entries a day",
		}},
		"memory": {[]string{"--backend", "memory", "--ttl", "1s", "--grace", "100ms", "--skew", "50ms", "--fence", "poweroff"}, map[string]string{
			"active: told to stop": "at 850ms", "active: process exits": "at 950ms",
			"clean stop": "the work's stop + commits", "handoff": "the work's stop + commits",
			"crash, no witness": "800ms to 1.175s", "hang, no witness": "800ms to 1.175s", "cut off": "800ms to 1.175s",
			"lost host, with --fence": "375ms to 1.175s", "store's outage ridden out": "475ms", "history per contender": "98742 to 345600 changes a day",
		}},
	} {
		var out, errs bytes.Buffer
		var rows []bound
		if code := execute(t.Context(), append([]string{"plan", "-o", "json"}, test.args...), &out, &errs); code != 0 {
			t.Fatalf("%s: exit code %d\n%s", name, code, errs.String())
		}
		if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, r := range rows {
			got[r.What] = r.Bound
			checkNumbers(t, r)
			if r.Why == "" {
				t.Errorf("%s: %s has no reason", name, r.What)
			}
		}
		if !maps.Equal(got, test.want) {
			t.Errorf("%s: got %v\nwant %v", name, got, test.want)
		}
	}
}

// TestPlanOfWarm: with --warm, or a role of the file that is warm, plan says what that gives and costs, and what a handoff
// waits for; and without, nothing of it.
func TestPlanOfWarm(t *testing.T) {
	file := filepath.Join(t.TempDir(), "roles.yaml")
	must(t, os.WriteFile(file, []byte("roles:\n  - {name: a, command: [x]}\n  - {name: b, command: [x], warm: restart}\n"), 0o600))
	for args, handoff := range map[string]string{
		"":                                 "",
		"--warm=off":                       "",
		"--warm":                           "which must be ready, so that its command is told to work and is not started; the old command's stop is its IDLE=TOKEN, at most 30s",
		"--warm=restart --stop-timeout 5s": "which must be ready, so that its command is told to work and is not started; the old command's stop is its end, at most 5s",
		"--config " + file:                 "the old command's stop is its end, at most 30s",
	} {
		code, text := said(t, append([]string{"plan"}, strings.Fields(args)...)...)
		page := strings.Join(strings.Fields(text), " ")
		if code != 0 || !strings.Contains(page, handoff) || strings.Contains(page, "IDLE=TOKEN") != (args == "--warm") ||
			strings.Contains(page, "command's start, with --warm in none of these it runs in standby, too") != (handoff != "") {
			t.Errorf("%s: exit code %d\n%s", args, code, text)
		}
	}
}

// TestPlanFitsThePage: no line is wider than a page, with any store, and nothing is cut off.
func TestPlanFitsThePage(t *testing.T) {
	for _, store := range backends.Names() {
		for _, ttl := range []string{"100ms", "10s", "12h"} {
			var out, asJSON, errs bytes.Buffer
			args := []string{"plan", "--backend", store, "--ttl", ttl, "--fence", "poweroff", "--warm"}
			if code := execute(t.Context(), args, &out, &errs) + execute(t.Context(), append(args, "-o", "json"), &asJSON, &errs); code != 0 {
				t.Fatalf("%q: %s", args, &errs)
			}
			for line := range strings.Lines(out.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 100 {
					t.Errorf("%q: a line has %d columns:\n%s", args, n, line)
				}
			}
			var rows []bound
			must(t, json.Unmarshal(asJSON.Bytes(), &rows))
			page := strings.Join(strings.Fields(out.String()), " ")
			for _, r := range rows {
				if want := strings.Join(strings.Fields(r.What+" "+r.Bound+" "+r.Why), " "); !strings.Contains(page, want) {
					t.Errorf("%q: the page lacks %q:\n%s", args, want, &out)
				}
			}
		}
	}
}
