// Package fencing makes a resource refuse the writes of a process that no longer holds its role.
//
// A process that was paused wakes up and goes on with its very next instruction, which may be a
// write, before anything can tell it that its term is over. No lease and no check in that process
// can prevent it. The resource can: every term has a token that is greater than all earlier ones,
// each write carries it, and the resource refuses a smaller one than it has seen.
//
// # Guards
//
// If the writes go to the store that keeps the role, the store compares the role's own record in
// the step that writes: packages fencingetcd, fencingconsul and fencingraft. A write is refused
// from the moment at which the term is over.
//
// If they go elsewhere, the resource remembers the greatest token that it has seen: package
// fencingsql in the transaction of the write itself, packages fencinghttp and fencinggrpc in
// front of a server. A write is refused from the moment at which the next active has shown its
// token. So a new active must first read through the same guard everything that it needs before
// it writes.
//
// # The memory is part of the resource
//
// The memory of the greatest token must be as durable as what it protects, and be asked in one
// step with the write. A memory that is lost, or restored from a backup, accepts old tokens
// again. [Memory] is good for things that are lost with it, such as a cache.
//
// A token says which term a write belongs to. It does not prove who sends it.
package fencing
