package python

import "fmt"

// Mode is how the child runs requests.
type Mode uint8

const (
	// Serial runs one request at a time, on the child's main thread.
	Serial Mode = iota
	// Threads runs Options.Threads requests at once, each on a thread.
	Threads
	// Gevent runs a greenlet a request, with gevent's hub.
	Gevent
	// Eventlet runs a green thread a request, with eventlet's hub.
	Eventlet
	// Tornado runs on the Tornado loop: a WSGI callable one request at a time, a
	// tornado.web.Application as Tornado does.
	Tornado
)

var modeNames = [...]string{"serial", "threads", "gevent", "eventlet", "tornado"}

func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("Mode(%d)", uint8(m))
}
