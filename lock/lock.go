package lock

import (
	"context"
	"iter"
	"time"
)

// A Locker is one process's access to one store. It is safe for concurrent use. Every call obeys
// its context within 100 ms, and a call whose context is already done writes nothing.
type Locker interface {
	// Register puts the contender in line for the roles that it bids for, under the session ID in
	// c, which the caller drew for this registration and never uses again. There are six
	// outcomes:
	//
	//  1. The session is registered. If an earlier try of this call had already registered it, the
	//     same step writes a beat.
	//  2. The contender's ID belongs to another session whose record is present:
	//     a *HeldError that names it. A claim whose session is gone is taken over.
	//  3. The end of this session is already written: ErrLost.
	//  4. No try can succeed, for example with bad credentials: ErrPermanent.
	//  5. This is another store than the one that was seen: ErrOtherStore.
	//  6. Anything else: unknown. The session may still join the line, silent, and is evicted like
	//     any other; the next try draws a new ID.
	//
	// A session has no deadline before its first acknowledged Beat.
	Register(ctx context.Context, c Contender, p Promise, bids ...Bid) (Session, error)

	// Watch yields the standing of each named role, or of all roles if none is named: now, and
	// again after every change. It may skip what was overtaken, but never ends on a standing that
	// is stale, and what it yields is never older than what this Locker has already shown or
	// acknowledged. A contender that joins or leaves the line may take up to the line's shortest
	// TTL to show. After an error it goes on when the consumer does, and yields the current
	// standings again, changed or not. An error about one role's record has that role in its
	// Standing; the other roles are still shown. It ends when ctx does; if it could show nothing,
	// it first yields the reason.
	Watch(ctx context.Context, roles ...string) iter.Seq2[Standing, error]

	// Evict writes the end of a session whose beat is still the one that was seen, which may be
	// Absent. It returns nil if the session's end is written, no matter who wrote it, and ErrMoved
	// if another beat was there. It does not check that the session is silent: the caller must
	// know. AnyBeat stands for whichever beat is there: pass it only if you know, and not from the
	// store, that nothing of the session acts any more.
	Evict(ctx context.Context, id SessionID, seen Beat, why End) error

	// Ask puts an operator's request beside the role's record. It names the term that it is about
	// and is void in any other. The session named in it answers with the same request, Answered
	// set; only then does the active act on it. ErrMoved if that term is over, the role is paused,
	// or the answered request was withdrawn or replaced.
	Ask(ctx context.Context, role string, r Request) error

	// Raise makes every future token greater than above, which is at most MaxFloor. It never
	// lowers the floor. It is the way out for a store that was rolled back.
	Raise(ctx context.Context, above Token) error

	// Adopt is an operator's word that this store replaces the one of that identity: from now on
	// it answers to that name too, and clients that have seen the old one accept it. It changes
	// no token: raise the floor if the old store gave greater ones. It may be repeated. Call it
	// on a Locker that has seen no other store.
	Adopt(ctx context.Context, identity string) error

	// Close ends every call and every Watch of this Locker and frees what it
	// holds. It ends no session. It may be repeated, and called from anywhere.
	Close() error
}

// A Session is one registration of a contender. It is safe for concurrent use.
type Session interface {
	// ID returns the ID under which the session was registered.
	ID() SessionID

	// Beat renews the session, and replaces its bids if any are given. nil means that this very
	// call's write was committed, after the call began. A beat never reports another call's write
	// as its own and never creates the record, and every try is a write of its own. ErrLost: the
	// session's record is gone, for good. It comes from the store's transaction alone, never from a
	// keepalive or a broken connection.
	Beat(ctx context.Context, bids ...Bid) error

	// TryAcquire takes the role if it is vacant, and returns the token of the term. On a role that
	// this session already holds it returns that term's token: a successor named by a Handoff, and
	// a caller whose reply was lost, learn of their grant only in this way. A *HeldError says who
	// else holds the role; ErrMoved: a term began or ended since the role was read, or it is
	// paused; ErrLost: this session's record is gone.
	TryAcquire(ctx context.Context, role string) (Token, error)

	// Release ends the term t. nil: t is over, no matter who ended it. A *HeldError: t belongs to
	// another session, and goes on. It needs no living session and touches no other term. From
	// the first Release or Handoff of a token on, the owner never works under that token again.
	Release(ctx context.Context, role string, t Token) error

	// Handoff ends the term t and begins the next one, for the session to, in one commit. nil: this
	// handoff was made, now or before. ErrGone: the session to does not exist or the role is
	// paused, and t goes on. ErrMoved: t is over. ErrLost: this session's record is gone.
	Handoff(ctx context.Context, role string, t Token, to SessionID) error

	// Close releases every role of the session and writes its end. nil: the end is written, no
	// matter who wrote it. Call it only when all work of the session has returned. It needs no
	// living session, and may be repeated.
	Close(ctx context.Context) error
}

// A SessionID is a nonce that names one registration and is never used again.
type SessionID string

// A Token is the fencing token of a term: never zero, the term's own, and greater than that of
// every earlier term of the role, across restarts, changes of the store's leader and deletion of
// the role's record.
type Token uint64

// MaxFloor is the greatest floor that Raise accepts. It leaves enough tokens above it.
const MaxFloor Token = 1 << 62

// A Beat is the store's revision of a session's record. Only equality counts.
type Beat uint64

// Absent is the beat of a session whose record is missing.
const Absent Beat = 0

// AnyBeat is not a beat of any session. To Evict it means whichever beat is there, or Absent.
const AnyBeat Beat = 1<<64 - 1

// A Promise is how long a session may be silent: nobody evicts it before seeing TTL + Skew without
// another beat, on their own clock. It is written in the record of the session and of every role
// that it takes, and is read from there, not from the observer's configuration.
type Promise struct {
	TTL  time.Duration
	Skew time.Duration // the part of TTL left for differing clocks and for killing
}

// A Bid is a role that a session competes for. The line behind a role is ordered by Priority, the
// greatest first, then by the time of registration. A priority that an Operator has set replaces
// Priority.
type Bid struct {
	Role     string
	Priority int
}

// A Contender is a process that competes for roles.
type Contender struct {
	ID      string            // its name, configured: two live processes never share one
	Address string            // where it can be reached; for people and clients: at most MaxAddress bytes
	Labels  map[string]string `json:",omitempty"` // at most MaxLabels, each with a key and a value of at most MaxName bytes
	Session SessionID         // of this registration
	Process Process           `json:",omitzero"`
	Witness bool              `json:",omitempty"` // it has a witness, which ends the session when the process is dead
}

// A Process identifies an operating system process so that its death can be proved: on the same
// boot, in the same PID namespace, the PID is gone or belongs to a process that began at another
// time. The zero Process, and any with a field that could not be read, proves nothing. A
// contender whose work may outlive its process leaves it zero.
type Process struct {
	Boot    string // the kernel's boot ID
	PIDs    string // the PID namespace
	Times   string // the time namespace
	PID     int
	Started string // in the kernel's ticks
}

// A Standing is the store's view of one role. It is a hint, never a grant.
type Standing struct {
	Role    string
	Term    Term     // the last one
	Line    []Member // who stands by, by rank, without the holder
	Request Request  // an operator's request about the term; zero: none
	Floor   Token    // every future token is greater; for a role without a record it includes the store's own count
	Pause   Pause    `json:",omitzero"` // of the role; zero: it is not paused
	Fence   Fence    `json:",omitzero"` // against whoever has the role, silent since that beat; zero: none stands
	Store   string   // the identity of the store that said it; empty: it has none yet
}

// A Term is one tenure of a role by one session.
type Term struct {
	Token  Token  // zero: the role has no record
	Holder Member // its Promise is the session's, or the role's if the session's record is gone
	Since  time.Time
	Over   string // how the term ended; empty while it goes on
	End    End    // of the holder's session; zero while none is written
}

// Vacant reports whether the role could be acquired, were it not paused.
func (t Term) Vacant() bool { return t.Token == 0 || t.Over != "" || t.End != End{} }

// A Member is a contender and its session.
type Member struct {
	Contender
	Promise
	Priority int // of its bid, or set by an operator
	Beat     Beat
	BeatAt   time.Time `json:",omitzero"` // when that was written, by its owner's clock; for people
	Settings Settings  `json:",omitzero"` // what an operator has set for the contender
}

// An End says who ended a session, and why.
type End struct{ By, Why string }

// A Request asks the active to hand the role over to a session.
type Request struct {
	Token    Token // the term that it is about
	To       SessionID
	By       string // who asks; for people
	Answered bool   `json:",omitempty"` // To has seen it; nothing is handed to a session that has not
}

// Unanswered returns r without the answer.
func (r Request) Unanswered() Request {
	r.Answered = false
	return r
}
