package asynclog

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestLines: JSON has durations as seconds, text as people write them, and neither has a blank
// in a key.
func TestLines(t *testing.T) {
	for _, asJSON := range []bool{true, false} {
		var out bytes.Buffer
		log := slog.New(Lines(&out, asJSON, slog.LevelInfo, nil)).With("witness_of", "a")
		library := "backoff time"
		log.Info("m", "after", 1500*time.Millisecond, library, 2*time.Second, "error", errors.New("no"))
		log.Debug("not this")
		if !asJSON {
			if want := "witness_of=a after=1.5s backoff_time=2s error=no\n"; !strings.HasSuffix(out.String(), want) {
				t.Errorf("%q, want %q", out.String(), want)
			}
			continue
		}
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line["after"] != 1.5 || line["backoff_time"] != 2.0 || line["witness_of"] != "a" || line["error"] != "no" {
			t.Error(line)
		}
	}
}
