// Package coordinator runs work in one process of many.
//
// # What it does not promise
//
// A lease prevents overlap only while clocks run at about the same rate and the process is
// scheduled. A process that was paused may come back and write, and a write that a dead process had
// already sent may still arrive. Only the token protects a resource from those: pass [Term.Token]
// along with every write, and make the resource refuse a smaller one.
//
// # API
//
// [Run] takes part in some roles through a store, and calls a [Work] for every term that this
// process is granted. It returns when everything that it started has ended. [Config] says who
// contends for what, and how cautiously. A [Term] carries the token and says, at the point of
// use, whether the work may still act. [Observe] follows the active, for clients. A
// [Witness] is a second process that ends the session the moment this one is dead. A
// [Transition] says that a role went from one state to another, and why. A [Monitor] shows
// the current state to probes and metrics.
//
// # Algorithm
//
// Each process registers one session in the store, whatever the number of its roles, and renews it
// with beats. A session that holds a role beats every quarter of the ttl. One that only stands by
// has no deadline to keep, and beats after seven eighths of the ttl; when it takes a role, it beats
// alongside that call. Attempts at a beat are hedged, not backed off: while one is unacknowledged
// another starts, on another member of the store if there is one.
//
// The active's deadline is the start of the call whose beat was acknowledged last, plus ttl, less
// skew. Its work is told to stop a grace before that, and if it still runs at the deadline the
// process exits. Work starts only if more than the grace and the time between two beats is left;
// otherwise it might be stopped at once. If a role was taken, or may have been by a call without an
// answer, and no beat has been acknowledged for a whole ttl since, the session is abandoned. Its
// beats may still be reaching the store, and would hold roles that nobody works in. A session that
// only stands by is abandoned after two ttl.
//
// A standby watches every session that it sees in line. It counts silence from the moment at which it
// received the last change, or from the beginning of the session's term if that is later. It evicts
// only after ttl plus skew, by compare-and-swap on the very beat that it saw. A session that holds no
// role and is in nobody's way gets twice as long. A change is received after it was committed, and
// committed after it was sent, so the active stops before anyone may evict it, and only the rates of
// clocks matter. Each side reads two clocks and believes the one that is worse for itself; see
// [Instant].
//
// A vacant role is taken by TryAcquire, and only its answer is a grant. What a watch shows is a
// hint. The line behind a role is ordered by priority, then by the time of registration. The last
// holder comes last, and a contender that is not ready (Config.Ready) bids below all that are. Rank
// only orders the attempts: the first in line tries at once when the role is vacant, the next 50 ms
// later, and so on. So a role for which nobody is ready is still taken, and no order, right or
// wrong, can make two active.
//
// A role is given back only when its work has returned, and the release is repeated until the
// answer is definite. From the first attempt on, its token is never worked under again.
//
// # Guarantees
//
//  1. Tokens of one role strictly increase, and work starts only under a token that is greater
//     than every one that this process has seen.
//  2. No two processes work at once while their own deadlines are ahead.
//  3. The work of a role is told to stop before its deadline. By the time anyone may evict its
//     session for silence, the work has stopped or the process has exited. The word of an operator
//     or of Config.Fence that the process is dead is taken as true.
//  4. An error never leaves anyone active, and a missing answer never blocks a role for longer than
//     one ttl.
//  5. Nothing that guards, beats, takes over, stops or ends waits for a log, a pipe or a
//     callback other than the work. Log lines and transitions are queued; Healthy, Fence, Ready,
//     Standby and OnTransition run beside the loop. OnDeadline, Exit and the Witness are parts of
//     the guard itself: they must not block.
//
// # Faults, one by one
//
//   - A process crashes: its witness ends its session, and the next in line takes over some
//     milliseconds later. Without a witness it is evicted after ttl plus skew.
//   - It hangs or is stopped: the witness kills it after Config.HangTimeout, and in any case at the
//     deadline while work runs. The guard beside the work does not need the loop to turn.
//   - Its disk hangs: if Config.Canary is on that disk, the work is told to stop as after a loss,
//     and the process takes no role until the disk answers. Work that cannot return is ended at
//     its deadline.
//   - Its host is lost, with its witness: it is evicted after ttl plus skew. With Config.Fence one
//     standby commits its intent in the store, has that host killed, and then evicts it.
//   - It is cut off from the store: it stops by its own clocks, before others may evict it.
//   - Only replies are lost: as if cut off. Beats that still arrive do not keep the role, because
//     the session is closed once the work has returned.
//   - The store is away: for less than [Config.Outage], nothing changes. For longer, the active
//     stops, and everybody is back in line when the store is.
//   - The store was rolled back: nobody who saw a greater token competes until an operator has
//     raised the floor, and an active that the store no longer names stops.
//   - Another store answers in its place: nothing is written there, and nobody works, until the
//     old one is back or an operator adopts the new one.
//   - A session's record is deleted: that is silence, not an end. The active sees it with its
//     next beat, stops, ends its session itself and registers anew.
//   - A role's record is deleted or overwritten: the active stops at once. Standbys that saw the
//     role go on counting its last holder's beats.
//   - The store refuses something for good: Run ends with its reason after a whole ttl, unless
//     there is a role that the store does not refuse.
//   - Two processes have one contender ID: the second is refused while the first one's beat
//     moves. A restart does not wait for its own ghost if that is proved dead: its PID is free, or
//     it has left [Config.LockFile].
//   - The machine sleeps or a clock is slewed: timers count sleep, and each side reads two clocks.
//
// # States
//
// People see one of seven words for a role: in the log, in status, in metrics.
//
//	           vacant, our turn        granted
//	registering ──► standby ──► activating ──► active
//	     ▲             ▲ ▲                        │ stop, handoff, loss, return
//	     │ lost        │ └── paused               ▼
//	     └─────────────┴────────────────────── draining ──► stopped
//
// Internally a role is in one of seven phases (package machine), which say what this process
// may do next. The first row that fits gives the word:
//
//	phase             and the session is     word         meaning
//	Working                                  active       the work runs
//	Stopping, Ceding                         draining     the work is returning, or the role is being given back
//	any               ended or stopping      stopped      nothing more will happen here
//	Retired                                  stopped      the work said that it is done for good
//	any               not registered         registering  not in line yet, or not any more
//	Granted           live                   activating   the store granted the role; the work is about to begin
//	Acquiring         live                   activating   the store is being asked for the role
//	Standby           live                   paused       in line, but does not compete: see below
//	Standby           live                   standby      in line
//
// A role is paused here when an operator has paused it or drained this contender, when its last
// term here ended early, when the process is not known to be healthy, when the store was rolled
// back, or when the store refuses calls about the role for good.
//
// # Files
//
// A pure machine (internal/machine) takes one event and the time and says what to do: read
// session.go, then role.go. One loop (coordinator.go) does it and owns all state; calls.go
// makes the calls to the store; callbacks.go calls the user; canary.go watches the disk. A guard
// (lease.go) beside every term's work ends it on time, whatever the loop is doing. journal.go and
// trouble.go write the log; transition.go and monitor.go inform programs. internal/process
// proves deaths (see also witness.go), internal/clock reads the clocks.
//
// # Tests
//
// internal/machine runs two or three real machines against the real ledger: breadth first and
// by random walks, with messages lost, delayed and repeated, crashes, deletions and clocks that
// drift. Mistakes that are planted in the code must be found (testdata/mutants), and
// testdata/scenarios shows the protocol step by step: begin with handoff.txt. This package's
// own tests run whole virtual days, and compare the log with testdata/golden.
package coordinator
