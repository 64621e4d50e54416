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

	"github.com/hashicorp/go-hclog"
)

// raftLogger returns the logger that the Raft library writes to.
func raftLogger(l *slog.Logger) hclog.Logger {
	level := hclog.Info
	if l.Enabled(context.Background(), slog.LevelDebug) {
		level = hclog.Debug
	}
	return hclog.New(&hclog.LoggerOptions{
		Level: level, JSONFormat: true, DisableTime: true,
		Output: lines{l.With("component", "raft")},
	})
}

// lines turns hclog's JSON lines into records.
type lines struct{ log *slog.Logger }

func (w lines) Write(line []byte) (int, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(line, &fields); err != nil {
		w.log.Info(string(bytes.TrimSpace(line)))
		return len(line), nil
	}
	level := slog.LevelInfo
	switch fields["@level"] {
	case "trace", "debug":
		level = slog.LevelDebug
	case "warn":
		level = slog.LevelWarn
	case "error":
		level = slog.LevelError
	}
	message, _ := fields["@message"].(string)
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
// wanted: bbolt has a line for every transaction.
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

func (b boltLogger) Debug(v ...any)                   { b.print(slog.LevelDebug, v) }
func (b boltLogger) Debugf(format string, v ...any)   { b.printf(slog.LevelDebug, format, v) }
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
