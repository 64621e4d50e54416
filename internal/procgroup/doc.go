// Package procgroup runs a command, and knows when nothing of it is left.
//
// What descends from a command is the command's, whatever group, session or daemon it
// made of itself. On Linux each command has an init: a small process between this one
// and the command that adopts and reaps whatever the command orphans. It ends when no
// descendant is left, and kills them all when this process is gone, whatever ended it.
// The init is killed itself only by somebody who means it: then the command dies with
// it, and what the command had orphaned becomes this process's child and is killed.
// An init holds its Group's Deadline, too: it kills then, also where this process is
// stopped. If this process and the init are killed together, or both while this process is stopped,
// a Handle still ends the command's process group, but not what has left it. Isolate covers that.
//
// Elsewhere there is no such thing: a command is its process group there, which counts as
// empty when no signal reaches it.
package procgroup

// An ID names a Group for as long as the machine runs. On Linux it is made of its init's
// number and of when that started, elsewhere it is the process group's number.
type ID uint64
