// Package asynclog keeps a log that stalls from stalling its writers.
//
// A log ends in a pipe, a terminal or a handler that somebody else wrote, and any of
// them may block for ever. Nothing that guards, beats, takes over or ends may wait for
// that, so it logs through a [Handler].
package asynclog

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Size is the most records that wait. More are dropped and counted.
const Size = 1024

// ExitFlush is how long a process that ends waits for its log.
const ExitFlush = 200 * time.Millisecond

// A Handler hands records on to another handler through a bounded queue. None of its methods but
// Flush and Level blocks, or calls the other handler: a goroutine of its own does, which runs
// only while records wait. A record keeps the time at which it was made. When the queue is full
// the record is dropped, and once there is room again one line says how many were. It is safe for
// concurrent use.
type Handler struct {
	queue  *queue
	parent *Handler                        // nil: the first
	derive func(slog.Handler) slog.Handler // makes to of the parent's
	to     slog.Handler                    // what this one stands for; the first's is set, the others' is made by the queue's goroutine
}

var _ slog.Handler = (*Handler)(nil)

// New returns a Handler in front of to; to itself if it already is one.
func New(to slog.Handler) *Handler {
	if h, ok := to.(*Handler); ok {
		return h
	}
	h := &Handler{queue: &queue{}, to: to}
	h.queue.first = h
	h.queue.least.Store(int64(everything))
	h.queue.put(nil) // asks for the level
	return h
}

// Logger returns a logger that writes to l's handler through a Handler.
func Logger(l *slog.Logger) *slog.Logger { return slog.New(New(l.Handler())) }

// Flush waits until every record that was handed over has been written, for at most d.
func Flush(l *slog.Logger, d time.Duration) {
	if h, ok := l.Handler().(*Handler); ok {
		h.queue.wait(d)
	}
}

// Dropped counts the records that l had no room for, since it began.
func Dropped(l *slog.Logger) uint64 {
	if h, ok := l.Handler().(*Handler); ok {
		return h.queue.lost.Load()
	}
	return 0
}

// Under returns the handler behind h; h itself if it is not a Handler.
func Under(h slog.Handler) slog.Handler {
	if q, ok := h.(*Handler); ok {
		return q.queue.first.to
	}
	return h
}

// Level returns the lowest of slog's levels that l logs, and slog.LevelInfo if its handler does
// not say so within ExitFlush.
func Level(l *slog.Logger) slog.Level {
	q := New(l.Handler()).queue
	q.wait(ExitFlush)
	if least := slog.Level(q.least.Load()); least > everything {
		return least
	}
	return slog.LevelInfo
}

// Enabled reports whether the other handler wanted the level when it was last asked.
// Before it has answered, everything is wanted.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.Level(h.queue.least.Load())
}

// Handle queues the record. It returns nil: the other handler's error comes too late.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	h.queue.put(&line{ctx: context.WithoutCancel(ctx), to: h, record: r.Clone()})
	return nil
}

// WithAttrs is slog.Handler's.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{queue: h.queue, parent: h, derive: func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) }}
}

// WithGroup is slog.Handler's.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{queue: h.queue, parent: h, derive: func(to slog.Handler) slog.Handler { return to.WithGroup(name) }}
}

// handler returns what h stands for. Only the queue's goroutine calls it.
func (h *Handler) handler() slog.Handler {
	if h.to == nil {
		h.to = h.derive(h.parent.handler())
	}
	return h.to
}

// A line is a record on its way to a handler.
type line struct {
	ctx    context.Context
	to     *Handler
	record slog.Record
}

// A queue is what all handlers that derive from one share.
type queue struct {
	first *Handler
	least atomic.Int64  // the lowest level that is wanted
	lost  atomic.Uint64 // how many records were dropped, since it began

	mu      sync.Mutex
	lines   []line
	dropped int
	idle    chan struct{} // closed when the goroutine has nothing left; nil: none runs
}

// everything is lower than any level that is in use.
const everything slog.Level = -1 << 20

// levels are those that a handler is asked about.
var levels = []slog.Level{slog.LevelDebug - 4, slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelError + 4}

// put queues a line, if there is one, and makes sure that the goroutine runs.
func (q *queue) put(l *line) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case l == nil:
	case len(q.lines) >= Size:
		q.dropped++
		q.lost.Add(1)
	default:
		q.lines = append(q.lines, *l)
	}
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.run()
	}
}

// run writes what is queued until nothing is.
func (q *queue) run() {
	for {
		q.ask()
		q.mu.Lock()
		lines, dropped := q.lines, q.dropped
		if len(lines) == 0 && dropped == 0 {
			close(q.idle)
			q.idle = nil
			q.mu.Unlock()
			return
		}
		if len(lines) > 0 {
			q.lines = lines[1:]
		} else {
			q.dropped = 0
		}
		q.mu.Unlock()
		if len(lines) > 0 {
			lines[0].write()
			continue
		}
		lost := slog.NewRecord(time.Now(), slog.LevelWarn, "the log stalled, lines were dropped", 0)
		lost.AddAttrs(slog.Int("lines", dropped))
		line{context.Background(), q.first, lost}.write()
	}
}

// ask learns which levels the handler wants. It may have changed its mind.
func (q *queue) ask() {
	for _, level := range levels {
		if q.first.to.Enabled(context.Background(), level) {
			q.least.Store(int64(level))
			return
		}
	}
	q.least.Store(int64(levels[len(levels)-1]) + 1)
}

// write gives the line to its handler. There is nobody to report its error to.
func (l line) write() {
	if to := l.to.handler(); to.Enabled(l.ctx, l.record.Level) {
		_ = to.Handle(l.ctx, l.record)
	}
}

// wait waits until nothing is queued, for at most d.
func (q *queue) wait(d time.Duration) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	}
}
