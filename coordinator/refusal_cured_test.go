package coordinator

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/understudy-ha/understudy/lock"
)

// TestRefusedForLessThanTheTTL: what is cured within a ttl ends nobody, not even one that has lost its session
// meanwhile, whose end or next registration is refused then.
func TestRefusedForLessThanTheTTL(t *testing.T) {
	for name, c := range map[string]struct {
		refuse []string
		evict  bool // by an operator's word, so that it has to register again
	}{
		"its end":               {[]string{"register", "beat", "close", "acquire", "release", "evict", "watch"}, false},
		"its next registration": {[]string{"register"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				l, a := &refusing{Locker: s.store.Open()}, config("a")
				stop := s.contendOver(l, a, untilTold)
				time.Sleep(time.Minute + a.TTL/100) // no beat is under way
				l.set(c.refuse...)
				if c.evict {
					for st, err := range s.store.Open().Watch(t.Context(), "r") {
						must(t, err)
						must(t, s.store.Open().Evict(t.Context(), st.Term.Holder.Session, lock.AnyBeat, lock.End{By: "operator", Why: "dead"}))
						break
					}
				}
				time.Sleep(a.TTL * 19 / 20) // its promise is over
				l.set()
				time.Sleep(time.Minute)
				s.want("a", "a")
				must(t, stop())
			})
		})
	}
}

// TestRefusedWhatAnotherDid: a standby whose attempt to take a role or to evict its holder was refused, while another's
// was not, is not refused for longer: it asks the store for nothing.
func TestRefusedWhatAnotherDid(t *testing.T) {
	for _, call := range []string{"acquire", "evict"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				silent, l := &refusing{Locker: s.store.Open()}, &refusing{Locker: s.store.Open()}
				stopA := s.contendOver(silent, config("a"), untilTold)
				synctest.Wait()
				stopB := s.contendOver(l, config("b"), untilTold)
				synctest.Wait()
				c := config("c")
				if call == "evict" {
					c.Roles = []lock.Bid{{Role: "r", Priority: 1}} // so that b need not ask for the role
				}
				stopC := s.contend(c, untilTold)
				time.Sleep(time.Minute)
				l.set(call)
				if call == "acquire" {
					must(t, stopA())
				} else {
					silent.set("beat", "release", "close")
				}
				time.Sleep(12 * time.Second) // the term of a is over, whichever way
				l.set()
				time.Sleep(time.Minute)
				must(t, stopC())
				time.Sleep(time.Second)
				if got := s.active(); !slices.Equal(got, []string{"a", "c", "b"}) {
					t.Errorf("active: %v, want a, c and then b", got)
				}
				must(t, stopB())
				if call == "evict" {
					_ = stopA() // it was refused for good
				}
			})
		})
	}
}
