// Package python serves a Python application: WSGI (PEP 3333), so Django, Flask, Pyramid
// and Bottle as well, or a PasteDeploy file.
//
// The app runs in one child process, on the user's own interpreter. The runner that it is
// started with is part of the Go program, needs nothing but Python's standard library,
// and hides itself from the app. Go speaks HTTP; the child sees calls:
//
//	app, err := python.Open(ctx, "mysite.wsgi:application", &python.Options{Mode: python.Gevent})
//	...
//	err = app.Start(ctx)
//	http.ListenAndServe(addr, app)
//
// [App] is an http.Handler. A server that has no goroutine to spare for a request calls
// [App.Submit] instead, and gets the answer by callback; ServeHTTP is one user of it.
//
// # The pipe
//
// Worker and child share one stream socket pair and a piece of memory. Each frame on the
// pair has a header of eight bytes, little endian: u32 length of what follows, u32 kind
// in the upper 8 bits and request id in the lower 24.
//
//	kind         direction  body
//	1 batch      to child   marshal: [(id, PATH_INFO, REQUEST_URI, REMOTE_ADDR, REMOTE_PORT,
//	                        HTTP_HOST, the rest of the environ, body)]; port, host and rest
//	                        None where there is none, body None or bytes up to 64 KiB
//	             to worker  marshal: [(id, status, headers, body)], whole responses; the id
//	                        in the header is 1 where the child's threads wake one another
//	2 data       both       a part of a body
//	3 lent       both       u32 slot, u32 length: a part of a body in shared memory
//	4 end        both       the body is complete; for a response, the request is over, and
//	                        where the connection was lent: u64 written on it, u64 made, and
//	                        24 if it was not sent
//	5 abort      to child   the client has gone, nobody waits for the answer
//	             to worker  the app failed after its response began; as 4
//	6 credit     both       u32 bytes, u32 flag, then u32 slots: consumed, and given back;
//	                        flag 1: the child can read the body on the connection
//	7 shutdown   to child   end after what runs
//	8 module     to child   a line with a name, then the source: the runner's modules
//	9 options    to child   JSON; ends the modules
//	10 open      to child   as 1 with one request, whose body is -1 and follows
//	11 lend      to child   answers 22: u32 flags (1 granted, 2 chunked), then the head
//	12 lend body to child   u32 flags (4 to the end), u32 patience in ms, u64 limit, then
//	                        what was read already
//	13 kept      to child   as 10; the body is a file, whose descriptor was sent before
//	14 grants    to child   as 1; where body is True there is none, and the client's connection
//	                        was sent before: the app may write a response on it
//	15 usual     to child   marshal: {name: value}, what an environ has where 1, 10, 13 and 14
//	                        give nothing else; first of all, and where it changes
//	16 start     to worker  marshal: [(status, headers)], the body follows
//	17 file      to worker  u64 offset, u64 length, then as start; the body is bytes of a
//	                        file, whose descriptor was sent before; the request is over
//	18 log       to worker  JSON: level, message, detail
//	19 hello     to worker  JSON: version of the pipe, Python's, the proof
//	20 ready     to worker  JSON: the app is loaded
//	21 failed    to worker  JSON: it is not, and why
//	22 ask       to worker  as start; the app waits for 11
//	23 taken     to worker  u64 read on the connection, which is given back, u64 why: 0 as
//	                        was said, 1 the client left, 2 it sent nothing, 3 an error,
//	                        4 it did not come through
//	24 begun     to worker  u32 status, u64 length: the app writes the response on the
//	                        connection that 14 granted, head and all
//
// Requests are written as soon as the pair is free; what comes meanwhile forms the next
// batch, which one call of marshal.loads turns into ready dicts. Python does not promise
// the marshal format between its versions, so at start each end decodes a value that it
// knows, and the app is not served where they differ.
//
// A body may have 256 KiB on its way; whoever consumes it says so by credit. A response's
// window is open at once, a request's when the app begins to read: what it never reads
// is never fetched, and a client that waits for 100 Continue gets it then. Parts of more
// than 8 KiB go through shared memory (a memfd of 384 slots of 64 KiB, a third of them for
// requests) while slots are free, and in frames otherwise.
//
// A large body is better off without the worker: it lends the child the client's
// connection for the time of the body, where the server can (plain HTTP/1.1). Its
// descriptor travels on a socket pair of its own, before frame 11 or 12, as that of a file
// does the other way, before frame 17. The child
// writes what the connection takes at once; the rest goes to the worker in frames 2 and
// 3, who waits for the client, and it is the child's turn again when all is credited. Chunks that
// the app makes within half a millisecond go in one call.
// Where the same path was lent the connection the last time, the next request for it comes
// with the connection (14), and the child writes the head as well, if there is nothing unusual
// about it. Before the first byte it marks the request in shared memory (a u16 for each id below
// 4096, behind the slots: the status), so that what was not begun when a child crashes can still
// be answered; and it says so (24) before the first part that the worker is to write, or with the
// end. To read, the child waits itself. Any other head, the
// count of bytes and the connection's life stay with the worker.
//
// An id is free again when its answer is complete. An abort that crosses an answer
// finds nothing to abort.
//
// # The end of a child
//
// The kernel kills the child when its worker ends (PR_SET_PDEATHSIG, Linux), and the
// end of the pair tells it as well. When the child ends unasked, requests in flight get
// 502, and [App.Failed] says so, unless Options.ChildRestart starts another one.
package python
