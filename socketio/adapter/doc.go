// Package adapter says who fans out to rooms: for one namespace it knows which sockets
// are in which rooms, and brings packets to them, on this worker and, depending on the
// adapter, on others.
//
// [Memory] is the adapter of a worker that is alone. The others build upon it: it keeps
// what is local.
package adapter
