package raft

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestDeadGroupSaysHowLong: who gave no answer, and within how long, comes before what each peer says.
func TestDeadGroupSaysHowLong(t *testing.T) {
	t.Parallel()
	l, err := Dial(Config{Peers: []Peer{{"a", "127.0.0.1:9"}, {"b", "127.0.0.1:7"}, {"c", "127.0.0.1:11"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for what, call := range map[string]func(context.Context) error{
		"raise": func(ctx context.Context) error { return l.Raise(ctx, 1) },
		"watch": func(ctx context.Context) error {
			for _, err := range l.Watch(ctx, "r") {
				return err
			}
			return nil
		},
		"history": func(ctx context.Context) error { _, err := l.(lock.Operator).History(ctx, "r"); return err },
	} {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := call(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), what+": the group gave no answer within ") || !strings.Contains(err.Error(), "\npeer a=127.0.0.1:9: ") {
			t.Fatalf("%s: %v", what, err)
		}
		_, after, _ := strings.Cut(err.Error(), "within ")
		said, _, _ := strings.Cut(after, "\n")
		if long, err := time.ParseDuration(said); err != nil || long < 200*time.Millisecond || long > time.Since(begun)+time.Millisecond { // the call begins a little later than its time
			t.Errorf("%s: it says %q (%v)", what, said, err)
		}
	}
}
