package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// relayed are the lines of a file that are logged of what prints them.
func relayed(t *testing.T, text string) (lines []string, dropped int) {
	t.Helper()
	file, log := filepath.Join(t.TempDir(), "printed"), new(strings.Builder)
	must(t, os.WriteFile(file, []byte(text), 0o600))
	out, err := os.Open(file)
	must(t, err)
	relayFrom(out, slog.New(slog.NewTextHandler(log, nil)), "it says", nil)
	for entry := range strings.Lines(log.String()) {
		var n int
		_, after, _ := strings.Cut(entry, "line=")
		line, after, some := strings.Cut(strings.TrimSpace(after), " dropped=")
		if _, _ = fmt.Sscan(after, &n); some && n == 0 {
			t.Errorf("nothing was left out, and it says %s", entry)
		}
		lines, dropped = append(lines, line), dropped+n
	}
	return lines, dropped
}

// TestEndOfAScript: of what a script prints the last lines are logged, too, as they say why it failed; and how many
// were left out.
func TestEndOfAScript(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 20 {
		fmt.Fprintf(&text, "%d\n", i)
	}
	for _, test := range []struct {
		text    string
		lines   string
		dropped int
	}{
		{text.String() + "no power", `0 1 2 3 17 18 19 "no power"`, 13},
		{"a\nb\n", "a b", 0},
		{"1\n2\n3\n4\n5\n6\n", "1 2 3 4 5 6", 0},
		{strings.Repeat("x", 3000) + "\nend\n", strings.Repeat("x", longestLine) + " end", 0},
		{"1\n2\n3\n4\n5\n" + strings.Repeat("x", 3000) + "\nend", "1 2 3 4 5 " + strings.Repeat("x", longestLine) + " end", 0},
	} {
		if lines, dropped := relayed(t, test.text); strings.Join(lines, " ") != test.lines || dropped != test.dropped {
			t.Errorf("of %d bytes: %q, %d dropped, want %q, %d", len(test.text), lines, dropped, test.lines, test.dropped)
		}
	}
	if lines, _ := relayed(t, strings.Repeat("same\n", 9)); !slices.Equal(lines, []string{"same"}) {
		t.Errorf("%q", lines)
	}
}
