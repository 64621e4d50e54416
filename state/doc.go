// Package state keeps the state of a role as a replicated log in the role's own store, so that a
// standby knows everything when it takes over.
//
// The user writes a [Machine]: what a command does, and how its state is written down and read
// back. The active appends commands with [Log.Append]. Every contender applies them all the time, in
// the same order. When a term begins, the work is called once this process has applied everything
// that was ever acknowledged.
//
//	log, err := state.Open(ctx, locker, "registry", newRegistry, state.Options{})
//	config.Standby, config.Ready, config.Lag = log.Standby, log.Ready, log.Lag
//	err = coordinator.Run(ctx, locker, config, log.Work(work))
//
// # What holds
//
//   - Append returns nil only if the command is committed, and the term stood in that very commit.
//     It is the store that refuses a term that is over.
//   - What was acknowledged is never lost, and every contender applies the same commands in the same
//     order.
//   - The barrier: a new term first commits a marker of its own. The work is called when that marker
//     has been applied here. So everything that was acknowledged in earlier terms is there, and
//     nothing of them comes after.
//   - What [Log.Read] shows on the active is linearizable while the term is valid, and it says so with
//     an age of zero. On a standby it says how old what it shows may be.
//
// # What does not
//
// The log is for the state of a coordinator, not for data: everything is in the memory of every
// contender, one commit follows the other, and the store's limits are the log's, see [Log.Append].
// That the active's reads are linearizable rests on the promise of its term, and so on the rates of
// clocks; that nothing is lost or written by a stale term does not.
//
// # Records
//
// All is kept under lock.Values; docs/records.md has every field. An entry has a position and the
// commands of one commit. One record, the head, names the last entry, the current snapshot, and
// everything that is still to be deleted. Every commit writes the head on the condition that it is
// as the active knows it, while the term stands. So there is one order of commits, a write that
// arrives late does nothing, and a crash between any two of them leaves nothing that the head does
// not name: the next active goes on from there.
//
// # A command on which the machine panics
//
// The panic is caught, and this process's machine is not used any more. On the active the command
// was not acknowledged yet: it is noted in the head as skipped, the term ends with a [*PanicError],
// and nobody else applies it. A process that dies on the command before it could note that, or a
// machine that panics on what was acknowledged before, by another program for example, leaves the
// command in the log: no process whose machine panics on it becomes active, and each says which
// command it is, by its position. Then start a program that can apply it; or, to drop it for good,
// start one with its position in [Options.Skip].
package state
