package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/chronicle"
	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/coordinator/internal/process"
	"github.com/understudy-ha/understudy/internal/asynclog"
	"github.com/understudy-ha/understudy/lock"
)

// Run takes part in the roles of c through l until ctx is done, and does work for every term that
// it is granted. It blocks, and returns only when everything that it started has ended; it does
// not close l. Nothing that it does for the roles waits for c's Logger, Healthy, Fence, Ready,
// Standby or OnTransition. If one of the last five has not returned Grace after Run was over, Run's error
// is ErrNotReturned and names it, and it is left behind.
//
// When ctx is done, Run tells the work to stop, waits for it within the stop timeout with beats
// going on, gives the roles back and returns nil. It also returns nil when the work of every role
// is done for good. It returns a *lock.HeldError when another living process has c's ID, or, with
// Exclusive, a role of c; an error that wraps lock.ErrPermanent when no try can succeed; and what
// is wrong with c before anything is written. An unreachable store does not end Run: it goes on
// trying.
//
// No try can succeed when the store refuses the registration for good, or, once registered,
// refuses for a whole TTL to renew the session or to do anything about each role whose work does
// not run. The store's reason is logged when that begins.
//
// Work that has not returned when the promise is over ends the process, unless
// c.NoExit is set.
func Run(ctx context.Context, l lock.Locker, c Config, work Work) error {
	c = c.Defaults()
	if err := errors.Join(c.check(), c.checkFence(l)); err != nil {
		return err
	}
	c.Logger = asynclog.Logger(c.Logger)
	defer asynclog.Flush(c.Logger, asynclog.ExitFlush)
	if err := c.callWitness(); err != nil {
		return fmt.Errorf("witness: %w", err)
	}
	defer c.Witness.Close()
	r := &runner{
		config: c, locker: l, work: work,
		news: make(chan news), slots: make(chan struct{}, roleCalls), quit: make(chan struct{}),
		terms: map[string]*tenure{}, told: map[string]*tenure{}, warm: map[string]*warmup{}, cold: make(coldness, len(c.Roles)), failures: map[string]error{}, standings: map[string]lock.Standing{}, answering: map[string]bool{},
		pauses: map[string]expiry{}, stalled: map[string]*stall{},
		journal: newJournal(c), troubles: newTroubles(c), refusals: map[string]error{},
	}
	r.machine = machine.New(c.rules(rand.Text()), c.names()...)
	if err := r.takeLockFile(); err != nil {
		return err
	}
	defer r.locked.Close()
	if operator, ok := l.(lock.Operator); ok {
		r.annals = &annals{chronicle.New(c.ID, c.BeatEvery(), c.names()...), operator}
	}
	r.board = r.newBoard()
	r.renew(1)
	return r.run(ctx)
}

// A runner performs what the machine decides. Its fields belong to run's goroutine alone; what
// calls and works report comes as events.
type runner struct {
	config  Config
	locker  lock.Locker
	work    Work
	machine *machine.Machine
	journal journal
	troubles

	calls  context.Context // the parent of every call to the store
	stop   context.Context // for a registration: a stop does not wait for it
	slots  chan struct{}   // for calls about one role: a thousand at once would hold up a beat
	news   chan news
	quit   chan struct{}
	group  sync.WaitGroup
	asked  callbacks         // to the user, besides the work
	moves  *moves            // nil: nobody is told
	board  *board            // nil: there is no Monitor
	annals *annals           // nil: the store keeps no history
	locked *process.Lockfile // nil: there is no lock file

	exiting  sync.Once
	checking atomic.Pointer[Instant] // since when a health check has not returned

	number    int          // of the registration that session and lease belong to
	session   lock.Session // nil until registered
	lease     *lease
	watching  bool
	terms     map[string]*tenure
	told      map[string]*tenure // terms whose work was told to stop
	warm      map[string]*warmup
	cold      coldness   // written by askReady
	bidden    []lock.Bid // the bids that were sent last
	untold    int        // how many more acknowledged beats must carry them
	standings map[string]lock.Standing
	answering map[string]bool   // a request is being answered, by role
	pauses    map[string]expiry // those that end by themselves, by role
	err       error             // what Run returns
	why       error             // of the last failed call that could be reported
	refusals  map[string]error  // why the store refuses a role, by role
	failures  map[string]error  // the last failure of a role's work
	unwell    error             // the last answer of the health check
	registers int               // registrations that have not returned
	sent      bool              // one of them may have reached the store
	doubt     bool              // one was given up for a stop; whether it had a connection is not known
	lingers   bool              // it was said that a stop waits for the session's end
	disk      error             // why the canary cannot be written
	dead      lock.SessionID    // the session that had our ID and whose process is proven dead
	fenced    lock.SessionID    // the session whose host is dead, as our fence command said last
	stalled   map[string]*stall // how a role's last work stalled, by role
}

// A tenure is one term's work.
type tenure struct {
	cancel   context.CancelCauseFunc
	returned chan struct{}
	over     atomic.Bool  // the work returned, or the store names another term
	progress atomic.Int64 // when the work last made some, by Instant.Mono
	advanced atomic.Bool  // it has made some

	given time.Duration // to return, when it was told to stop; 0: it was not
	late  bool          // it was logged that half of it is over
}

func (r *runner) run(ctx context.Context) (err error) {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.calls = calls
	defer func() {
		cancel()
		close(r.quit)
		r.moves.close()
		r.group.Wait()
		err = errors.Join(err, r.asked.wait(r.config.Grace))
	}()
	if r.config.Healthy != nil {
		r.asked.run("Healthy", r.check)
	}
	r.watchCanary()
	if r.config.Ready != nil {
		r.askReady()
	}
	r.tellMoves()
	for _, b := range r.config.Roles {
		r.warmUp(b.Role)
	}
	r.stop = ctx
	r.loop(ctx.Done())
	r.endHistory()
	return r.err
}

// loop shows the machine what happens, and does what it says, until it is over.
func (r *runner) loop(done <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer r.board.ends()
	for !r.machine.Over() {
		n := news{event: machine.Tick{}}
		select {
		case n = <-r.news:
			r.take(n)
		case <-timer.C:
		case <-done:
			done, n.event = nil, machine.Stop{}
		}
		now := r.config.Now()
		r.board.turns(now)
		r.board.answered(now, n, r.machine.ID(r.number))
		r.note(now, n)
		r.keepHistory(now, n)
		if r.checking.Load() == nil {
			r.config.Witness.Pulse()
		}
		actions := r.machine.Step(now, n.event)
		r.publish()
		r.warmAgain(n)
		r.tellHeld(n)
		for _, a := range actions {
			r.do(a)
		}
		r.hangs(now, r.checking.Load())
		r.tell(now)
		wait := min(r.machine.Wake(r.config.Now()), r.journal.next(now), r.warnLate(now), r.pulseEvery(), r.writeHistory(now))
		timer.Reset(wait)
		r.board.rests(now, wait, r.machine.Session().Stopping)
	}
}

// renew begins the lease of a new registration.
func (r *runner) renew(number int) {
	r.number, r.session, r.lease = number, nil, newLease(r.config)
	r.board.joins("")
}

// publish copies what the loop knows to where others read it without asking the loop.
func (r *runner) publish() {
	s := r.machine.Session()
	if s.Number != r.number {
		r.renew(s.Number)
	}
	if old := r.lease.deadline.Load(); !s.Deadline.IsZero() && (old == nil || *old != s.Deadline) {
		r.lease.deadline.Store(&s.Deadline)
		r.config.Witness.Deadline(s.Deadline)
		r.config.OnDeadline(s.Deadline)
	}
	if !s.LostAt.IsZero() {
		r.lease.lose(s.LostAt)
		r.board.joins("")
	}
}

// news is an event and what the machine need not know about it.
type news struct {
	event   machine.Event
	call    string // what returned, as in the log; "": nothing that the coordinator called
	role    string // the one it was about, if any
	err     error
	session lock.Session
}

// post hands news to the loop, and drops them if the loop has ended.
func (r *runner) post(n news) {
	select {
	case r.news <- n:
	case <-r.quit:
	}
}

// take keeps what the machine need not know.
func (r *runner) take(n news) {
	switch e := n.event.(type) {
	case machine.Stood:
		r.standings[n.role] = e.Standing
		r.answer(n.role)
		r.resumeLater(e.Standing)
		r.learnEnd(e.Standing.Term)
	case machine.Registered:
		r.doubted(n.err)
		if e.Dead {
			r.dead = e.Holder.Session
		}
		if n.err != nil {
			r.why = n.err
		} else if e.Number == r.number {
			r.session, r.why = n.session, nil
			r.board.joins(n.session.ID())
			r.watch()
		}
	case machine.Beaten:
		if e.Number == r.number {
			r.beaten(n.err)
		}
	case machine.Closed:
		if n.err == nil && e.Number == r.number {
			r.config.Witness.Session("")
		}
		r.tellClosing(n.err)
	case machine.Fenced:
		r.endFence(e, n)
		return
	case machine.Stalled:
		if v := r.machine.Role(e.Role); v.Phase == machine.Working && v.Token == e.Token {
			r.stalled[e.Role] = &stall{r.config.Now(), r.terms[e.Role]}
		}
	case machine.Wrote:
		r.disk = n.err
		r.tellDisk(n.err)
	case machine.Checked:
		r.unwell = n.err
		r.tellHealth(n.err)
	case machine.Returned:
		close(r.terms[e.Role].returned)
		delete(r.terms, e.Role)
		delete(r.told, e.Role)
		r.board.works(e.Role, nil)
		if r.failures[e.Role] = n.err; n.err != nil && e.How == machine.Failed {
			r.journal.ended(r.config.Now(), e.Role, n.err)
		}
		return
	}
	switch n.call {
	case checks: // told already
		return
	case answers:
		if delete(r.answering, n.role); n.err != nil {
			r.answer(n.role)
		}
	}
	switch outcomeOf(n.err) {
	case lock.Refused:
		r.refused(n)
	case lock.Unknown:
	default:
		return
	}
	r.config.Logger.Debug("call failed", "id", r.config.ID, "call", n.call, "role", n.role, "error", n.err)
}

// do performs one action. None of them blocks.
func (r *runner) do(a machine.Action) {
	switch a := a.(type) {
	case machine.Register:
		r.register(a)
	case machine.Start:
		r.start(a)
	case machine.Fence:
		r.fence(a)
	case machine.Cancel:
		t := r.terms[a.Role]
		r.told[a.Role] = t
		if errors.Is(a.Cause, ErrSuperseded) {
			t.over.Store(true)
		}
		if cause := a.Cause; errors.Is(cause, ErrStopping) {
			t.cancel(r.whyStop())
		} else {
			t.cancel(cause)
		}
	case machine.Exit:
		r.exit()
	case machine.Fail:
		r.fail(a)
	default:
		r.call(a)
	}
}

// start begins the work of a term, with a guard beside it that needs no loop.
func (r *runner) start(a machine.Start) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.calls))
	t := &tenure{cancel: cancel, returned: make(chan struct{})}
	r.terms[a.Role] = t
	lease := r.lease
	term := Term{Role: a.Role, Token: a.Token, lease: lease, tenure: t}
	ctx = context.WithValue(ctx, termKey{}, term)
	r.board.works(a.Role, &term)
	warm := r.warm[a.Role]
	r.config.Witness.Working(1)
	r.group.Go(func() { lease.guard(t.returned, cancel, r.exit) })
	r.group.Go(func() {
		err := errNoReturn
		defer func() {
			if lease.untilExit(r.config.Now()) <= 0 { // this process was stopped meanwhile, and the guard has not seen it yet
				r.exit()
			}
			t.over.Store(true)
			r.config.Witness.Working(-1)
			e := machine.Returned{Role: a.Role, Number: a.Number, How: machine.Done}
			switch {
			case ctx.Err() != nil:
				if e.How = machine.Cancelled; errors.Is(context.Cause(ctx), ErrStalled) {
					err = errors.Join(ErrStalled, err)
				}
			case err != nil:
				e.How = machine.Failed
			}
			cancel(nil)
			r.post(news{event: e, err: err})
		}()
		late := warm.end(r.config.Grace)
		if term.Left() <= r.config.Grace { // it took its time, and the guard may have slept
			cancel(ErrDeadline)
		}
		if late != nil || ctx.Err() != nil {
			err = late
			return
		}
		r.watchProgress(ctx, term)
		err = r.work(ctx, term)
	})
}

// errNoReturn is the error of work that ended its goroutine, as runtime.Goexit does.
var errNoReturn = errors.New("it ended its goroutine instead of returning")

// fail notes why Run gives up.
func (r *runner) fail(a machine.Fail) {
	switch a.Why {
	case machine.NotRegistered:
		r.err = r.why
	case machine.AllRefused:
		r.err = r.refusals[a.Role]
	case machine.RoleTaken:
		t := r.standings[a.Role].Term
		r.err = &lock.HeldError{Name: a.Role, Holder: t.Holder, Token: t.Token}
	}
}
