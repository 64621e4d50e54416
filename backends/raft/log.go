package raft

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/understudy-ha/understudy/internal/asynclog"
)

// raftLogger returns the logger that the Raft library writes to.
func raftLogger(l *slog.Logger) hclog.Logger {
	level := hclog.Info
	if asynclog.Level(l) <= slog.LevelDebug {
		level = hclog.Debug
	}
	return hclog.New(&hclog.LoggerOptions{
		Level: level, JSONFormat: true, DisableTime: true,
		Output: &lines{log: l.With("component", "raft"), last: map[string]time.Time{}},
	})
}

// lines turns hclog's JSON lines into records. What Raft calls an error, such as
// a peer that is down, is an everyday event for a group, and becomes a warning;
// it says so at every heartbeat, which becomes one line in five seconds.
type lines struct {
	log  *slog.Logger
	mu   sync.Mutex
	last map[string]time.Time // when a warning was last written
}

// repeated reports whether the warning was written a short while ago.
func (w *lines) repeated(warning string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.last[warning]) < 5*time.Second {
		return true
	}
	if len(w.last) > 256 {
		clear(w.last)
	}
	w.last[warning] = time.Now()
	return false
}

func (w *lines) Write(line []byte) (int, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(line, &fields); err != nil {
		w.log.Info(string(bytes.TrimSpace(line)))
		return len(line), nil
	}
	level := slog.LevelInfo
	switch fields["@level"] {
	case "trace", "debug":
		level = slog.LevelDebug
	case "warn", "error":
		level = slog.LevelWarn
	}
	message, _ := fields["@message"].(string)
	if level == slog.LevelWarn && w.repeated(fmt.Sprint(message, fields["peer"], fields["target"])) {
		return len(line), nil
	}
	var args []any
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if !strings.HasPrefix(key, "@") {
			args = append(args, key, fields[key])
		}
	}
	w.log.Log(context.Background(), level, message, args...)
	return len(line), nil
}

// boltLogger is the logger that bbolt writes to. It formats nothing that is not
// wanted: bbolt has lines for every transaction, which are less than Debug.
type boltLogger struct{ log *slog.Logger }

func (b boltLogger) print(level slog.Level, v []any) {
	if b.log.Enabled(context.Background(), level) {
		b.log.Log(context.Background(), level, fmt.Sprint(v...), "component", "bbolt")
	}
}

func (b boltLogger) printf(level slog.Level, format string, v []any) {
	if b.log.Enabled(context.Background(), level) {
		b.log.Log(context.Background(), level, fmt.Sprintf(format, v...), "component", "bbolt")
	}
}

func (b boltLogger) Debug(v ...any)                   { b.print(slog.LevelDebug-4, v) }
func (b boltLogger) Debugf(format string, v ...any)   { b.printf(slog.LevelDebug-4, format, v) }
func (b boltLogger) Info(v ...any)                    { b.print(slog.LevelInfo, v) }
func (b boltLogger) Infof(format string, v ...any)    { b.printf(slog.LevelInfo, format, v) }
func (b boltLogger) Warning(v ...any)                 { b.print(slog.LevelWarn, v) }
func (b boltLogger) Warningf(format string, v ...any) { b.printf(slog.LevelWarn, format, v) }
func (b boltLogger) Error(v ...any)                   { b.print(slog.LevelError, v) }
func (b boltLogger) Errorf(format string, v ...any)   { b.printf(slog.LevelError, format, v) }
func (b boltLogger) Fatal(v ...any)                   { b.Panic(v...) }
func (b boltLogger) Fatalf(format string, v ...any)   { b.Panicf(format, v...) }

func (b boltLogger) Panic(v ...any) {
	b.print(slog.LevelError, v)
	panic(fmt.Sprint(v...))
}

func (b boltLogger) Panicf(format string, v ...any) {
	b.printf(slog.LevelError, format, v)
	panic(fmt.Sprintf(format, v...))
}
