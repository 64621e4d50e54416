// Package witness ends the session of a process the moment it is dead: the kernel reports a crash
// or a hang in milliseconds, without waiting for the ttl.
//
// The witness is a child of the process that it watches, the same program started again, in a
// session and process group of its own; signals that end its parent's group or terminal do not
// end it. It gets its parent's pidfd, and only that says that the parent is gone: nothing is
// inferred from the network, or from a pipe that a grandchild may hold open. It then ends exactly
// this session, through a connection that it has kept open all along.
//
// It also enforces the deadline. The moment until which work may run, and whether any runs, are
// in a page of memory that both processes share; the coordinator writes it and never waits. At
// the deadline, and when the coordinator or its health check has made no step for
// Config.HangTimeout, the witness kills the process: first kill, then wait until it is gone, then
// end the session, never the other way round. It kills before it says so, and never waits for its
// log. A witness that was itself stopped looks at the deadline first when it goes on, and counts
// no silence of the time in which it did not run.
//
// # What it does not protect from
//
// What the dead process had already sent may still arrive after its successor has read: a request
// in a socket's buffer, a statement that a database is working on. The ttl used to hide that.
// Only the token, checked where the write arrives, protects.
//
// If the witness dies too, as when a whole cgroup is killed, the ttl is the bound, as without
// one. A witness that ended is replaced at once, and one that was stopped within ten seconds; the log
// says when the new one stands by. If the process is stopped within that time, nothing stops its work
// until it wakes, except for groups that have a [procgroup.Deadline]. Processes that the work started outlive the eviction,
// unless they belong to a group that was named to [Witness.Guard]. With Config.NoExit the witness
// kills nothing: a hang then costs the ttl, and works may overlap for as long as the hang lasts.
//
// Only Linux has what this needs, since 5.4: elsewhere Start returns an error that wraps
// errors.ErrUnsupported, and coordinator.Run goes on without a witness.
package witness
