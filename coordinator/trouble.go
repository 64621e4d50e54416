package coordinator

import (
	"errors"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// Troubles tell a person, in the log, what goes wrong at the store: once when it
// begins, when the store's words for it change, and when it is over.
type troubles struct {
	config Config
	now    map[fault]*trouble
	sick   string // what the health check said last that failed; "": it passes
}

// A fault is what fails: one call about one role, or any.
type fault struct{ what, call, role string }

type trouble struct {
	since Instant
	last  Instant // that it failed
	said  Instant // zero: not yet
	text  string  // that was said last
}

// sayAgain is the least time between two lines about one trouble.
const sayAgain = 10 * time.Second

// Whatever a call fails with that no named error says is one trouble: the store. So an
// outage is told once.
const (
	theStore   = "the store does not answer"
	theWatch   = "the roles cannot be watched"
	theJoining = "not registered, it is tried again"
	theRefusal = "the store refuses a call"
)

// endings are what is said when one is over.
var endings = map[string]string{
	theStore: "the store answers again", theWatch: "the roles can be watched again", theRefusal: "the store refuses the call no more",
}

func newTroubles(c Config) troubles { return troubles{config: c, now: map[fault]*trouble{}} }

// note records how a call went.
func (t *troubles) note(now Instant, n news) {
	_, registered := n.event.(machine.Registered)
	_, unseen := n.event.(machine.Unseen)
	_, stood := n.event.(machine.Stood)
	unanswered := outcomeOf(n.err) == lock.Unknown
	switch {
	case n.call == "" || n.call == checks:
	case n.err != nil && refusal(n.err):
		t.over(now, fault{what: theStore})
		t.fails(now, fault{theRefusal, n.call, n.role}, n.err, 0)
	case unanswered && registered:
		t.fails(now, fault{what: theJoining}, n.err, 0)
	case n.err != nil && unseen:
		t.fails(now, fault{what: theWatch}, n.err, t.config.TTL/2)
	case unanswered:
		t.fails(now, fault{what: theStore}, n.err, t.config.TTL/2)
	default:
		t.over(now, fault{what: theStore})
		t.over(now, fault{theRefusal, n.call, n.role})
		if stood {
			t.over(now, fault{what: theWatch})
			t.over(now, fault{what: theRefusal, call: n.call})
		}
		if registered && n.err == nil {
			delete(t.now, fault{what: theJoining}) // that it is in line has a line of its own
		}
	}
}

// tellHealth tells why the health check fails: once, when its words change, and when it
// passes again.
func (t *troubles) tellHealth(err error) {
	was := t.sick
	t.sick = ""
	if err != nil {
		t.sick = err.Error()
	}
	switch {
	case t.sick == was:
	case err != nil:
		t.config.Logger.Warn("the health check fails", "id", t.config.ID, "error", err)
	default:
		t.config.Logger.Info("the health check passes again", "id", t.config.ID)
	}
}

// refusal reports whether the store answered, and no try succeeds before somebody
// changes something.
func refusal(err error) bool {
	return errors.Is(err, lock.ErrPermanent) || errors.Is(err, lock.ErrOtherStore)
}

// fails tells what fails, if it has for long enough and there is news of it.
func (t *troubles) fails(now Instant, f fault, err error, patience time.Duration) {
	one := t.now[f]
	if one == nil || now.Most(one.last) > t.config.TTL && one.said == (Instant{}) { // that was another time
		one = &trouble{since: now}
		t.now[f] = one
	}
	one.last = now
	again, text := one.said != (Instant{}), err.Error()
	if now.Most(one.since) < patience || again && (text == one.text || now.Most(one.said) < sayAgain) {
		return
	}
	one.said, one.text = now, text
	t.config.Logger.Warn(f.what, append(f.attrs(), "id", t.config.ID, "error", err)...)
}

// over tells that what was told to fail fails no more.
func (t *troubles) over(now Instant, f fault) {
	one := t.now[f]
	delete(t.now, f)
	if one == nil || one.said == (Instant{}) {
		return
	}
	t.config.Logger.Info(endings[f.what], append(f.attrs(), "id", t.config.ID, "after", now.Most(one.since).Round(time.Millisecond))...)
}

func (f fault) attrs() (all []any) {
	if f.call != "" {
		all = append(all, "call", f.call)
	}
	if f.role != "" {
		all = append(all, "role", f.role)
	}
	return all
}
