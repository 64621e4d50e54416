// Package lock is the contract between a coordinator and the store that
// decides which one process may work.
//
// # What a store must be
//
// A linearizable compare-and-swap over a few records, and a watch. An
// implementation is straight-line calls to the store: it renews nothing by
// itself, arms no timer, retries nothing blindly and never compares two clocks.
// All of that is written once, above, in package coordinator.
//
// # What it does not promise
//
// A lease bounds overlap only while clocks run at about the same rate and the
// process is scheduled. Nothing but the [Token] protects a resource from a
// process that was paused and comes back, or from a write that a dead process
// had already sent.
//
// # Records
//
// A session is one registration of a contender and carries every role of its
// process. Its record is renewed by beats and is swept by the store's own lease,
// where the store has one, long after everybody is dead. A role's record is
// durable: it names the last term, and during a term nobody writes it. A beat
// and a token are the store's own revisions of the write that made them, never
// a number that a client counts.
//
// # An end is written
//
// A session is over when its end is written, beside the record that is deleted
// in the same step. A record that is merely missing is only silent: its beat is
// [Absent], a beat like any other, and whoever has seen it absent for the whole
// promise may evict on it. A role is vacant when it never had a term, when its
// record says that the term is over, or when the end of the session that it
// names is written.
//
// # A store has an identity
//
// It is a random name, drawn by the first call that writes. A restored store has it,
// whatever address or number of its own it has been given; a wrong one and an empty one
// have not. A [Locker] holds to the identity that it saw first: on a store that does not
// answer to that name Register, Watch, Evict, Ask and Raise fail with [ErrOtherStore],
// and so does whatever else would write there. [Locker.Adopt] gives a store one more
// name; the Locker that is let in by it holds to the store's own from then on.
//
// # What operators decide
//
// A store that can keeps more beside the roles: that a role is paused, what is set for a
// contender, and what happened. Its Locker is an [Operator] then. The decisions are the
// store's to keep and to compare, and stand when every process is dead. Every contender
// heeds them: whoever does not know of them must be kept out by the store's format.
//
// # Outcomes
//
// Errors are told apart by what the caller does next: [ErrHeld] wait, [ErrLost]
// register again, [ErrMoved] and [ErrGone] look again, [ErrRolledBack] do not
// compete, [ErrOtherStore] wait for an operator, [ErrPermanent] give up. After any other
// error the outcome is unknown: the call may have taken effect, or may still take effect
// later, until the session that it acted for is gone.
package lock
