package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/understudy-ha/understudy/coordinator"
	"github.com/understudy-ha/understudy/lock"
)

// A judge watches the works of contenders: two never work in one role at once, and the tokens of
// a role only grow.
type judge struct {
	t *trial

	mu      sync.Mutex
	spells  map[string][]*spell // by role
	changed chan struct{}       // closed with every change
}

// A spell is one term's work.
type spell struct {
	who                string
	token              lock.Token
	began, told, ended time.Time // zero: not yet
	cause              error     // why it was told to stop
}

func (t *trial) judge() *judge {
	return &judge{t: t, spells: map[string][]*spell{}, changed: make(chan struct{})}
}

func (j *judge) note(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
	close(j.changed)
	j.changed = make(chan struct{})
}

// A manner is how a work behaves after it was told to stop.
type manner struct {
	grace    time.Duration   // the time that its coordinator gives it
	dawdle   time.Duration   // how much of that it takes
	stop     time.Duration   // what it takes in addition if a stop was requested
	toTheEnd bool            // it takes all that is left of its promise
	until    <-chan struct{} // not nil: it goes on until the process is ended
}

// work is the work of a contender.
func (j *judge) work(who string, m manner) coordinator.Work {
	return func(ctx context.Context, term coordinator.Term) error {
		s := &spell{who: who, token: term.Token, began: time.Now()}
		j.note(func() {
			for _, before := range j.spells[term.Role] {
				if before.ended.IsZero() {
					j.t.errorf("a promise is broken: %s works under token %d while %s works under token %d", who, term.Token, before.who, before.token)
				}
				if before.token >= term.Token {
					j.t.errorf("a promise is broken: %s works under token %d after %s worked under token %d", who, term.Token, before.who, before.token)
				}
			}
			j.spells[term.Role] = append(j.spells[term.Role], s)
		})
		left := term.Left()
		<-ctx.Done()
		lost := errors.Is(context.Cause(ctx), coordinator.ErrSessionLost) // may be learned just when the work starts
		if short := left < m.grace*3/4 || left <= m.grace && j.t.Virtual; short && !lost {
			j.t.errorf("%s was started when %v of its promise were left, want more than the grace of %v", who, left, m.grace)
		}
		j.note(func() { s.told, s.cause = time.Now(), context.Cause(ctx) })
		time.Sleep(m.dawdle) // the mistake that this work makes
		if errors.Is(context.Cause(ctx), coordinator.ErrStopping) {
			time.Sleep(m.stop) // work that is slow to stop
		}
		if m.until != nil {
			<-m.until
		}
		for m.toTheEnd && term.Left() > 0 && errors.Is(context.Cause(ctx), coordinator.ErrDeadline) {
			time.Sleep(max(term.Left(), time.Microsecond)) // until the promise is over
		}
		j.note(func() { s.ended = time.Now() })
		return nil
	}
}

// await waits until ok says so of a role's spells.
func (j *judge) await(role, what string, ok func([]*spell) bool) {
	j.t.until(what, func() (bool, <-chan struct{}) {
		j.mu.Lock()
		defer j.mu.Unlock()
		return ok(j.spells[role]), j.changed
	}, func() string { return "the works were: " + j.tell(role) })
}

// anyone stands for any contender.
const anyone = ""

// active waits until who works in the role, in a spell after the first n, and returns that spell
// as it is then.
func (j *judge) active(role, who string, after int) (found spell) {
	j.await(role, cmp.Or(who, "anyone")+" works", func(all []*spell) bool {
		for _, s := range all[min(after, len(all)):] {
			if (who == anyone || s.who == who) && s.told.IsZero() {
				found = *s
				return true
			}
		}
		return false
	})
	return found
}

// spell returns the current state of the n-th spell, and count how many there were.
func (j *judge) spell(role string, n int) spell {
	j.mu.Lock()
	defer j.mu.Unlock()
	return *j.spells[role][n]
}

func (j *judge) count(role string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.spells[role])
}

// tell lists a role's spells for people.
func (j *judge) tell(role string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []string
	for _, s := range j.spells[role] {
		text := fmt.Sprint(s.who, " with token ", s.token, " from ") + s.began.Format("05.000")
		if !s.ended.IsZero() {
			text += " to " + s.ended.Format("05.000") + " (" + s.cause.Error() + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

// A contender is one process that runs a coordinator over a link of its own.
type contender struct {
	*link
	t      *trial
	config coordinator.Config
	cancel context.CancelFunc
	done   chan struct{}
	err    error         // of Run; settled when done is closed
	once   sync.Once     // of kill
	killed chan struct{} // closed by kill
}

// contend starts a contender for the roles; it ends with the case.
func (t *trial) contend(j *judge, id string, change func(*coordinator.Config), roles ...string) *contender {
	return t.contendIn(weather{}, j, id, change, roles...)
}

// pair starts two contenders for a role: a, and once that is active, b.
func (t *trial) pair(j *judge, change func(*coordinator.Config), role string) (a, b *contender) {
	a = t.contend(j, "a", change, role)
	j.active(role, "a", 0)
	return a, t.contend(j, "b", change, role)
}

// inLine waits until one stands by.
func (t *trial) inLine(l lock.Locker, role string) {
	t.await(l, role, "the standby in line", func(st lock.Standing) bool { return len(st.Line) == 1 })
}

// contendIn is contend with a link that has this weather from the first call on.
func (t *trial) contendIn(w weather, j *judge, id string, change func(*coordinator.Config), roles ...string) *contender {
	c := coordinator.Config{
		ID: t.named(id), Address: id + ".example:1", TTL: t.TTL,
		StopTimeout: t.TTL, Logger: slog.New(slog.DiscardHandler),
	}
	for _, r := range roles {
		c.Roles = append(c.Roles, lock.Bid{Role: r})
	}
	if t.Virtual {
		c.Now = coordinator.Virtual
	}
	if change != nil {
		change(&c)
	}
	p := &contender{link: t.link(), t: t, config: c.Defaults(), done: make(chan struct{}), killed: make(chan struct{})}
	p.set(w)
	m := manner{grace: p.config.Grace, dawdle: p.config.Grace / 10}
	m.stop = (p.config.StopTimeout - t.TTL) / 2 // half of what a case gives beyond the usual
	if t.Virtual {                              // no machine is busy there
		m.dawdle = p.config.Grace / 4
	}
	switch {
	case c.NoExit:
		m.toTheEnd = true
	case c.Exit != nil:
		exit := c.Exit
		c.Exit, m.until = func() { exit(); p.kill() }, p.killed
	default:
		c.Exit = func() {
			if process, _ := t.pace.worst(t.begun); process < p.config.Grace/4 { // otherwise the machine let it sleep too long
				t.errorf("%s: the work outlived its promise", id)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.ctx)
	p.cancel = cancel
	go func() {
		defer close(p.done)
		p.err = coordinator.Run(ctx, p.link, c, j.work(id, m))
	}()
	t.after(func() {
		p.set(weather{})
		_ = p.stop()
	})
	return p
}

// kill ends a work that goes on until its process is ended.
func (p *contender) kill() { p.once.Do(func() { close(p.killed) }) }

// stop tells the contender to stop and returns what Run returned.
func (p *contender) stop() error {
	p.cancel()
	if !within(p.done, 2*p.config.TTL+p.config.StopTimeout+p.t.slack()+5*time.Second) {
		p.t.fatalf("%s: Run does not return", p.config.ID)
	}
	return p.err
}

// takeover is the longest time from the last beat of a session to the work of
// its successor.
func (p *contender) takeover() time.Duration {
	return p.config.TTL + p.config.Skew + p.t.slack()
}
