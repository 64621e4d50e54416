package coordinator

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// Troubles log what goes wrong at the store: once when it begins, when the store's words for it
// change, and when it is over.
type troubles struct {
	config Config
	now    map[fault]*trouble
	acked  Instant // the latest start of an acknowledged beat
	joined bool    // a registration was acknowledged once
	late   int     // acknowledged beats in a row that took longer than fits the ttl
	sick   string  // what was last logged about the health check; "": it passes
	health *rate.Limiter
}

// A fault is something that fails: one call about one role, or any.
type fault struct{ what, call, role string }

type trouble struct {
	on    bool    // it is not over
	beats bool    // a beat has failed since it began
	since Instant // when it last began
	last  Instant // when it last failed
	err   error   // of the last failure
	told  bool    // it was logged since it began
	said  Instant // when it was last logged, in this or an earlier trouble; zero: never
	what  string  // by which words
	text  string  // and with which error
}

// sayAgain is the least time between two warnings about one trouble. Each call has words of its
// own for an outage; the heartbeat has the latest.
const sayAgain = time.Minute

// A failure that no named error describes is one trouble: the store's. So an outage is logged
// once.
const (
	theStore   = "the store does not answer"
	theWatch   = "the roles cannot be watched"
	theJoining = "not registered yet; trying again"
	theRefusal = "the store refuses a call"
	theTrip    = "the store is too slow or too far away for this ttl: raise the ttl"
	theCheck   = "the health check hangs"
	theDisk    = "the canary cannot be written"
)

// endings are logged when a trouble is over.
var endings = map[string]string{
	theStore: "the store answers again", theWatch: "the roles can be watched again", theRefusal: "the store no longer refuses the call", theTrip: "the store is fast enough for the ttl again", theCheck: "the health check has returned", theDisk: "the canary can be written again",
}

func newTroubles(c Config) troubles {
	return troubles{config: c, now: map[fault]*trouble{}, health: rate.NewLimiter(rate.Every(20*time.Second), 3)}
}

// note records how a call went. A beat that fails is logged at once, unless another attempt has
// meanwhile come through.
func (t *troubles) note(now Instant, n news) {
	_, registered := n.event.(machine.Registered)
	_, unseen := n.event.(machine.Unseen)
	_, stood := n.event.(machine.Stood)
	beat, beaten := n.event.(machine.Beaten)
	if beaten && n.err == nil && beat.At.Most(t.acked) > 0 {
		t.acked = beat.At
		t.took(now, now.Most(beat.At))
	}
	unanswered := outcomeOf(n.err) == lock.Unknown
	t.joined = t.joined || registered && n.err == nil
	switch {
	case n.call == "" || n.call == checks:
	case registered && !t.joined && errors.Is(n.err, lock.ErrPermanent): // it ends the run at once, whose last transition says why
	case n.err != nil && refusal(n.err):
		t.over(now, fault{what: theStore})
		t.fails(now, fault{theRefusal, n.call, n.role}, n.err, 0)
	case unanswered && registered:
		t.fails(now, fault{what: theJoining}, n.err, 0)
	case n.err != nil && unseen:
		t.fails(now, fault{what: theWatch}, n.err, t.config.TTL/2)
	case unanswered && beaten && !t.acked.IsZero() && t.acked.Most(beat.At) >= 0:
	case unanswered && beaten:
		t.fails(now, fault{what: theStore}, n.err, 0)
		t.now[fault{what: theStore}].beats = true
	case unanswered:
		t.fails(now, fault{what: theStore}, n.err, t.config.TTL/2)
	default:
		if one := t.now[fault{what: theStore}]; one != nil && (!one.beats || beaten || registered) {
			t.over(now, fault{what: theStore}) // being able to read says nothing about writing
		}
		t.over(now, fault{theRefusal, n.call, n.role})
		if stood {
			t.over(now, fault{what: theWatch})
			t.over(now, fault{what: theRefusal, call: n.call})
		}
		if registered && n.err == nil {
			delete(t.now, fault{what: theJoining}) // joining has a log line of its own
		}
	}
}

// blind is why nothing is known about the store at the moment; nil: it answers. A watch that is
// refused may have been unanswered before: the refusal is the news.
func (t *troubles) blind() error {
	for _, f := range []fault{{what: theStore}, {what: theRefusal, call: watches}, {what: theWatch}} {
		if one := t.now[f]; one != nil && one.on {
			return one.err
		}
	}
	return nil
}

// denied is why the store refuses the beats or, if the role is being given back, what would do that; nil: it does not.
func (t *troubles) denied(role string, draining bool) error {
	for _, f := range []fault{{theRefusal, beats, ""}, {theRefusal, releases, role}, {theRefusal, handoffs, role}} {
		if one := t.now[f]; one != nil && one.on && (draining || f.role == "") {
			return one.err
		}
	}
	return nil
}

// lateBeats is how many beats in a row are late before the store counts as too far away: one may meet a slow disk.
const lateBeats = 3

// took logs that beats take longer than plan allows. They are acknowledged all the same, as the first attempt at each has
// two tries, but when one is lost no other comes through in time.
func (t *troubles) took(now Instant, trip time.Duration) {
	most, f := t.config.Try()*9/10, fault{what: theTrip}
	if trip <= most {
		t.late = 0
		t.over(now, f)
		return
	}
	if t.late++; t.late == lateBeats {
		t.fails(now, f, fmt.Errorf("a beat takes %v, and nine tenths of a try are %v", trip.Round(time.Millisecond), most.Round(time.Millisecond)), 0)
	}
}

// hangs logs that the health check does not return, long before the witness kills for it. since
// is when it was called; nil: it has returned.
func (t *troubles) hangs(now Instant, since *Instant) {
	limit, f := t.config.HangTimeout, fault{what: theCheck}
	if limit < 0 {
		limit = t.config.TTL
	}
	if since == nil || now.Most(*since) < limit/2 {
		t.over(now, f)
		return
	}
	err := fmt.Errorf("it has used half of its %v and has not returned", limit)
	if t.config.HangTimeout > 0 && t.config.witnessed() {
		err = fmt.Errorf("%w; after that the witness kills this process", err)
	}
	t.fails(now, f, err, 0)
}

// tellHealth logs why the health check fails: when it begins to, when its words change, and when
// it passes again, but no more often than a person can read.
func (t *troubles) tellHealth(err error) {
	sick := ""
	if err != nil {
		sick = err.Error()
	}
	switch {
	case sick == t.sick || !t.health.Allow():
		return
	case err != nil:
		t.config.Logger.Warn("the health check fails", "id", t.config.ID, "error", err)
	default:
		t.config.Logger.Info("the health check passes again", "id", t.config.ID)
	}
	t.sick = sick
}

// tellDisk tells why the canary cannot be written, and that it can be again.
func (t *troubles) tellDisk(err error) {
	now, f := t.config.Now(), fault{what: theDisk}
	if err != nil {
		t.fails(now, f, err, 0)
	} else {
		t.over(now, f)
	}
}

// refusal reports whether the store answered that no try can succeed before somebody changes
// something.
func refusal(err error) bool {
	return errors.Is(err, lock.ErrPermanent) || errors.Is(err, lock.ErrOtherStore)
}

// fails logs a failure if it has lasted long enough and there is news about it. Once the store's
// absence was logged, its consequence that roles cannot be watched is not. Who cannot register is told
// of that alone.
func (t *troubles) fails(now Instant, f fault, err error, patience time.Duration) {
	one := t.now[f]
	if one == nil {
		one = &trouble{}
		t.now[f] = one
	}
	if !one.on || now.Most(one.last) > t.config.TTL && !one.told { // the last one was another trouble
		one.on, one.told, one.since = true, false, now
	}
	one.last, one.err = now, err
	store, joining, text := t.now[fault{what: theStore}], t.now[fault{what: theJoining}], err.Error()
	switch {
	case now.Most(one.since) < patience:
	case one.said != (Instant{}) && now.Most(one.said) < sayAgain:
	case one.told && text == one.text:
	case f.what == theWatch && store != nil && store.told:
	case f.what == theStore && joining != nil && joining.told: // that has said so; the call was to end what an earlier try may have left
	default:
		one.told, one.said, one.what, one.text = true, now, f.words(err), text
		t.config.Logger.Warn(one.what, append(f.attrs(), "id", t.config.ID, "error", err)...)
	}
}

// over logs that a trouble that was logged is over.
func (t *troubles) over(now Instant, f fault) {
	one := t.now[f]
	if one == nil || !one.on {
		return
	}
	if one.told {
		t.config.Logger.Info(endings[one.what], append(f.attrs(), "id", t.config.ID, "after", now.Most(one.since).Round(time.Millisecond))...)
	}
	one.on, one.told, one.beats = false, false, false
}

// words say what fails. A store that refuses every call is as useless as a silent one, but the log must not call it silent.
func (f fault) words(err error) string {
	if f.what == theStore && errors.Is(err, lock.ErrRefused) {
		return theRefusal
	}
	return f.what
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

// tellClosing says once why a stop takes a while, though every role has stopped.
func (r *runner) tellClosing(err error) {
	r.doubt = r.doubt && !unsent(err)
	if r.lingers || outcomeOf(err) != lock.Unknown || !r.machine.Session().Stopping || !r.sent && unsent(err) {
		return
	}
	r.lingers = true
	r.config.Logger.Info("not ended yet: the store may have our session, and does not answer; the end is tried for a while, and then left to the others",
		"id", r.config.ID, "error", err)
}

// refused keeps the store's reason for refusing something for good.
func (r *runner) refused(n news) {
	switch n.event.(type) {
	case machine.Registered, machine.Beaten, machine.Closed:
		r.why = n.err
		return
	}
	if n.role != "" {
		r.refusals[n.role] = n.err
		return
	}
	for _, name := range r.config.names() {
		r.refusals[name] = n.err
	}
}

// beaten keeps what a beat of this session brought.
func (r *runner) beaten(err error) {
	switch {
	case err == nil:
		r.untold = max(r.untold-1, 0)
	case r.why == nil && outcomeOf(err) == lock.Lost && !strings.HasSuffix(err.Error(), lock.ErrLost.Error()): // it says who ended it
		r.why = err
	}
}

// learnEnd keeps who ended our session, if a term says so.
func (r *runner) learnEnd(t lock.Term) {
	if end := t.End; r.session != nil && t.Holder.Session == r.session.ID() && end != (lock.End{}) && end.By != r.config.ID {
		r.why = fmt.Errorf("%w: it was ended by %q: %s", lock.ErrLost, end.By, end.Why)
	}
}
