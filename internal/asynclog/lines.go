package asynclog

import (
	"io"
	"log/slog"
	"strings"
)

// Lines returns a handler that writes lines from level on: text for people, or JSON for programs,
// with durations as numbers of seconds. Keys have no blanks, even those from libraries. explain
// words errors; nil: unchanged.
func Lines(w io.Writer, json bool, level slog.Leveler, explain func(error) error) slog.Handler {
	how := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		a.Key = strings.ReplaceAll(a.Key, " ", "_")
		if json && a.Value.Kind() == slog.KindDuration {
			a.Value = slog.Float64Value(a.Value.Duration().Seconds())
		}
		if a.Value.Kind() == slog.KindAny && explain != nil {
			if err, ok := a.Value.Any().(error); ok {
				a.Value = slog.AnyValue(explain(err))
			}
		}
		return a
	}}
	if json {
		return slog.NewJSONHandler(w, how)
	}
	return slog.NewTextHandler(w, how)
}
