//go:build linux

package witness

import (
	"testing"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
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
		c.looked.Mono -= time.Hour // the witness was stopped: two ticks of that count
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
	for pgid := range MaxGroups {
		if w.place(pgid+1) < 0 {
			t.Fatalf("no room for group %d of %d", pgid+1, MaxGroups)
		}
	}
	if err := w.Guard(MaxGroups + 1); err == nil || len(c.guards()) != MaxGroups {
		t.Errorf("%v, and %d groups, want an error and %d", err, len(c.guards()), MaxGroups)
	}
	for pgid := range MaxGroups {
		if pgid != 7 {
			w.Forget(pgid + 1)
		}
	}
	if left := c.guards(); len(left) != 1 || left[0] != 8 {
		t.Errorf("answers for %d, want 8", left)
	}
}
