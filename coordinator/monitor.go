package coordinator

import (
	"errors"
	"maps"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/coordinator/internal/tally"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/internal/history"
	"github.com/understudy-ha/understudy/lock"
)

// A Monitor shows what a Run does, to anybody and at any moment: also while the loop of Run
// hangs, and after Run has returned. Set it as the Config.Monitor of one Run. The zero Monitor is
// ready. Its methods may be called concurrently; they wait for nothing but Config.Lag, and nothing
// that is done for a role waits for them.
type Monitor struct{ run atomic.Pointer[board] }

// A RoleStatus is the state of a role in this process.
type RoleStatus struct {
	Role   string
	State  State
	Cause  Cause         // why it entered State
	Reason error         // details that Cause does not tell; may be nil
	Since  time.Time     // when it entered State, by the wall clock
	For    time.Duration // how long ago that is
	Token  lock.Token    // of this process's latest term; zero: it has had none
	Left   time.Duration // how long the work may still act: see Term.Left; zero if none runs
	Ready  bool          // to take over: see Config.Ready and Config.Healthy
	Lag    time.Duration // of this process's copy of the role's state: see Config.Lag; negative: there is none

	// Outlived is for how long work has been running after the end of its promise; zero: none
	// does. It can be more than a moment only with Config.NoExit.
	Outlived time.Duration

	Known  bool      // the store has said who is active
	Holder lock.Term // the active's term, as the store last said; none if vacant

	Moves map[Cause]uint64 // transitions by cause
}

// Works reports whether the role's work runs here, was not told to stop, and could still act when
// the status was taken.
func (s RoleStatus) Works() bool { return s.State == Active && s.Left > 0 }

// A ProcessStatus is the state of a process, apart from its roles.
type ProcessStatus struct {
	ID, Address string
	Labels      map[string]string
	Promise     lock.Promise
	Session     lock.SessionID // empty: it is not registered
	Began       bool           // Run has begun
	Stopping    bool           // nothing new begins

	Unhealthy error         // why this process is not known to be healthy; nil: it is
	Witness   bool          // it has a witness
	Late      time.Duration // how long the loop's next turn is overdue
	Limit     time.Duration // of Late: the loop hangs beyond it

	Heard     time.Time         // the store's last answer; zero: none yet
	Silent    time.Duration     // how long ago that was, by the clock that shows more
	LastError error             // from the store; nil: there was none
	FailedAt  time.Time         // when that was
	Errors    map[string]uint64 // from the store, by kind: see ErrorKinds
	Fences    map[string]uint64 // calls of Config.Fence that ended, by outcome: see FenceOutcomes

	Beats, BeatsFailed uint64
	BeatTimes          Histogram // of acknowledged beats, from the start of the call

	// From the last sign of life of a former active that fell silent, or else from when the store
	// showed that nobody is active, until the work of its successor began here.
	Failovers   Histogram
	Activations Histogram // from this process's first attempt at a role until its work began
	Drains      Histogram // from when work was told to stop, or returned, until the role was given back

	LinesDropped  uint64 // of the log
	MovesDropped  uint64 // transitions that Config.OnTransition was not told
	EventsDropped uint64 // events that could not be written into a role's history
}

// A Histogram counts durations.
type Histogram = tally.Histogram

// Blind reports whether the store has not answered for a whole ttl, the time within which a
// standby hears from it.
func (s ProcessStatus) Blind() bool { return s.Heard.IsZero() || s.Silent > s.Promise.TTL }

// Process returns the state of the process. It is the zero ProcessStatus before Run begins.
func (m *Monitor) Process() ProcessStatus {
	b := m.run.Load()
	if b == nil {
		return ProcessStatus{}
	}
	now := b.config.Now()
	s := ProcessStatus{
		ID: b.config.ID, Address: b.config.Address, Labels: maps.Clone(b.config.Labels),
		Promise: lock.Promise{TTL: b.config.TTL, Skew: b.config.Skew}, Session: *b.session.Load(),
		Began: true, Stopping: b.stopping.Load(), Witness: b.config.witnessed(), Unhealthy: b.unhealthy(now),
		Late: max(0, now.Mono-time.Duration(b.due.Load())), Limit: b.config.hangLimit(), Errors: map[string]uint64{}, Fences: b.fenceCounts(),
		Beats: b.beats.Load(), BeatsFailed: b.beatsFailed.Load(), BeatTimes: b.beatTimes.Read(),
		Failovers: b.failovers.Read(), Activations: b.activations.Read(), Drains: b.drains.Read(),
		LinesDropped: asynclog.Dropped(b.config.Logger), MovesDropped: b.movesDropped.Load(), EventsDropped: b.annals.missed(),
	}
	if at := b.heard.Load(); at != nil {
		s.Heard, s.Silent = at.wall, now.Most(at.at)
	}
	if e := b.failed.Load(); e != nil {
		s.LastError, s.FailedAt = e.err, e.wall
	}
	for i, o := range errorOutcomes {
		s.Errors[errorKinds[i]] = b.errors[o].Load()
	}
	return s
}

// Roles returns the state of every role, in the order of Config.Roles. There is none before Run
// begins.
func (m *Monitor) Roles() []RoleStatus {
	b := m.run.Load()
	if b == nil {
		return nil
	}
	now, all := b.config.Now(), make([]RoleStatus, len(b.roles))
	for i, r := range b.roles {
		all[i] = b.status(r, now)
	}
	return all
}

// Role returns the state of one role. It is false if the process does not take part in it, or Run
// has not begun.
func (m *Monitor) Role(name string) (RoleStatus, bool) {
	if b := m.run.Load(); b != nil {
		if r := b.byName[name]; r != nil {
			return b.status(r, b.config.Now()), true
		}
	}
	return RoleStatus{}, false
}

// Names returns the names of the roles, in the order of Config.Roles.
func (m *Monitor) Names() []string {
	if b := m.run.Load(); b != nil {
		return b.config.names()
	}
	return nil
}

// ErrorKinds are the kinds of errors of a store: no answer, a refusal that no retry cures,
// another store in its place, and a store that was rolled back.
func ErrorKinds() []string { return slices.Clone(errorKinds[:]) }

var (
	errorKinds    = [...]string{"unanswered", "refused", "other_store", "rolled_back"}
	errorOutcomes = [...]lock.Outcome{lock.Unknown, lock.Refused, lock.OtherStore, lock.RolledBack}
)

// A board is what one Run shows to a Monitor. The loop writes it, and never waits for a reader:
// every value in it is atomic. The methods that write do nothing to a nil board.
type board struct {
	config   Config
	roles    []*roleBoard
	byName   map[string]*roleBoard
	checking *atomic.Pointer[Instant] // the runner's
	annals   *annals                  // the runner's; nil: the store keeps no history

	due      atomic.Int64 // when the loop is to turn next, or, during a turn, when that began; by Instant.Mono
	session  atomic.Pointer[lock.SessionID]
	stopping atomic.Bool
	sick     atomic.Pointer[error] // the last answer of the health check; nil: none yet
	disk     atomic.Pointer[error] // why the canary cannot be written; nil: it has not been yet

	heard, failed      atomic.Pointer[answer]
	errors             [lock.Refused + 1]atomic.Uint64
	beats, beatsFailed atomic.Uint64
	movesDropped       atomic.Uint64
	fences             [len(fenceOutcomes)]atomic.Uint64

	beatTimes, failovers, activations, drains tally.Tally
}

// An answer is the outcome of a call to the store, and when it returned.
type answer struct {
	at   Instant
	wall time.Time
	err  error
}

// A roleBoard is the part of a board about one role.
type roleBoard struct {
	cold  *atomic.Bool // it is not ready
	last  atomic.Pointer[roleMove]
	term  atomic.Pointer[Term] // the one whose work has not returned
	store atomic.Pointer[lock.Term]
	moves [len(causes)]atomic.Uint64

	// Used by the loop alone: the last sign of life of another active, and since when there is
	// none.
	token          lock.Token
	beat           lock.Beat
	lived, vacated Instant
}

// A roleMove is a role's last transition, and when that was by the process's clocks.
type roleMove struct {
	Transition
	at Instant
}

// newBoard returns the board of a Run, or nil if it has no Monitor.
func (r *runner) newBoard() *board {
	if r.config.Monitor == nil {
		return nil
	}
	b := &board{config: r.config, byName: map[string]*roleBoard{}, checking: &r.checking, annals: r.annals}
	now := r.config.Now()
	b.joins("")
	b.due.Store(int64(now.Mono))
	for i, bid := range r.config.Roles {
		one := &roleBoard{cold: &r.cold[i]}
		one.last.Store(&roleMove{Transition{Role: bid.Role, To: Registering, Cause: CauseStarted, At: time.Now()}, now})
		b.roles, b.byName[bid.Role] = append(b.roles, one), one
	}
	r.config.Monitor.run.Store(b)
	return b
}

var errNotChecked = errors.New("the health check has not answered yet")

// unhealthy is why the process is not known to be healthy.
func (b *board) unhealthy(now Instant) error {
	since, last := b.checking.Load(), b.sick.Load()
	switch err := b.unwritten(); {
	case err != nil:
		return err
	case b.config.Healthy == nil:
		return nil
	case since != nil && now.Most(*since) > b.config.hangLimit()/2:
		return errHangs
	case last == nil:
		return errNotChecked
	}
	return *last
}

var errHangs = errors.New("the health check does not return")

func (b *board) status(r *roleBoard, now Instant) RoleStatus {
	last := r.last.Load()
	s := RoleStatus{
		Role: last.Role, State: last.To, Cause: last.Cause, Reason: last.Reason, Since: last.At,
		For: now.Most(last.at), Token: last.Token, Ready: !r.cold.Load(), Lag: b.config.lag(last.Role), Moves: map[Cause]uint64{},
	}
	if t := r.term.Load(); t != nil {
		s.Left = max(0, t.Left())
		s.Outlived = max(0, -t.lease.untilDeadline(now))
	}
	if t := r.store.Load(); t != nil {
		s.Known, s.Holder = true, *t
	}
	for i, c := range causes {
		if n := r.moves[i].Load(); n > 0 {
			s.Moves[c] = n
		}
	}
	return s
}

// turns notes that a turn of the loop begins.
func (b *board) turns(now Instant) {
	if b != nil {
		b.due.Store(int64(now.Mono))
	}
}

// rests notes that the loop turns again after d at the latest, or when something happens.
func (b *board) rests(now Instant, d time.Duration, stopping bool) {
	if b != nil {
		b.due.Store(int64(now.Mono + d))
		b.stopping.Store(stopping)
	}
}

// ends notes that the loop has ended.
func (b *board) ends() {
	if b != nil {
		b.joins("")
		b.due.Store(math.MaxInt64)
	}
}

// joins notes the session that this process has; "": none.
func (b *board) joins(id lock.SessionID) {
	if b != nil {
		b.session.Store(&id)
	}
}

// works notes the term whose work begins; nil: it has returned.
func (b *board) works(role string, t *Term) {
	if b != nil {
		b.byName[role].term.Store(t)
	}
}

// drops notes that OnTransition is not told of a transition.
func (b *board) drops() {
	if b != nil {
		b.movesDropped.Add(1)
	}
}

// answered notes the outcome of something that the loop was waiting for.
func (b *board) answered(now Instant, n news, me lock.SessionID) {
	switch {
	case b == nil || n.call == "":
		return
	case n.call == checks:
		b.checked(n)
		return
	}
	switch o := lock.OutcomeOf(n.err); o {
	case lock.Unknown, lock.Refused, lock.OtherStore, lock.RolledBack:
		b.errors[o].Add(1)
		b.failed.Store(&answer{now, time.Now(), n.err})
	default:
		b.heard.Store(&answer{at: now, wall: time.Now()})
	}
	switch e := n.event.(type) {
	case machine.Beaten:
		if n.err != nil {
			b.beatsFailed.Add(1)
			return
		}
		b.beats.Add(1)
		b.beatTimes.Add(now.Most(e.At))
	case machine.Stood:
		b.byName[n.role].stood(e, me)
	}
}

// stood notes who is active now, and when another active last showed a sign of life.
func (r *roleBoard) stood(e machine.Stood, me lock.SessionID) {
	t := e.Standing.Term
	switch other := t.Holder.Session != me; {
	case other && !t.Vacant():
		if r.token != t.Token || r.beat != t.Holder.Beat && t.Holder.Beat != lock.Absent {
			r.lived, r.token, r.beat = e.At, t.Token, t.Holder.Beat
		}
		r.vacated = Instant{}
	case !r.vacated.IsZero() || r.lived.IsZero():
	case other && (t.End.Why == history.Silent || t.End.Why == history.Fenced):
		r.vacated = r.lived
	default:
		r.vacated = e.At
	}
	if old := r.store.Load(); old == nil || !sameTerm(*old, t) {
		r.store.Store(&t)
	}
}

// pauses notes why a role is now paused that was already paused.
func (b *board) pauses(role string, cause Cause, why error) {
	r := b.byName[role]
	last := *r.last.Load()
	last.Cause, last.Reason = cause, why
	r.last.Store(&last)
}

// moved notes that a role entered another state.
func (b *board) moved(now Instant, t Transition) {
	if b == nil {
		return
	}
	r := b.byName[t.Role]
	r.last.Store(&roleMove{t, now})
	for i, c := range causes {
		if c == t.Cause {
			r.moves[i].Add(1)
		}
	}
	switch {
	case t.From == Draining:
		b.drains.Add(t.After)
	case t.From == Activating && t.To == Active:
		b.activations.Add(t.After)
	}
	if t.To == Active {
		if !r.vacated.IsZero() {
			b.failovers.Add(now.Most(r.vacated))
		}
		r.lived, r.vacated = Instant{}, Instant{}
	}
}
