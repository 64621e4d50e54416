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
// A lease prevents overlap only while clocks run at about the same rate and
// the process is scheduled. A process that was paused may come back and
// write, and a write that a dead process had already sent may still arrive.
// Only the [Token] protects a resource from those.
//
// # Records
//
// A session is one registration of a contender and carries every role of its
// process. Its record is renewed by beats and is swept by the store's own lease,
// where the store has one, long after everybody is dead. A role's record is
// durable: it names the last term, and during a term nobody writes it. Beats and
// tokens are the store's own revisions of the writes that made them, never
// numbers that a client counts.
//
// # An end is written
//
// A session is over when its end is written; the same step deletes its record.
// A record that is merely missing is only silent: its beat is [Absent], a beat
// like any other, and a session that has been seen absent for its whole promise
// may be evicted. A role is vacant when it never had a term, when its record
// says that the term is over, or when the end of its holder's session is
// written.
//
// # A store has an identity
//
// It is a random name, drawn by the first call that writes. A restored store keeps it,
// whatever its new address or cluster number; a wrong store and an empty one do not have
// it. A [Locker] holds to the identity that it saw first: on a store that does not
// answer to that name Register, Watch, Evict, Ask and Raise fail with [ErrOtherStore],
// and so does every other call that would write. [Locker.Adopt] gives a store one more
// name; a Locker that accepts it by that name holds to the store's own identity from
// then on.
//
// # What operators decide
//
// Some stores keep more beside the roles: that a role is paused, what is set for a
// contender, and what happened. The Locker of such a store is an [Operator]. The store
// keeps these decisions and compares them, so they hold even when every process is dead.
// Every contender heeds them, so the store's format must keep out one too old to know
// them.
//
// # Values
//
// Some stores keep small values beside the roles: their Locker is a [Values]. Once the writer's
// term is over, the store itself refuses a write, in the very commit that would make it.
// Package state keeps a replicated log there.
//
// # Outcomes
//
// Errors are told apart by what the caller does next: [ErrHeld] wait, [ErrLost]
// register again, [ErrMoved] and [ErrGone] look again, [ErrRolledBack] do not
// compete, [ErrOtherStore] wait for an operator, [ErrPermanent] give up. After any other
// error the outcome is unknown: the call may have taken effect, or may still take effect
// later, until the session that it acted for is gone.
package lock
