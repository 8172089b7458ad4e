// Package wstest has what tests of WebSockets need: a client that can do wrong, a pair in
// memory, and Run, the suite that every ws.Engine passes.
package wstest
