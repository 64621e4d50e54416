package object_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/understudy-ha/understudy/backends/kv/kvmem"
	"github.com/understudy-ha/understudy/backends/object/objectmem"
	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

var errNoConnection = errors.New("no connection is left")

// refusing has calls of these names fail at once, and counts them, until it is ended.
func (p process) refusing(names ...string) (count *atomic.Int32, end func()) {
	count = &atomic.Int32{}
	p.client.On(func(c objectmem.Call) (f objectmem.Fault) {
		for _, name := range names {
			if c.Name == name {
				count.Add(1)
				f.Fault = kvmem.Fail(errNoConnection)
			}
		}
		return f
	})
	return count, func() { p.client.On(nil) }
}

// watch follows a role until the test ends.
func (p process) watch(t *testing.T) {
	go func() {
		for range p.Watch(t.Context(), "r") { //nolint:revive // to watch is all
		}
	}()
}

// TestStoreThatRefuses: a store that refuses every call at once is asked rarely, however often it is
// called; and the first beat after it is back is acknowledged soon.
func TestStoreThatRefuses(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		p := open(t, objectmem.New())
		s := p.register(ctx, "a")
		p.watch(t)
		time.Sleep(time.Second) // of the bubble
		count, back := p.refusing("Get", "Put", "Start", "Changed")
		var beats sync.WaitGroup
		defer beats.Wait()
		for range 100 { // as a coordinator beats
			beats.Go(func() {
				short, cancel := context.WithTimeout(ctx, 1250*time.Millisecond)
				defer cancel()
				_ = s.Beat(short) // the last ones get their answer
			})
			time.Sleep(100 * time.Millisecond) // of the bubble
		}
		if n := count.Load(); n < 10 || n > 40 {
			t.Errorf("%d calls within 10 s, want 10 to 40", n)
		}
		back()
		short, cancel := context.WithTimeout(ctx, 625*time.Millisecond) // half of a try
		defer cancel()
		if err := s.Beat(short); err != nil {
			t.Errorf("the first beat after the store was back: %v", err)
		}
	})
}

// TestStoreThatTellsNothing: where no connection can be had that hears of changes, the store is not
// asked for one again and again, and is read meanwhile.
func TestStoreThatTellsNothing(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		server := objectmem.New()
		p, other := open(t, server), open(t, server)
		p.register(ctx, "a")
		p.watch(t)
		count, _ := p.refusing("Changed")
		time.Sleep(10 * time.Second) // of the bubble
		if n := count.Load(); n < 10 || n > 40 {
			t.Errorf("%d calls within 10 s, want 10 to 40", n)
		}
		other.acquire(ctx, other.register(ctx, "b"), "r")
		for st, err := range p.Watch(ctx, "r") {
			if err != nil {
				t.Fatal(err)
			}
			if st.Term.Holder.ID == "b" {
				break
			}
		}
	})
}

// TestRefusedWords: a call whose time is over while it waits for its turn says why it did.
func TestRefusedWords(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		p := open(t, objectmem.New())
		s := p.register(ctx, "a")
		p.watch(t)
		p.refusing("Get", "Put", "Changed")
		for i := range 20 {
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			err := s.Beat(short)
			cancel()
			if text := fmt.Sprint(err); lock.OutcomeOf(err) != lock.Unknown || !strings.Contains(text, "no connection is left") {
				t.Errorf("beat %d: %v", i, err)
			}
		}
	})
}

// TestStoreThatTakesNoWrites, as where its disk is full, still tells a role's history, and why nothing can be written.
func TestStoreThatTakesNoWrites(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		p := open(t, objectmem.New())
		s := p.register(ctx, "a")
		p.watch(t)
		operator := p.Locker.(lock.Operator)
		lab.Must(t, operator.Record(ctx, "r", lock.Event{At: time.Now(), By: "a", Kind: lock.Began, Token: 7, Cause: lock.CauseFirst}))
		p.refusing("Put")
		for i := range 20 {
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			err := s.Beat(short)
			cancel()
			if text := fmt.Sprint(err); !strings.Contains(text, "no connection is left") {
				t.Errorf("beat %d: %v", i, err)
			}
			if events, err := operator.History(ctx, "r"); err != nil || len(events) != 1 || events[0].Token != 7 {
				t.Errorf("the history is %v, %v", events, err)
			}
		}
	})
}

// TestRefusedSetting: what a call waited for names the setting that is wrong, so that people hear of it by its flag or line.
func TestRefusedSetting(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context) {
		p := open(t, objectmem.New())
		s := p.register(ctx, "a")
		p.watch(t)
		p.client.On(func(objectmem.Call) (f objectmem.Fault) {
			f.Fault = kvmem.Fail(lock.InFields(lock.Refusal(errors.New("not taken")), "PasswordFile"))
			return f
		})
		for range 20 {
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			err := s.Beat(short)
			cancel()
			if f := (*lock.FieldError)(nil); !errors.As(err, &f) || f.Fields[0] != "PasswordFile" || !strings.Contains(err.Error(), f.Error()) || errors.Is(err, lock.ErrPermanent) {
				t.Errorf("got %v", err)
			}
		}
	})
}
