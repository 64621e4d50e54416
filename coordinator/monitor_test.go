package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// A diary keeps transitions.
type diary struct {
	mu  sync.Mutex
	all []Transition
}

func (d *diary) write(t Transition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, t)
}

// read is what was written, a word for each transition: the state it led to, and its cause.
func (d *diary) read() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, t := range d.all {
		all = append(all, fmt.Sprint(t.To, ":", t.Cause))
	}
	return strings.Join(all, " ")
}

// stopped is a witness in whose Pulse the loop hangs from stop on, until release.
type stopped struct {
	alone
	stop, release chan struct{}
}

func (w *stopped) Start(Config) error { return nil }

func (w *stopped) Pulse() {
	select {
	case <-w.stop:
		<-w.release
	default:
	}
}

// TestTransitions tells what happens to a role, and why, in words of a fixed set.
func TestTransitions(t *testing.T) {
	begin, held := "registering:started standby:joined activating:vacant active:granted", "no disk"
	stories := map[string]struct {
		happens func(s *stage, cut *link, c *Config, stop func() error)
		work    Work
		want    string // after begin
		last    error
	}{
		"stop": {happens: func(_ *stage, _ *link, _ *Config, stop func() error) { _ = stop() }, want: "draining:stopping stopped:stopping", last: ErrStopping},
		"cut off": {happens: func(_ *stage, cut *link, _ *Config, stop func() error) {
			cut.cut.Store(true)
			time.Sleep(20 * time.Second) // virtual time
			cut.cut.Store(false)
			time.Sleep(time.Minute) // virtual time
			_ = stop()
		}, want: "draining:deadline registering:session_lost activating:vacant active:granted draining:stopping stopped:stopping", last: ErrStopping},
		"done": {work: func(context.Context, Term) error { return nil }, want: "draining:returned stopped:done"},
		"failed": {work: func(context.Context, Term) error {
			time.Sleep(time.Second) // virtual time
			return errors.New(held)
		}, want: "draining:failed paused:held_down activating:vacant active:granted draining:failed paused:held_down"},
	}
	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, d := newStage(t), &diary{}
				cut := &link{Locker: s.store.Open()}
				c := config("a")
				c.OnTransition, c.Monitor = d.write, new(Monitor)
				work := story.work
				if work == nil {
					work = untilTold
				}
				stop := sync.OnceValue(s.contendOver(cut, c, work))
				time.Sleep(2*time.Second + 400*time.Millisecond)
				if story.happens != nil {
					story.happens(s, cut, &c, stop)
				}
				want, got := begin+" "+story.want, d.read()
				if got != want {
					t.Errorf("told: %s\nwant:  %s", got, want)
				}
				_ = stop()
				d.mu.Lock()
				defer d.mu.Unlock()
				last := d.all[len(d.all)-1]
				if story.last != nil && !errors.Is(last.Reason, story.last) {
					t.Errorf("the last reason is %v", last.Reason)
				}
				if st, _ := c.Monitor.Role("r"); st.State != last.To || st.Cause != last.Cause || st.Token != last.Token {
					t.Errorf("the monitor shows %v, and what was told last is %v", st, last)
				}
			})
		})
	}
}

// TestEveryCauseIsListed, and once: each constant of that type in the file.
func TestEveryCauseIsListed(t *testing.T) {
	text, err := os.ReadFile("transition.go")
	must(t, err)
	declared := regexp.MustCompile(`Cause\w+ +Cause = "(\w+)"`).FindAllStringSubmatch(string(text), -1)
	for _, d := range declared {
		if !slices.Contains(Causes(), Cause(d[1])) {
			t.Errorf("%s is not listed", d[1])
		}
	}
	if n := len(Causes()); n != len(declared) {
		t.Errorf("%d are listed, and %d declared", n, len(declared))
	}
}

// TestOnTransitionThatBlocks costs nothing but its own news: the role moves on, and what did
// not fit is counted. One that never returns is named at the end.
func TestOnTransitionThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, release := newStage(t), make(chan struct{})
		m, told, missed := new(Monitor), 0, 0
		a := config("a")
		a.Monitor = m
		a.OnTransition = func(t Transition) { <-release; told++; missed += t.Missed }
		failing := errors.New("again")
		stop := s.contend(a, func(context.Context, Term) error { time.Sleep(10 * time.Millisecond); return failing })
		time.Sleep(5 * time.Minute) // alone in line it is held down for a moment only
		st, _ := m.Role("r")
		if granted := st.Moves[CauseGranted]; m.Process().MovesDropped == 0 || granted < 1000 {
			t.Errorf("%d transitions were dropped, and the role was granted %d times", m.Process().MovesDropped, granted)
		}
		release <- struct{}{} // there is room for one
		time.Sleep(time.Second)
		dropped := m.Process().MovesDropped
		began := time.Now()
		err := stop()
		if took := time.Since(began); !errors.Is(err, ErrNotReturned) || !strings.Contains(err.Error(), "OnTransition has not returned") || took > 3*time.Second {
			t.Errorf("it ended after %v: %v", took, err)
		}
		close(release)
		synctest.Wait()
		if told != movesMost+2 || missed == 0 || uint64(missed) > dropped {
			t.Errorf("%d were told, and %d of the %d that were dropped", told, missed, dropped)
		}
	})
}

// TestMonitorNeedsNoLoop: while the loop hangs, a role counts as active until the moment its
// deadline is over, and not for longer.
func TestMonitorNeedsNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t), new(Monitor)
		w := &stopped{stop: make(chan struct{}), release: make(chan struct{})}
		c := config("a")
		c.Monitor, c.Witness, c.NoExit = m, w, true
		stubborn := make(chan struct{})
		if p := m.Process(); p.Began || len(m.Roles()) != 0 {
			t.Errorf("before it began: %+v", p)
		}
		stop := s.contend(c, func(context.Context, Term) error { <-stubborn; return nil })
		time.Sleep(time.Minute)
		close(w.stop)
		time.Sleep(3 * time.Second) // the loop turns, and hangs
		st, _ := m.Role("r")
		if !st.Works() || st.Outlived != 0 {
			t.Fatalf("with its deadline ahead: %+v", st)
		}
		time.Sleep(st.Left - time.Nanosecond)
		if st, _ = m.Role("r"); !st.Works() {
			t.Errorf("a nanosecond before its deadline: %+v", st)
		}
		time.Sleep(time.Nanosecond)
		if st, _ = m.Role("r"); st.Works() || st.State != Active {
			t.Errorf("at its deadline: %+v", st)
		}
		time.Sleep(3 * time.Second)
		st, _ = m.Role("r")
		if p := m.Process(); p.Late <= p.Limit || st.Outlived != 3*time.Second {
			t.Errorf("late by %v of %v, outlived by %v", p.Late, p.Limit, st.Outlived)
		}
		close(stubborn)
		close(w.release)
		time.Sleep(time.Second)
		if p := m.Process(); p.Late != 0 {
			t.Errorf("it turns again, and is late by %v", p.Late)
		}
		_ = stop()
		if st, _ = m.Role("r"); st.State != Stopped || st.Works() || m.Process().Session != "" {
			t.Errorf("after the end: %+v", st)
		}
	})
}

// TestMonitorOfATakeover shows who is active, and how long the takeover took.
func TestMonitorOfATakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t), new(Monitor)
		cut := &link{Locker: s.store.Open()}
		a, b := config("a"), config("b")
		b.Monitor, a.Address = m, "h1:80"
		stopA := s.contendOver(cut, a, untilTold)
		time.Sleep(time.Second)
		stopB := s.contend(b, untilTold)
		time.Sleep(time.Minute)
		st, _ := m.Role("r")
		if st.State != Standby || !st.Known || st.Holder.Holder.Address != "h1:80" || st.Works() {
			t.Errorf("as a standby: %+v", st)
		}
		if p := m.Process(); p.Blind() || p.Beats == 0 || p.BeatTimes.Count != p.Beats || p.Witness || p.Session == "" {
			t.Errorf("as a standby: %+v", p)
		}
		cut.cut.Store(true)
		time.Sleep(30 * time.Second)
		if st, _ = m.Role("r"); !st.Works() || st.Holder.Holder.ID != "b" {
			t.Errorf("after the takeover: %+v", st)
		}
		// The last sign of life that b saw is up to a beat older than the cut.
		if f := m.Process().Failovers; f.Count != 1 || f.Sum < 10*time.Second || f.Sum > 13*time.Second || f.Within[10*time.Second] != 0 || f.Within[30*time.Second] != 1 {
			t.Errorf("failovers: %+v", f)
		}
		if p := m.Process(); p.Activations.Count != 1 || p.Drains.Count != 0 {
			t.Errorf("activations and drains: %+v", p)
		}
		cut.cut.Store(false)
		_, _ = stopA(), stopB()
	})
}

// TestMonitorOfAStoreThatIsAway counts what the store does not answer, and hears of it again.
func TestMonitorOfAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := newStage(t), new(Monitor)
		cut := &link{Locker: s.store.Open()}
		c := config("a")
		c.Monitor = m
		c.Healthy = func(context.Context) error { return nil }
		stop := s.contendOver(cut, c, untilTold)
		time.Sleep(time.Minute)
		if p := m.Process(); p.Blind() || p.LastError != nil || p.Unhealthy != nil {
			t.Errorf("all is well: %+v", p)
		}
		cut.cut.Store(true)
		time.Sleep(time.Minute)
		p := m.Process()
		if !p.Blind() || p.LastError == nil || p.Errors["unanswered"] == 0 || p.BeatsFailed == 0 || time.Since(p.Heard) < 50*time.Second {
			t.Errorf("cut off: %+v", p)
		}
		cut.cut.Store(false)
		time.Sleep(time.Minute)
		if p := m.Process(); p.Blind() || p.LastError == nil {
			t.Errorf("the store is back: %+v", p)
		}
		_ = stop()
	})
}

// BenchmarkMonitor is what a standing costs a process of a thousand roles that is looked at,
// beside what it costs one that is not.
func BenchmarkMonitor(b *testing.B) {
	cost := func(m *Monitor) time.Duration {
		c := Config{ID: "a", TTL: time.Second, Logger: quiet, Now: Clocks, Monitor: m}.Defaults()
		for i := range 1000 {
			c.Roles = append(c.Roles, lock.Bid{Role: fmt.Sprint(i)})
		}
		r := &runner{config: c, machine: machine.New(c.rules("nonce"), c.names()...), journal: newJournal(c), troubles: newTroubles(c), stop: b.Context(), cold: make(coldness, 1000)}
		r.board = r.newBoard()
		r.machine.Step(c.Now(), machine.Tick{})
		r.machine.Step(c.Now(), machine.Registered{Number: 1, Outcome: lock.OK, At: c.Now()})
		st := lock.Standing{Role: "0", Term: lock.Term{Token: 1, Holder: lock.Member{Contender: lock.Contender{Session: "other"}, Promise: lock.Promise{TTL: time.Second}}}}
		began := time.Now()
		for i := range b.N {
			st.Term.Holder.Beat = lock.Beat(i + 1)
			now := c.Now()
			n := news{event: machine.Stood{At: now, Standing: st}, call: watches, role: "0"}
			r.board.turns(now)
			r.board.answered(now, n, "me")
			r.note(now, n)
			r.machine.Step(now, n.event)
			r.tell(now)
			r.board.rests(now, time.Second, false)
		}
		return time.Since(began) / time.Duration(b.N)
	}
	without, with := cost(nil), cost(new(Monitor))
	b.ReportMetric(float64(without.Nanoseconds()), "ns/without")
	b.ReportMetric(float64(with.Nanoseconds()), "ns/with")
	b.ReportMetric(float64(with)/float64(without), "ratio")
}
