package lock

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Operator keeps, beside the roles, an operator's decisions about roles and contenders, what
// happened in each role, and who is about to be fenced. A Locker whose store can do so implements it: use a type assertion.
// It is safe for concurrent use. Every call obeys its context as a Locker's does, may be
// repeated, and needs no session. Bad input is ErrPermanent, and nothing is written.
type Operator interface {
	// Pause keeps everybody from taking the role: until it is resumed nobody acquires it, and no
	// handoff of it is made or asked for. Every TryAcquire and Handoff checks that in the
	// transaction in which it writes, so one that began before the pause fails too. The active
	// stays active, and a pending request is withdrawn. The zero Pause resumes; any other one
	// replaces the current one. A pause outlasts every session and every restart.
	Pause(ctx context.Context, role string, p Pause) error

	// Resume ends the pause that was seen, and no other. Call it when its Until has passed. nil: it is
	// over, no matter who ended it. ErrMoved: another one is in force, and nothing was changed.
	Resume(ctx context.Context, role string, seen Pause) error

	// Configure replaces what is set for the contender of that ID. It holds for all its sessions,
	// future ones too, whether or not there is one now. What s does not set is no longer set.
	Configure(ctx context.Context, id string, s Settings) error

	// Configured returns what is set, by the contender's ID. It includes everything that anybody
	// had configured before it began.
	Configured(ctx context.Context) (map[string]Settings, error)

	// Record adds an event to the history of a role. The latest are kept: at most MaxHistory
	// events, and MaxHistorySize bytes of text. An event with the At, By, Kind and Token of one
	// that is already there is not added. It changes no standing.
	Record(ctx context.Context, role string, e Event) error

	// History returns the recorded events of a role, in the order of recording, the oldest first. It
	// includes everything that anybody had recorded before it began.
	History(ctx context.Context, role string) ([]Event, error)

	// Fence writes beside a role's term that a contender is about to have the host of its holder
	// killed, whose last beat was f.Beat. At most one such intent is written for each beat of a
	// session, whatever roles the session holds. nil: this one stands, written now or before.
	// ErrMoved: another contender's stands for that beat, another beat was there, or the term is
	// over. An intent is void, and no standing shows it, once the session has another beat, or has
	// ended. It ends nothing by itself.
	Fence(ctx context.Context, role string, f Fence) error
}

// A Fence is a contender's intent to have the host of a silent holder killed, by its fence command.
type Fence struct {
	Token   Token     // of the term that it is about
	Beat    Beat      // the last one that was seen of its holder; never Absent
	By      string    // the ID of the contender whose fence command runs
	Session SessionID // that contender's
	At      time.Time // when, by the clock of By
}

// IsZero reports whether f is not an intent.
func (f Fence) IsZero() bool { return f.Session == "" }

// Same reports whether f and g are one contender's intent, about one beat.
func (f Fence) Same(g Fence) bool { return f.Session == g.Session && f.Beat == g.Beat }

// A Pause is an operator's decision that nobody may take a role over. The zero Pause is none. The
// store compares no clock: a contender that finds that Until has passed resumes the role.
type Pause struct {
	By    string    // who paused it
	Why   string    // for people
	At    time.Time // when, by the clock of By
	Until time.Time // zero: until it is resumed
	Stop  bool      // the active must stop its work, too
}

// Same reports whether p and q are one pause, ignoring the locations of their times.
func (p Pause) Same(q Pause) bool {
	return p.At.Equal(q.At) && p.Until.Equal(q.Until) && p.By == q.By && p.Why == q.Why && p.Stop == q.Stop
}

// IsZero reports whether there is no pause.
func (p Pause) IsZero() bool {
	return p.By == "" && p.Why == "" && p.At.IsZero() && p.Until.IsZero() && !p.Stop
}

// Settings are what an operator has set for a contender.
type Settings struct {
	By      string    // who drained it; where it is not drained, who set the rest
	At      time.Time // when, by the clock of By
	Drained bool      // it gives up its roles, and takes none

	// Priorities replace those of its bids, by role. A Member of a standing has only that of the
	// standing's role.
	Priorities map[string]int `json:",omitempty"`
}

// IsZero reports whether s sets nothing.
func (s Settings) IsZero() bool { return !s.Drained && len(s.Priorities) == 0 }

// The priorities of a line. A contender that is not ready to take over lowers its bid by NotReady, one whose work in the role
// keeps failing, or has just stalled, by Recovering, and one that is not healthy by NotHealthy: by the greatest that applies.
// That puts it behind all contenders that lower theirs by less, because MaxPriority less NotReady is below the smallest
// priority. Only an unhealthy one takes nothing; the others take the role if nobody before them does.
const (
	MaxPriority = 1 << 28           // the greatest that is configured or set, and its negative the smallest
	NotReady    = 2*MaxPriority + 1 // by how much a bid is lowered
	Recovering  = 2 * NotReady
	NotHealthy  = 3 * NotReady
	lowest      = -1 << 31 // of a drained contender: it comes last
)

// Ready reports whether the member of a line is ready to take over and healthy, as its bid says, its work does not keep failing
// nor has just stalled, and it is not drained.
func (m Member) Ready() bool { return m.Priority >= -MaxPriority }

// Competes reports whether the member of a line takes the role if nobody before it does: it is healthy, as its bid says, and
// not drained.
func (m Member) Competes() bool { return !m.Settings.Drained && m.Lowered() < NotHealthy }

// Lowered is by how much the bid was lowered: 0, NotReady, Recovering or NotHealthy. For a drained contender it is not
// known.
func (m Member) Lowered() int { return min((MaxPriority-m.Priority)/NotReady, 3) * NotReady }

// Apply returns m as a standing of the role shows it: with what is set for its contender. A set
// priority does not make an unready member ready.
func (s Settings) Apply(m Member, role string) Member {
	m.Settings = Settings{By: s.By, At: s.At, Drained: s.Drained}
	if p, ok := s.Priorities[role]; ok {
		m.Settings.Priorities = map[string]int{role: p}
		m.Priority = p - m.Lowered()
	}
	if s.Drained {
		m.Priority = lowest
	}
	if m.Settings.IsZero() { // it sets something for other roles only
		m.Settings = Settings{}
	}
	return m
}

// An Event is something that happened in a role.
type Event struct {
	At       time.Time // by the clock of By
	By       string    // the ID of the contender that reports it
	Kind     string    // one of the kinds below
	Token    Token     `json:",omitempty"` // of the term that it is about
	From     string    `json:",omitempty"` // Began: the ID of the holder of the term before; empty: there was none
	Previous Token     `json:",omitempty"` // Began: the token of that term
	Cause    string    `json:",omitempty"` // one of the causes below
	Detail   string    `json:",omitempty"` // for people: the store's words, who asked
	Parts    []Part    `json:",omitempty"` // what took how long
}

// A Part is a part of an event, and how long it took.
type Part struct {
	Name string
	Took time.Duration
}

// The kinds of events.
const (
	Began  = "began"  // a term
	Ended  = "ended"  // a term
	Outage = "outage" // the store did not answer for more than a beat, and nothing moved
)

// The causes: why a term began or ended.
const (
	CauseFirst     = "first"     // nobody ever had the role
	CauseReleased  = "released"  // its owner gave it back; the owner's own event about the end says why
	CauseStopped   = "stopped"   // its process was told to stop
	CauseDone      = "done"      // its work returned and is finished
	CauseFailed    = "failed"    // its work returned an error, or its process ends with one
	CauseUnused    = "unused"    // it was given back before its work began
	CauseAsked     = "asked"     // an operator asked for a handoff
	CauseDrained   = "drained"   // an operator drained its contender
	CausePaused    = "paused"    // an operator paused the role and stopped its work
	CauseUnhealthy = "unhealthy" // its health check failed
	CauseStalled   = "stalled"   // its work made no progress
	CauseCrashed   = "crashed"   // its process was proven dead
	CauseHung      = "hung"      // its witness killed its process, because it hung or its work outlived the promise
	CauseFenced    = "fenced"    // a fence command said that its host is dead
	CauseEvicted   = "evicted"   // an operator said that it is dead
	CauseSilent    = "silent"    // no beat for the whole promise: lost or cut off, which cannot be told apart
	CauseDeadline  = "deadline"  // its own beats had no answer until the promise ran out
	CauseLost      = "lost"      // its session was ended by another, or its record is gone
)

// The parts that events have, in this order.
const (
	PartSilent = "silent" // began: from the former active's last sign of life until its session was ended, or a standby set out to fence it
	PartFence  = "fence"  // began: from then until its session was ended, because the fence command succeeded; of a term that was silent: because it did not, until the promise was over
	PartNotice = "notice" // began: from then, or from the handoff, until the first attempt at the role
	PartGrant  = "grant"  // began: from then until it was granted
	PartStart  = "start"  // began: from then until the work began
	PartWork   = "work"   // ended: how long the work ran before it was told to stop, or returned
	PartDrain  = "drain"  // ended: from then until the work had returned; in events without a release, until the role was given up

	PartRelease = "release" // ended: from then until the role was given up
	PartOutage  = "outage"  // outage, and began and ended if it was so: from the first call without an answer until the next answer
)

// AddEvent returns a history with one more event, as Record keeps it, and whether it was added.
// It does not change the given one.
func AddEvent(history []Event, e Event) (all []Event, added bool) {
	for _, old := range history {
		if old.At.Equal(e.At) && old.By == e.By && old.Kind == e.Kind && old.Token == e.Token {
			return history, false
		}
	}
	all = append(history[:len(history):len(history)], e)
	size := 0
	for i := len(all) - 1; i >= 0; i-- {
		if size += all[i].size(); size > MaxHistorySize || len(all)-i > MaxHistory {
			return all[i+1:], true
		}
	}
	return all, true
}

// The limits of what an Operator keeps. Text is counted in bytes.
const (
	MaxHistory     = 32       // events of a role
	MaxHistorySize = 8 << 10  // text of a role's events
	MaxText        = 1 << 10  // the why of a pause, the detail of an event
	MaxParts       = 16       // of an event
	MaxSettings    = 32 << 10 // the roles of one contender's priorities, and eight bytes for each
)

// size is how many bytes of text an event has.
func (e Event) size() int {
	n := len(e.By) + len(e.Kind) + len(e.From) + len(e.Cause) + len(e.Detail)
	for _, p := range e.Parts {
		n += len(p.Name)
	}
	return n
}

// CheckPause says what is wrong with a pause. The zero one is valid.
func CheckPause(p Pause) error {
	if p.IsZero() {
		return nil
	}
	err := errors.Join(CheckName("by", p.By), checkText("why", p.Why))
	if !p.Until.IsZero() && !p.Until.After(p.At) {
		err = errors.Join(err, Permanent(fmt.Errorf("until %v: must be after %v, when the pause begins", p.Until, p.At)))
	}
	return err
}

// CheckSettings says what is wrong with what is set for a contender.
func CheckSettings(s Settings) error {
	if s.IsZero() && s.By == "" {
		return nil
	}
	errs, size := []error{CheckName("by", s.By)}, 0
	for role, p := range s.Priorities {
		errs = append(errs, CheckName("role", role))
		if p < -MaxPriority || p > MaxPriority {
			errs = append(errs, Permanent(fmt.Errorf("priority %d of role %q: must be between %d and %d", p, role, -MaxPriority, MaxPriority)))
		}
		size += len(role) + 8
	}
	if size > MaxSettings {
		errs = append(errs, Permanent(fmt.Errorf("priorities: %d roles take %d bytes, the limit is %d: set fewer", len(s.Priorities), size, MaxSettings)))
	}
	return errors.Join(errs...)
}

// CheckFence says what is wrong with an intent to fence.
func CheckFence(f Fence) error {
	err := errors.Join(CheckName("by", f.By), CheckName("session", string(f.Session)))
	if f.Beat == Absent || f.Beat == AnyBeat {
		err = errors.Join(err, Permanent(fmt.Errorf("beat %d: must be the one that was seen, of a record that is there", f.Beat)))
	}
	return err
}

// CheckEvent says what is wrong with an event.
func CheckEvent(e Event) error {
	errs := []error{CheckName("by", e.By), CheckName("kind", e.Kind), checkText("detail", e.Detail)}
	if e.From != "" {
		errs = append(errs, CheckName("from", e.From))
	}
	if e.Cause != "" {
		errs = append(errs, CheckName("cause", e.Cause))
	}
	if e.At.IsZero() {
		errs = append(errs, Permanent(errors.New("at: must say when")))
	}
	if len(e.Parts) > MaxParts {
		errs = append(errs, Permanent(fmt.Errorf("parts: there are %d, the limit is %d", len(e.Parts), MaxParts)))
	}
	for _, p := range e.Parts {
		errs = append(errs, CheckName("part", p.Name))
	}
	return errors.Join(errs...)
}

// checkText says what is wrong with a text for people: it must be at most MaxText bytes of UTF-8
// without unprintable characters, because it is shown on terminals.
func checkText(what, text string) error {
	switch {
	case len(text) > MaxText:
		return Permanent(fmt.Errorf("%s: has %d bytes, the limit is %d", what, len(text), MaxText))
	case !utf8.ValidString(text):
		return Permanent(fmt.Errorf("%s: is not valid UTF-8", what))
	}
	for i, r := range text {
		if !unicode.IsPrint(r) {
			return Permanent(fmt.Errorf("%s: has the unprintable character %U at byte %d", what, r, i))
		}
	}
	return nil
}
