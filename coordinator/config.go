package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/coordinator/internal/clock"
	"github.com/understudy-ha/understudy/coordinator/internal/machine"
	"github.com/understudy-ha/understudy/lock"
)

// Work is what only one contender may do at a time. It is called once for every term, with a
// context that ends when the role is lost, handed over or stopped; context.Cause says which, and
// TermOf finds the term in it. It must return soon after: "returned" means that nothing it
// started still acts. A nil error before the context has ended means that the role's work is done
// for good; any other means that it failed, and that the role is competed for again, after a
// pause that grows. Work that ends its goroutine with runtime.Goexit instead of returning has
// failed, too.
type Work func(ctx context.Context, t Term) error

// Why a term's context ended; see context.Cause. If Run gives up, or its own context has a cause,
// the work gets an error that is ErrStopping and wraps that cause, too.
var (
	ErrStopping    = machine.ErrStopping
	ErrHandoff     = machine.ErrHandoff
	ErrDeadline    = machine.ErrDeadline
	ErrSessionLost = machine.ErrSessionLost
	ErrSuperseded  = machine.ErrSuperseded
	ErrUnhealthy   = machine.ErrUnhealthy
	ErrDrained     = machine.ErrDrained
	ErrPaused      = machine.ErrPaused
	ErrStalled     = machine.ErrStalled
)

// ErrNotReturned is in Run's error if one of Config's functions has not returned Grace after Run was over.
// The roles were given back before.
var ErrNotReturned = errors.New("has not returned")

// Asked reports whether a term that ended for this cause was asked to end. Its work then has the
// stop timeout to return, with beats going on; after any other cause it has the grace.
func Asked(cause error) bool { return machine.Asked(cause) }

// An Instant is one reading of the machine's clocks, each counted from its own start.
type Instant = machine.Instant

// Clocks reads the machine's clocks.
func Clocks() Instant { return clock.Now() }

// Virtual is an Instant by time.Now on every clock.
func Virtual() Instant {
	d := time.Duration(time.Now().UnixNano())
	return Instant{Mono: d, Raw: d, Boot: d}
}

// ExitCode is the process's exit code when work outlives the promise.
const ExitCode = 75

// A Config says who contends for what, and how cautiously. A zero field means its default.
type Config struct {
	ID      string            // unique among living contenders
	Address string            // where clients reach this process; may be empty; at most lock.MaxAddress bytes
	Labels  map[string]string // at most lock.MaxLabels, each with a key and a value of at most lock.MaxName bytes
	Roles   []lock.Bid

	TTL         time.Duration // how long the store's promise lasts after a beat: 100 ms to 12 h, default 10 s
	Skew        time.Duration // the part of TTL for differing clocks and for killing: default ttl/100 + min(50 ms, ttl/10)
	Grace       time.Duration // for work to return after a loss: 10 ms to 2 s, default min(2 s, ttl/5)
	StopTimeout time.Duration // for work to return after a stop or handoff that was asked for: from 10 ms on, default 30 s

	// Exclusive refuses to stand by: Run ends with a *lock.HeldError when another
	// contender holds a role and its beat moves.
	Exclusive bool

	// ExclusiveRoles are the roles for which Exclusive holds when it is false.
	ExclusiveRoles []string

	// Outlives says that work may outlive this process, as a command that it started may. A
	// restart under the same ID then never takes the death of the process for the end of its
	// work, and waits out the promise.
	Outlives bool

	// NoExit turns off the exit when work outlives the promise: the work may then overlap with a
	// successor's, and only the token protects.
	NoExit bool

	// Exit is called in place of os.Exit(ExitCode). It must end all work before it returns, and
	// must not block.
	Exit func()

	// Witness ends the session when this process is dead, and kills the process when it hangs, or
	// works on after the deadline. It serves one Run only. With NoExit it kills nothing. nil:
	// there is none, and a crash or a hang costs the ttl.
	Witness Witness

	// OnDeadline is told, as the witness is, until when work may run, each time that this moves
	// on. It is for anything else that must end the work when this process is stopped and no
	// witness is left. It is called by one goroutine and must not block. nil: nothing is told.
	OnDeadline func(at Instant)

	// HangTimeout is how long the witness leaves a coordinator alive that makes no step, or whose
	// health check does not return: 100 ms to 12 h, default ttl/2 or 100 ms; negative: until work
	// outlives the deadline. A process that beats has no such end: if its health check hangs and
	// HangTimeout is negative, or there is no Witness, it keeps its roles, and only the log says so.
	HangTimeout time.Duration

	// Healthy is called every HealthEvery, one call at a time: from 100 ms, or BeatEvery if that
	// is less, to 12 h, by default every BeatEvery. While its last answer is an error, or it has
	// not answered yet, this process does not compete, hands over what it holds, and is in line
	// behind all others, so that a handoff to the first in line does not go to it. A call that
	// does not return is a hang. Its context ends with Run.
	Healthy     func(ctx context.Context) error
	HealthEvery time.Duration

	// Fence kills the host of an active that is silent, for example through its power supply or its
	// hypervisor. It returns nil only if that host is dead: then this process vouches for it, and the
	// active's session is ended at once, unless it beat meanwhile. It is called when no beat was seen
	// for five eighths of the active's TTL, the last quarter of it after the store answered us.
	// For each such silence one standby calls it, whose intent was committed in the store, and only if
	// it would take the role itself. Its context ends with the active's promise, or with Run; after
	// that, and after an error, the promise counts. A host that beats again while Fence runs may be
	// killed all the same. Nothing waits for it. It needs a lock.Operator. nil: only the promise counts.
	Fence func(ctx context.Context, holder lock.Contender) error

	// Watchdog is how long work may go without a call of Term.Progress, counted while this process runs:
	// from 100 ms to TTL; 0: without limit. Work that exceeds it has stalled: its context ends with
	// ErrStalled, and it has the Grace to return, as after a loss; then the process exits, unless NoExit
	// is set. A stall is a failure of the work. For a minute, or until it next makes progress, this
	// process is in line for the role behind all others.
	Watchdog time.Duration

	// Canary is a directory on the disk that work needs; empty: there is none. A small file in it
	// is written over and synced all the time, by a goroutine that nothing waits for. When no write
	// has returned for the Watchdog's time, or without one for half of TTL, the disk hangs: work is
	// told ErrStalled, and has the Grace to return. While the disk hangs, or a write fails, this
	// process is not healthy, as after an error of Healthy. Run returns an error if the first write
	// fails, and leaves a write behind that still hangs when it ends. A full disk is noticed only
	// where writing over a file takes room.
	Canary string

	// LockFile is a file on a local disk, or on a tmpfs, that no other contender uses; empty: there is none. Run makes it, and
	// locks it as long as this process lives, or a process that it has started since and that has not closed what it inherited.
	// So a process that gets the lock does not wait for the promise of one that had it before, even if that ran in another PID
	// namespace: in a container that was killed with its witness and is started again, with the file on a volume. If others have
	// the lock, Run goes on without, and says so. It returns an error if the file cannot be written, or is another program's.
	LockFile string

	// Standby warms up for a role while its work does not run here: it fills a cache, or follows
	// the active's log. It is called when Run begins and after every term, one call at a time for
	// each role, and always before the work. Its context ends when a term of the role begins,
	// which may be at once, or when Run is to end; it must return soon after. The work waits for
	// that, for at most Grace: then the activation has failed. nil means that it is done until
	// the next term has ended; after an error it is called again, a beat later.
	Standby func(ctx context.Context, role string) error

	// Ready is called every BeatEvery and says whether this process is ready to take over a role;
	// nil: always. While it says false the process is in line behind all that are ready, whatever
	// their priority: it takes over only if none of them does. Others see a change within about a
	// ttl. Nothing waits for it; until its first answer this process is not ready.
	Ready func(role string) bool

	// Lag says how old this process's copy of a role's state may be, for Monitor to show, and so for
	// metrics: zero where it is active, the longest Duration where it has none yet, negative where the
	// role has no such state. nil: no role has. Every caller of Monitor calls it, concurrently, so it
	// must not block. state.Log.Lag is such a function.
	Lag func(role string) time.Duration

	Heartbeat time.Duration // between two log lines with the roles' states: from 100 ms on, default 10 s

	// OnTransition is told every change of a role's state, one call at a time and in order, for
	// an event bus or a label that follows the active. It is called from a goroutine of its own,
	// and nothing waits for it: up to 1,024 transitions are queued, the rest are dropped, and
	// Transition.Missed counts them. At its end Run waits for it for at most Grace.
	OnTransition func(Transition)

	// Monitor shows the state of this process and its roles to probes and metrics; package admin
	// serves it. nil: nothing is kept for one.
	Monitor *Monitor

	// Logger is slog.Default by default. Nothing waits for its handler, which is called from a
	// goroutine of its own: up to 1,024 lines are queued, each with the time at which it was
	// logged, and the rest are dropped and counted. At its end Run waits for it for 200 ms.
	Logger *slog.Logger

	// Now reads the clocks; by default those of the machine. Virtual fits a testing/synctest
	// bubble.
	Now func() Instant

	machine bool // Now reads the clocks of the machine
}

// The limits of a TTL.
const (
	MinTTL = 100 * time.Millisecond
	MaxTTL = 12 * time.Hour
)

const (
	// minHang is the shortest HangTimeout: a process that merely waits for a processor must not
	// look hung. It is also the shortest time between two health checks or two heartbeats.
	minHang = 100 * time.Millisecond

	// minStop is the shortest time in which work can be told to stop, and stop.
	minStop = 10 * time.Millisecond
)

// minWatchdog is the shortest Watchdog, for the same reason.
const minWatchdog = 100 * time.Millisecond

// Defaults returns c with the default in every zero field that has one.
func (c Config) Defaults() Config {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&c.TTL, 10*time.Second)
	set(&c.Skew, c.TTL/100+min(50*time.Millisecond, c.TTL/10))
	set(&c.Grace, min(2*time.Second, c.TTL/5))
	set(&c.StopTimeout, 30*time.Second)
	set(&c.Heartbeat, 10*time.Second)
	set(&c.HangTimeout, max(c.TTL/2, minHang))
	set(&c.HealthEvery, c.BeatEvery())
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now, c.machine = Clocks, true
	}
	if c.OnDeadline == nil {
		c.OnDeadline = func(Instant) {}
	}
	return c
}

// hangLimit is how late a turn of the loop may be before the loop counts as hung.
func (c *Config) hangLimit() time.Duration {
	if c.HangTimeout < 0 {
		return c.TTL
	}
	return c.HangTimeout
}

// rules are the machine's rules for c.
func (c Config) rules(nonce string) machine.Rules {
	return machine.Rules{
		Nonce: nonce, TTL: c.TTL, Skew: c.Skew, Grace: c.Grace, StopTimeout: c.StopTimeout,
		BeatEvery:  c.BeatEvery(),
		IdleEvery:  c.IdleEvery(),
		Try:        c.Try(),
		HedgeFirst: 50 * time.Millisecond,
		HedgeCalm:  max(50*time.Millisecond, c.TTL/32),
		HedgeNext:  min(c.TTL/10, 100*time.Millisecond),
		Retry:      c.retry(),
		Turn:       50 * time.Millisecond,
		HoldFirst:  250 * time.Millisecond,
		HoldMost:   time.Minute,
		CloseFor:   min(c.TTL, max(5*time.Second, closeTrips*c.Try())), // after the promise, others end it
		Exclusive:  c.exclusive(),
		Gated:      c.Healthy != nil,
		Disk:       c.disk(),
		Fences:     c.Fence != nil,
	}
}

// retry is the pause before anything but a beat is tried again.
func (c Config) retry() time.Duration { return min(c.TTL/10, 100*time.Millisecond) }

// exclusive are the roles for which this process does not stand by.
func (c Config) exclusive() []string {
	if !c.Exclusive {
		return c.ExclusiveRoles
	}
	return c.names()
}

// names are the names of the roles.
func (c Config) names() (all []string) {
	for _, b := range c.Roles {
		all = append(all, b.Role)
	}
	return all
}

// BeatEvery is the time between two beats of a process that holds a role, or is taking one.
func (c Config) BeatEvery() time.Duration { return c.TTL / 4 }

// IdleEvery is the time between two beats of a process that only stands by. It is a little less
// than a promise, so that a restart under its ID, which waits for one promise without a beat,
// sees that it lives.
func (c Config) IdleEvery() time.Duration { return c.TTL - c.TTL/8 }

// Try is how long one call to the store may take before it is given up: an eighth of the TTL, at
// least 100 ms if that is within a beat, and at most 5 s. The first attempt at a beat may take
// twice that, and a registration six times.
func (c Config) Try() time.Duration {
	return min(max(c.TTL/8, min(c.BeatEvery(), 100*time.Millisecond)), 5*time.Second)
}

// Outage is the longest outage of the store that changes nothing.
func (c Config) Outage() time.Duration {
	return c.TTL - c.BeatEvery() - c.Try() - c.Skew - c.Grace
}

// Validate says everything that is wrong with c, whose defaults are set. Every line names the
// field, its value, the limit, and what to write instead.
func (c Config) Validate() error {
	errs := []error{lock.CheckName("id", c.ID), lock.CheckAddress(c.Address), lock.CheckLabels(c.Labels)}
	if len(c.Roles) == 0 {
		errs = append(errs, errors.New("role: none given; name at least one"))
	}
	seen := map[string]bool{}
	for _, b := range c.Roles {
		errs = append(errs, lock.CheckName("role", b.Role))
		if b.Priority < -MaxPriority || b.Priority > MaxPriority {
			errs = append(errs, fmt.Errorf("priority %d of role %q: must be from %d to %d", b.Priority, b.Role, -MaxPriority, MaxPriority))
		}
		if seen[b.Role] {
			errs = append(errs, fmt.Errorf("role %q: given twice", b.Role))
		}
		seen[b.Role] = true
	}
	for _, name := range c.ExclusiveRoles {
		if !seen[name] {
			errs = append(errs, fmt.Errorf("exclusive role %q: is not one of the roles", name))
		}
	}
	return errors.Join(append(errs, c.ValidateTimes())...)
}

// ValidateTimes is the part of Validate about durations. Each error is a lock.FieldError.
func (c Config) ValidateTimes() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, lock.InFields(fmt.Errorf(format, args...), field))
	}
	if c.TTL < MinTTL || c.TTL > MaxTTL {
		bad("TTL", "%v must be from %v to %v", c.TTL, MinTTL, MaxTTL)
		return errors.Join(errs...)
	}
	if least := c.TTL/100 + 5*time.Millisecond; c.Skew < least {
		bad("Skew", "%v must be at least ttl/100 + 5ms = %v; leave it out for the default", c.Skew, least)
	}
	within := func(field string, d, least, most time.Duration) { // most 0: there is no limit
		if most == 0 && d < least {
			bad(field, "%v must be at least %v; leave it out for the default", d, least)
		} else if most > 0 && (d < least || d > most) {
			bad(field, "%v must be from %v to %v; leave it out for the default", d, least, most)
		}
	}
	if c.Watchdog != 0 && (c.Watchdog < minWatchdog || c.Watchdog > c.TTL) {
		bad("Watchdog", "%v must be from %v to ttl = %v; leave it out for none", c.Watchdog, minWatchdog, c.TTL)
	}
	within("Grace", c.Grace, minStop, 2*time.Second)
	within("StopTimeout", c.StopTimeout, minStop, 0)
	if c.HangTimeout >= 0 {
		within("HangTimeout", c.HangTimeout, minHang, MaxTTL)
	}
	within("HealthEvery", c.HealthEvery, min(minHang, c.BeatEvery()), MaxTTL)
	within("Heartbeat", c.Heartbeat, minHang, 0)
	if c.Outage() <= 0 {
		bad("TTL", "%v: ttl/4 + one try + skew + grace must be less than ttl, but %v + %v + %v + %v = %v; raise ttl, or lower grace or skew",
			c.TTL, c.BeatEvery(), c.Try(), c.Skew, c.Grace, c.TTL-c.Outage())
	}
	return errors.Join(errs...)
}

// MaxPriority is the greatest priority of a role's bid, and its negative the smallest.
const MaxPriority = lock.MaxPriority

// Ready reports whether the member of a line is ready to take over, healthy, and not drained; see
// Config.Ready and Config.Healthy.
func Ready(m lock.Member) bool { return m.Ready() }
