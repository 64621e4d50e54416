package coordinator

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestLossLeavesTheGrace, and not the whole promise, to work that does not return.
func TestLossLeavesTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLease(Config{TTL: time.Hour, Grace: 2 * time.Second, Now: Virtual})
		deadline := Virtual().Plus(time.Hour)
		l.deadline.Store(&deadline)
		ctx, cancel := context.WithCancelCause(t.Context())
		exit := make(chan struct{})
		go l.guard(nil, cancel, func() { close(exit) })
		time.Sleep(time.Minute)
		if ctx.Err() != nil || l.left() != time.Hour-time.Minute {
			t.Fatalf("before the loss: %v, and %v left", ctx.Err(), l.left())
		}
		l.lose(Virtual())
		lost := time.Now()
		if l.left() != 0 {
			t.Errorf("after the loss the work may act for %v", l.left())
		}
		<-exit
		if took := time.Since(lost); took != 2*time.Second {
			t.Errorf("the process exits %v after the loss, want the grace", took)
		}
		cancel(nil)
	})
}

// TestDeadlineLeavesTheGrace: the work is told the grace before the deadline, and the process
// exits at the deadline.
func TestDeadlineLeavesTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLease(Config{TTL: time.Hour, Grace: 2 * time.Second, Now: Virtual})
		start := time.Now()
		deadline := Virtual().Plus(time.Minute)
		l.deadline.Store(&deadline)
		ctx, cancel := context.WithCancelCause(t.Context())
		exit := make(chan struct{})
		go l.guard(nil, cancel, func() { close(exit) })
		<-ctx.Done()
		if told := time.Since(start); told != 58*time.Second || !errors.Is(context.Cause(ctx), ErrDeadline) {
			t.Errorf("told after %v: %v", told, context.Cause(ctx))
		}
		<-exit
		if took := time.Since(start); took != time.Minute {
			t.Errorf("the process exits after %v, want a minute", took)
		}
	})
}
