//go:build linux

package witness

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/internal/procgroup"
	"github.com/understudy-ha/understudy/lock"
)

// TestLatest interrupts a writer in the midst of a change: the value before counts.
func TestLatest(t *testing.T) {
	var l latest[instant]
	if v := l.load(); v != (instant{}) {
		t.Errorf("nothing was stored, and %v is there", v)
	}
	l.store(instant{1, 1})
	l.store(instant{2, 2})
	l.values[1] = instant{3, 0} // where the next one would be written
	if v := l.load(); v != (instant{2, 2}) {
		t.Errorf("got %v, want the last one that was stored whole", v)
	}
	l.store(instant{3, 3})
	if v := l.load(); v != (instant{3, 3}) {
		t.Errorf("got %v, want what was stored last", v)
	}
}

// TestDue is when a process must be killed.
func TestDue(t *testing.T) {
	at := func(d time.Duration) instant {
		now := coordinator.Clocks()
		return instant{now.Raw + d, now.Boot + d}
	}
	for name, test := range map[string]struct {
		works    int32
		deadline instant
		silent   time.Duration // before this look
		session  lock.SessionID
		pulsed   bool
		spare    bool
		want     bool
	}{
		"works before its deadline":           {works: 1, deadline: at(time.Hour), session: "s", pulsed: true},
		"works after it":                      {works: 1, deadline: at(-1), session: "s", pulsed: true, want: true},
		"works after it by one clock":         {works: 1, deadline: instant{at(-1).raw, at(time.Hour).boot}, pulsed: true, want: true},
		"does not work":                       {deadline: at(-1), session: "s", pulsed: true},
		"hangs":                               {silent: time.Second, session: "s", want: true},
		"was silent and turns":                {silent: time.Second, session: "s", pulsed: true},
		"hangs and has no session":            {silent: time.Second},
		"has opted out of being killed":       {works: 1, deadline: at(-1), silent: time.Second, session: "s", spare: true},
		"was silent while the witness slept":  {silent: 700 * time.Millisecond, session: "s"},
		"is silent for the rest of the time ": {silent: 800 * time.Millisecond, session: "s", want: true},
	} {
		c := &child{orders: orders{HangTimeout: time.Second, Spare: test.spare}, page: &page{}, silent: test.silent}
		c.looked = coordinator.Clocks()
		c.looked.Mono -= time.Hour // the witness was stopped: one tick of that counts
		var s nonce
		s.n = uint8(copy(s.text[:], test.session))
		c.page.session.store(s)
		c.page.deadline.store(test.deadline)
		c.page.works.Store(test.works)
		if test.pulsed {
			c.page.pulse.Store(1) // long ago: both were stopped, then
		}
		if why := c.due(); (why != "") != test.want {
			t.Errorf("a process that %s: killed because %q", name, why)
		}
	}
}

// TestGroups notes groups and forgets them: a witness answers for those that are noted,
// and for no more than there is room for.
func TestGroups(t *testing.T) {
	w := &Witness{page: &page{}}
	c := &child{page: w.page}
	for n := range procgroup.ID(MaxGroups) {
		if w.place(n+1) < 0 {
			t.Fatalf("no room for group %d of %d", n+1, MaxGroups)
		}
	}
	c.hold()
	if err := w.Guard(MaxGroups + 1); err == nil || c.held[MaxGroups-1].ID() != MaxGroups {
		t.Errorf("%v, and the last of %d groups is %d", err, MaxGroups, c.held[MaxGroups-1].ID())
	}
	for n := range procgroup.ID(MaxGroups) {
		if n != 7 {
			w.Forget(n + 1)
		}
	}
	c.hold()
	for i, h := range c.held {
		want := procgroup.ID(0)
		if i == 7 {
			want = 8
		}
		if h.ID() != want || w.page.guarded[i].Load() != uint64(want) {
			t.Errorf("place %d: answers for %d and says %d, want %d", i, h.ID(), w.page.guarded[i].Load(), want)
		}
	}
	w.closed, w.page = true, nil // as Close leaves it
	w.Forget(8)
	if w.place(9) >= 0 {
		t.Error("a witness that is closed has taken a group")
	}
}

// TestPatience gives a far store what it needs for the four round trips that a call takes
// at most: nine tenths of a try each, which is an eighth of the ttl or five seconds.
func TestPatience(t *testing.T) {
	for _, ttl := range []time.Duration{100 * time.Millisecond, 2 * time.Second, 10 * time.Second, 40 * time.Second, time.Hour} {
		c := &child{orders: orders{Promise: lock.Promise{TTL: ttl}}}
		if try := min(ttl/8, 5*time.Second); c.patience() < 4*try*9/10 {
			t.Errorf("ttl %v: a call may take %v, and takes %v", ttl, c.patience(), 4*try*9/10)
		}
	}
}

// A far store answers an eviction after a while, if it was let, and loses or refuses some.
type far struct {
	lock.Locker
	calls atomic.Int32
	after time.Duration
	lost  int32

	refused int32
}

func (f *far) Evict(ctx context.Context, _ lock.SessionID, _ lock.Beat, _ lock.End) error {
	after, n := f.after, f.calls.Add(1)
	if n <= f.lost {
		after = time.Hour
	}
	if n <= f.refused {
		return lock.Permanent(errors.New("permission denied"))
	}
	select {
	case <-time.After(after):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestFarStore has an eviction that takes almost half of the ttl, and one whose first
// tries are lost, as at a member of the store that hangs, or refused, as while a right is missing: that costs a moment.
func TestFarStore(t *testing.T) {
	for name, f := range map[string]*far{"far": {after: 19 * time.Second}, "lost": {lost: 2}, "refused": {refused: 5}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 41*time.Second)
			defer cancel()
			c := &child{orders: orders{ID: "a", Promise: lock.Promise{TTL: 40 * time.Second}}, locker: f, log: slog.New(slog.DiscardHandler)}
			began := time.Now()
			if err := c.evict(ctx, "s"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > f.after+time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
			cancel()
			synctest.Wait()
			if open := f.calls.Load(); open > 12 {
				t.Errorf("%s: %d calls", name, open)
			}
		})
	}
}
