// Package fencing has a resource refuse what a process writes that no longer holds
// its role.
//
// A process that is paused wakes up and goes on: with the very next instruction, be
// it a write, before anything could tell it that its term is over. No lease and no
// check in that process can prevent it. The resource can: every term has a token
// that is greater than every one before, each write carries it, and the resource
// refuses what carries a smaller one than it has seen.
//
// # Guards
//
// Where the writes go to the store that keeps the role, the store compares the
// role's own record in the step that writes: packages fencingetcd, fencingconsul and
// fencingraft. A write is refused from the moment at which the term is over.
//
// Where they go elsewhere, the resource remembers the greatest token that it has
// seen: package fencingsql in the transaction of the write itself, packages
// fencinghttp and fencinggrpc in front of a server. A write is refused from the
// moment at which the next active has shown its token. So whatever a new active
// reads before it writes, it reads through the same guard, and that first.
//
// # The memory is part of the resource
//
// What remembers the greatest token must be as durable as what it protects, and be
// asked in one step with the write. A memory that is lost, or restored from a backup,
// takes old tokens again. [Memory] is good for what is lost with it, such as a cache.
//
// A token says which term a write belongs to. It is no proof of who sends it.
package fencing
