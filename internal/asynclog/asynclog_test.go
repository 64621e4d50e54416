package asynclog_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/asynclog"
)

// A gate is a handler that blocks, in all that it does, until it is opened.
type gate struct {
	slog.Handler
	open <-chan struct{}
}

func (g gate) Enabled(ctx context.Context, l slog.Level) bool {
	<-g.open
	return g.Handler.Enabled(ctx, l)
}

func (g gate) Handle(ctx context.Context, r slog.Record) error {
	<-g.open
	return g.Handler.Handle(ctx, r)
}

func (g gate) WithAttrs(attrs []slog.Attr) slog.Handler {
	<-g.open
	return gate{g.Handler.WithAttrs(attrs), g.open}
}

func (g gate) WithGroup(name string) slog.Handler {
	<-g.open
	return gate{g.Handler.WithGroup(name), g.open}
}

// TestNothingWaits for a handler that blocks. What was queued is written once it goes
// on, with the time at which it was logged, and one line counts what was dropped.
func TestNothingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		var to bytes.Buffer
		log := slog.New(asynclog.New(gate{slog.NewTextHandler(&to, nil), open}))
		began := time.Now()
		log.With("of", "with").WithGroup("g").Info("first", "k", "v")
		for n := range asynclog.Size + 99 {
			log.Info("line", "n", n)
		}
		asynclog.Flush(log, asynclog.ExitFlush)
		if took := time.Since(began); took != asynclog.ExitFlush {
			t.Errorf("flushing took %v", took)
		}
		time.Sleep(time.Hour)
		close(open)
		synctest.Wait()
		log.Info("after")
		asynclog.Flush(log, time.Second)
		lines := strings.Split(strings.TrimSpace(to.String()), "\n")
		// The goroutine waits with the first record in hand only if it came to that; it
		// waits in Enabled before, so exactly Size lines were kept.
		if len(lines) != asynclog.Size+2 {
			t.Fatalf("%d lines", len(lines))
		}
		first, said := lines[0], lines[len(lines)-2]
		if n := asynclog.Dropped(log); n != 100 {
			t.Errorf("%d lines count as dropped, want 100", n)
		}
		if at := began.Format("2006-01-02T15:04:05.000"); !strings.Contains(first, at) || !strings.Contains(first, "of=with g.k=v") {
			t.Errorf("first line %q, want its own time %s and attributes", first, at)
		}
		if !strings.Contains(said, "level=WARN") || !strings.Contains(said, "lines=100") || !strings.Contains(lines[len(lines)-1], "after") {
			t.Errorf("last lines %q", lines[len(lines)-2:])
		}
	})
}

// TestFullPipe logs to a pipe that nobody reads.
func TestFullPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fill(t, w)
	log := slog.New(asynclog.New(slog.NewTextHandler(w, nil)))
	done := make(chan struct{})
	go func() {
		defer close(done)
		log.Info("nobody reads this")
		asynclog.Flush(log, asynclog.ExitFlush)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("a full pipe holds up who logs")
	}
	if err := r.Close(); err != nil { // the write fails, and the goroutine ends
		t.Error(err)
	}
	asynclog.Flush(log, time.Minute)
	_ = w.Close()
}

// fill fills a pipe to the brim.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, size := range []int{4096, 1} {
		err := raw.Write(func(fd uintptr) bool {
			for {
				if _, err := syscall.Write(int(fd), make([]byte, size)); err != nil {
					return true
				}
				n += size
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatal("nothing went into the pipe")
	}
}

// TestLevel is the handler's own, also where it changes.
func TestLevel(t *testing.T) {
	var level slog.LevelVar
	level.Set(slog.LevelWarn)
	var to bytes.Buffer
	log := slog.New(asynclog.New(slog.NewTextHandler(&to, &slog.HandlerOptions{Level: &level})))
	if got := asynclog.Level(log); got != slog.LevelWarn || log.Enabled(t.Context(), slog.LevelInfo) {
		t.Errorf("level %v", got)
	}
	level.Set(slog.LevelDebug)
	log.Warn("one")
	asynclog.Flush(log, time.Minute)
	log.Debug("two")
	asynclog.Flush(log, time.Minute)
	if got := to.String(); !strings.Contains(got, "one") || !strings.Contains(got, "two") {
		t.Errorf("log: %q", got)
	}
	if again := asynclog.New(log.Handler()); slog.Handler(again) != log.Handler() {
		t.Error("a queue in front of a queue")
	}
}

// TestHandler is a slog.Handler as any other is.
func TestHandler(t *testing.T) {
	var to bytes.Buffer
	err := slogtest.TestHandler(waiting{asynclog.New(slog.NewTextHandler(&to, nil))}, func() []map[string]any { return parse(t, to.String()) })
	if err != nil {
		t.Error(err)
	}
}

// waiting waits after every record, so that what was written can be read.
type waiting struct{ slog.Handler }

func (w waiting) Handle(ctx context.Context, r slog.Record) error {
	err := w.Handler.Handle(ctx, r)
	asynclog.Flush(slog.New(w.Handler), time.Minute)
	return err
}

func (w waiting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return waiting{w.Handler.WithAttrs(attrs)}
}
func (w waiting) WithGroup(name string) slog.Handler { return waiting{w.Handler.WithGroup(name)} }

// parse reads a text handler's lines, whose groups are written with dots.
func parse(t *testing.T, text string) (all []map[string]any) {
	for line := range strings.Lines(text) {
		top := map[string]any{}
		for _, field := range strings.Fields(line) {
			key, value, ok := strings.Cut(field, "=")
			if !ok {
				t.Fatal(fmt.Errorf("line %q", line))
			}
			into, path := top, strings.Split(key, ".")
			for _, group := range path[:len(path)-1] {
				if into[group] == nil {
					into[group] = map[string]any{}
				}
				into = into[group].(map[string]any)
			}
			into[path[len(path)-1]] = value
		}
		all = append(all, top)
	}
	return all
}
