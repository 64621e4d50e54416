package raft

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// raftLogger returns the logger that the Raft library writes to. Whatever it says is Debug:
// in an outage it has a line for every election and every heartbeat. What a person must
// know, a node says in words of its own.
func raftLogger(l *slog.Logger) hclog.Logger {
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard})
	logger.RegisterSink(&sink{l.With("component", "raft")})
	return logger
}

// A sink turns the lines of the Raft library into records.
type sink struct{ log *slog.Logger }

func (s *sink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	if level < hclog.Debug || !s.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	fields := []any{"says", level.String()}
	for i := 0; i+1 < len(args); i += 2 {
		key := strings.ReplaceAll(fmt.Sprint(args[i]), " ", "_")
		if slices.Contains([]string{slog.TimeKey, slog.LevelKey, slog.MessageKey, "id", "component", "says"}, key) { // the line has these
			key = "raft_" + key
		}
		fields = append(fields, key, words(args[i+1]))
	}
	if len(args)%2 == 1 { // a value without a key
		fields = append(fields, "more", words(args[len(args)-1]))
	}
	s.log.Debug(msg, fields...)
}

// words are what a value of the library says of itself. A duration stays one: how it is written is the handler's affair.
func words(value any) any {
	switch v := value.(type) {
	case time.Duration:
		return v
	case hclog.Format:
		if len(v) > 0 {
			return fmt.Sprintf(fmt.Sprint(v[0]), v[1:]...)
		}
	}
	return fmt.Sprint(value)
}

// boltLogger is the logger that bbolt writes to. It formats nothing that is not wanted:
// bbolt has lines for every transaction.
type boltLogger struct{ log *slog.Logger }

func (b boltLogger) say(words func() string) {
	if b.log.Enabled(context.Background(), slog.LevelDebug) {
		b.log.Debug(words(), "component", "bbolt")
	}
}

func (b boltLogger) print(v []any) { b.say(func() string { return fmt.Sprint(v...) }) }

func (b boltLogger) printf(format string, v []any) {
	b.say(func() string { return fmt.Sprintf(format, v...) })
}

func (boltLogger) Debug(...any)                       {}
func (boltLogger) Debugf(string, ...any)              {}
func (boltLogger) Info(...any)                        {}
func (boltLogger) Infof(string, ...any)               {}
func (b boltLogger) Warning(v ...any)                 { b.print(v) }
func (b boltLogger) Warningf(format string, v ...any) { b.printf(format, v) }
func (b boltLogger) Error(v ...any)                   { b.print(v) }
func (b boltLogger) Errorf(format string, v ...any)   { b.printf(format, v) }
func (b boltLogger) Fatal(v ...any)                   { b.Panic(v...) }
func (b boltLogger) Fatalf(format string, v ...any)   { b.Panicf(format, v...) }
func (boltLogger) Panic(v ...any)                     { panic(fmt.Sprint(v...)) }
func (boltLogger) Panicf(format string, v ...any)     { panic(fmt.Sprintf(format, v...)) }

// again is the least time between two lines about the same thing: what others do, or an
// outage does, may not fill a log.
const again = time.Minute

// Sayings are what was said last about each thing. The things are the node's own, and few;
// what is said about them may come from strangers.
type sayings struct {
	mu   sync.Mutex
	last map[string]saying
}

type saying struct {
	text string
	at   time.Time
	over bool
}

// due reports whether nothing was said about a thing for a while, and notes that it is now.
func (s *sayings) due(thing string) bool { return s.news(thing, time.Now().String()) }

// news reports whether text is not what was said last about a thing, and that was a while
// ago; it notes that it is now.
func (s *sayings) news(thing, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, before := s.last[thing]
	if before && (last.text == text && !last.over || time.Since(last.at) < again) {
		return false
	}
	if s.last == nil {
		s.last = map[string]saying{}
	}
	s.last[thing] = saying{text: text, at: time.Now()}
	return true
}

// over reports whether a thing was said that is over now, and notes that it is.
func (s *sayings) over(thing string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, before := s.last[thing]
	if !before || last.over {
		return false
	}
	last.over = true
	s.last[thing] = last
	return true
}
