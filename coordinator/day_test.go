package coordinator

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/internal/lab"
	"github.com/understudy-ha/understudy/lock"
)

// seed is that of the random numbers in this file's tests.
var seed = flag.Uint64("seed", 1, "of TestDay and TestPauses")

// aDay is how long the troubles last: an eighth of a day with the race detector.
func aDay() time.Duration {
	if lab.Race {
		return 3 * time.Hour
	}
	return 24 * time.Hour
}

// TestDay runs three contenders for a virtual day over links that lose and delay
// requests and replies and let them commit late, with works that dawdle.
func TestDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		day, cancel := context.WithTimeout(t.Context(), aDay())
		defer cancel()
		var stops []func() error
		for i, id := range []string{"a", "b", "c"} {
			c := config(id).Defaults()
			c.Exit = func() { t.Errorf("%s: exit", id) }
			l := &link{Locker: s.store.Open(), rand: rand.New(rand.NewPCG(*seed, uint64(i))), delay: 3 * time.Second}
			draw := rand.New(rand.NewPCG(*seed, uint64(i+10)))
			stops = append(stops, s.contendOver(l, c, func(ctx context.Context, term Term) error {
				select {
				case <-ctx.Done():
					time.Sleep(time.Duration(draw.Int64N(int64(c.Grace) - 1)))
					return nil
				case <-time.After(time.Duration(draw.Int64N(int64(time.Hour)))):
					return errors.New("ended by itself")
				}
			}))
			go func() { // now and then it is cut off
				for day.Err() == nil {
					time.Sleep(l.upTo(20 * time.Minute))
					l.cut.Store(true)
					time.Sleep(l.upTo(40 * time.Second))
					l.cut.Store(false)
				}
			}()
		}
		s.endDay(day, stops)
		time.Sleep(time.Minute) // what is late arrives
	})
}

// endDay stops every contender after the day of troubles: terms were many.
func (s *stage) endDay(day context.Context, stops []func() error) {
	<-day.Done()
	time.Sleep(time.Hour) // virtual time, in which all recover
	for _, stop := range stops {
		stop()
	}
	s.t.Logf("seed %d: %d terms in %v", *seed, len(s.active()), aDay())
	if len(s.active()) < int(aDay().Hours()) {
		s.t.Errorf("seed %d: only %d terms in %v", *seed, len(s.active()), aDay())
	}
}

// TestPauses runs three contenders for a virtual day whose processes stop for up
// to three promises and go on. Their works look at Valid before every stamp: no
// stamp is older than one under a greater token.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		s.forced = true // a paused work does not return: what it stamps is judged
		day, cancel := context.WithTimeout(t.Context(), aDay())
		defer cancel()
		var newest atomic.Uint64
		var stops []func() error
		for i, id := range []string{"a", "b", "c"} {
			draw := rand.New(rand.NewPCG(*seed, uint64(i)))
			var paused atomic.Bool
			c := config(id)
			c.NoExit = true
			c.Now = func() Instant {
				for paused.Load() {
					time.Sleep(20 * time.Millisecond)
				}
				return Virtual()
			}
			stops = append(stops, s.contend(c, func(ctx context.Context, term Term) error {
				for ctx.Err() == nil {
					if term.Valid() {
						if before := newest.Swap(uint64(term.Token)); before > uint64(term.Token) {
							t.Errorf("seed %d: %s stamps under %d after %d", *seed, id, term.Token, before)
						}
					}
					time.Sleep(100 * time.Millisecond)
				}
				return nil
			}))
			go func() {
				for day.Err() == nil {
					time.Sleep(time.Duration(draw.Int64N(int64(10 * time.Minute))))
					paused.Store(true)
					time.Sleep(time.Duration(draw.Int64N(int64(30 * time.Second))))
					paused.Store(false)
				}
			}()
		}
		s.endDay(day, stops)
	})
}

// TestThousandTerms hands two roles to and fro: nothing is left behind. A bubble
// ends only when every goroutine in it has.
func TestThousandTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var stops []func() error
		for _, id := range []string{"a", "b"} {
			c := config(id)
			c.Roles = []lock.Bid{{Role: "r"}, {Role: "s"}}
			stops = append(stops, s.contend(c, untilTold))
			synctest.Wait()
		}
		l := s.store.Open()
		moved, terms := 0, map[lock.Token]bool{}
		for st := range l.Watch(t.Context(), "r", "s") {
			if moved == 1000 {
				break
			}
			terms[st.Term.Token] = true
			if st.Term.Vacant() || len(st.Line) == 0 || st.Request.To != "" {
				continue
			}
			if err := l.Ask(t.Context(), st.Role, lock.Request{Token: st.Term.Token, To: st.Line[0].Session}); err == nil {
				moved++
			}
		}
		synctest.Wait()
		for _, stop := range stops {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		if works := len(s.active()); len(terms) < 1000 || works < 500 { // a term may be asked for before its work has begun
			t.Errorf("%d terms and %d works, want 1000 terms", len(terms), works)
		}
		for st := range l.Watch(t.Context(), "r") {
			if len(st.Line) != 0 || !st.Term.Vacant() {
				t.Errorf("left behind: %+v", st)
			}
			break
		}
	})
}

// TestWokenWork returns as soon as its process is woken after its promise, sooner than the guard has looked: the process ends
// all the same, no matter which of them is first.
func TestWokenWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		var slept atomic.Int64
		var exits atomic.Int32
		c, wake := config("a"), make(chan struct{})
		c.Exit = func() { exits.Add(1) }
		c.Now = func() Instant {
			now, d := Virtual(), time.Duration(slept.Load())
			return Instant{Mono: now.Mono, Raw: now.Raw + d, Boot: now.Boot + d}
		}
		stop := s.contend(c, func(ctx context.Context, _ Term) error {
			select {
			case <-wake:
			case <-ctx.Done():
			}
			return errors.New("ended meanwhile")
		})
		time.Sleep(time.Minute + time.Millisecond) // between two beats
		slept.Store(int64(2 * c.TTL))
		close(wake)
		synctest.Wait()
		if n := exits.Load(); n != 1 {
			t.Errorf("%d exits", n)
		}
		stop()
	})
}
