package raft

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger hands what Raft logs to slog.
func raftLogger(l *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "raft", Level: hclog.Debug, JSONFormat: true, Output: hclogLines{l}, DisableTime: true,
	})
}

// hclogLines reads the JSON lines of an hclog.Logger.
type hclogLines struct{ to *slog.Logger }

func (w hclogLines) Write(line []byte) (int, error) {
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		w.to.Warn(string(line))
		return len(line), nil
	}
	// Raft's Info is about its own elections: detail, to who runs a coordinator.
	level := map[any]slog.Level{"warn": slog.LevelWarn, "error": slog.LevelError}[fields["@level"]]
	if level == slog.LevelInfo {
		level = slog.LevelDebug
	}
	message := fmt.Sprint("raft: ", fields["@message"])
	var attrs []slog.Attr
	for k, v := range fields {
		if k[0] != '@' {
			attrs = append(attrs, slog.Any(k, v))
		}
	}
	w.to.LogAttrs(context.Background(), level, message, attrs...)
	return len(line), nil
}

// boltLogger hands what bbolt logs to slog.
type boltLogger struct{ to *slog.Logger }

func (b boltLogger) Debug(v ...any)            { b.to.Debug(fmt.Sprint(v...)) }
func (b boltLogger) Debugf(f string, v ...any) { b.to.Debug(fmt.Sprintf(f, v...)) }
func (b boltLogger) Info(v ...any)             { b.to.Debug(fmt.Sprint(v...)) }
func (b boltLogger) Infof(f string, v ...any)  { b.to.Debug(fmt.Sprintf(f, v...)) }
func (b boltLogger) Warning(v ...any)          { b.to.Warn(fmt.Sprint(v...)) }
func (b boltLogger) Warningf(f string, v ...any) {
	b.to.Warn(fmt.Sprintf(f, v...))
}
func (b boltLogger) Error(v ...any)            { b.to.Error(fmt.Sprint(v...)) }
func (b boltLogger) Errorf(f string, v ...any) { b.to.Error(fmt.Sprintf(f, v...)) }
func (b boltLogger) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (b boltLogger) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (b boltLogger) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (b boltLogger) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
