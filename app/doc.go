// Package app turns the name on a worker's command line into what the worker serves.
//
// An [App] is an http.Handler. What more it can do it says by interface, as
// http.Flusher does: [Starter] and [Closer] here, and in time the realtime interfaces
// of packages ws and socketio.
//
// [Parse] reads a name, and [Open] opens what it names:
//
//	a, err := app.Open(ctx, "hello", nil)
//
// The rules, in order:
//
//	(none)                         the built-in hello
//	go:PATH python:NAME            says itself
//	paste:FILE.ini[#section]       says itself
//	hello, bench                   a built-in
//	chaussette.util.hello_app      a built-in, by its name in existing Circus files
//	./chat.App, host/mod/chat.App  Go: a slash before its last dot
//	pkg.mod.attr, pkg.mod:attr     Python
package app
