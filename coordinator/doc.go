// Package coordinator runs work in one process of many.
//
// # What it does not promise
//
// A lease bounds overlap only while clocks run at about the same rate and the
// process is scheduled. Nothing but the token protects a resource from a process
// that was paused and comes back, or from a write that a dead process had
// already sent. Pass [Term.Token] to whatever the work writes to, and have it
// refuse a smaller one.
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
// Inside, a role is in one of seven phases (package machine), which say what this process
// may do next. The first row that fits says which word people see:
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
// Paused is a role that is held down after a failure, whose process is not known to be
// healthy, whose store was rolled back, or about which the store refuses for good what it is
// asked.
//
// # What nothing waits for
//
// Nothing that guards, beats, takes over, stops or ends waits for a log, a pipe or a
// callback other than the work. Log lines are queued; Healthy, Ready and Standby run
// beside the loop.
//
// # In line
//
// The line behind a role is ordered by priority, then by the time of registration, and
// a contender that is not ready (Config.Ready) bids below all that are. Whoever held the
// role last comes last. Rank only orders the tries: the first in line tries at once when
// the role is vacant, the next 50 ms later, and so on. So a role that nobody is ready for
// is taken all the same, and no order, right or wrong, ever makes two active. A contender
// that is not healthy (Config.Healthy) stands in line and does not compete.
// Config.Standby warms up.
//
// # Time
//
// The active's deadline is the moment at which the call began whose beat was
// acknowledged last, plus ttl, less skew. Its work is told to stop a grace before
// that, and if it still runs at the deadline the process exits. Work starts only if
// more than the grace is left. A session of whose beats nothing is heard is given up,
// be it that they arrive: it would hold its roles for nobody. A standby counts
// from the moment at which it received the last change, and evicts only after ttl
// plus skew, by compare-and-swap on the very beat that it saw. Received is after
// committed is after sent: so the active stops before anyone may evict it, and
// only the rates of clocks matter. Each side reads two clocks and believes the one
// that is worse for itself; see [Instant].
//
// # How it is built
//
// A pure machine (internal/machine) takes one event and the time and says what to do. One
// loop (coordinator.go) performs that and owns everything; calls.go makes the calls to the
// store. A guard (lease.go) beside every term's work ends it on time, whatever the loop is
// doing.
package coordinator
