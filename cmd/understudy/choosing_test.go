package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestChoosing: docs/choosing.md says of each ttl what plan says of it, and of the stores what was
// measured and stands on the pages of the measurements.
func TestChoosing(t *testing.T) {
	t.Parallel()
	read := func(names ...string) (all string) {
		for _, name := range names {
			text, err := os.ReadFile("../../" + name)
			must(t, err)
			all += string(text)
		}
		return all
	}
	stores, ttls, _ := strings.Cut(read("docs/choosing.md"), "## The ttl")
	measured := read("README.md", "docs/bench.md", "docs/etcd.md", "docs/consul.md", "cmd/understudy/plan_test.go")
	figures := regexp.MustCompile(`[0-9.]+ (/|to) [0-9.]+|[0-9.]+ %|[0-9]\.[0-9] s`).FindAllString(stores, -1)
	if len(figures) < 12 {
		t.Errorf("the page has the figures %q: it is not read as it stands", figures)
	}
	for _, figure := range figures {
		if !strings.Contains(measured, figure) && !strings.Contains(measured, strings.ReplaceAll(figure, " s", "s")) {
			t.Errorf("docs/choosing.md has %q, which no page of measurements has", figure)
		}
	}
	rows := 0
	for line := range strings.Lines(ttls) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if len(cells) != 5 || !regexp.MustCompile(`^\d+s$`).MatchString(cells[0]) {
			continue
		}
		rows++
		var out, errs strings.Builder
		if code := execute(t.Context(), []string{"plan", "--backend", "etcd", "--ttl", cells[0]}, &out, &errs); code != 0 {
			t.Fatalf("exit code %d\n%s", code, &errs)
		}
		for i, says := range []string{"cut off", "store's outage ridden out", "round trip to the store *at most", `history per contender *\d+ to`} {
			want := says + " *" + regexp.QuoteMeta(cells[i+1]) + "( |$)"
			if !regexp.MustCompile("(?m)^" + want).MatchString(out.String()) {
				t.Errorf("docs/choosing.md says of a ttl of %s %s, and plan says\n%s", cells[0], want, &out)
			}
		}
	}
	if rows != 5 {
		t.Errorf("%d ttls were read, want 5", rows)
	}
}
