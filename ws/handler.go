package ws

import "net/http"

// Handler is an app that is called when there is something to do, instead of waiting for
// it. For one connection the calls come in order and never two at once: Open, each
// Message, Close. Different connections call at the same time.
//
// A handler may block; it then holds up its own connection and no other. While it does,
// nothing is read from its peer. A panic is logged and closes the connection with
// StatusInternalError.
//
// A Handler may serve one connection (then it can hold what belongs to it, and no map is
// needed) or all.
type Handler interface {
	// Open is called first, once.
	Open(c *Conn)
	// Message is called for each message, text being valid UTF-8. p belongs to the engine
	// and is used again when Message returns: what is to be kept has to be copied.
	Message(c *Conn, typ MessageType, p []byte)
	// Close is called last, once, when the connection has ended and c has left its
	// Groups. err says how, and is never nil.
	Close(c *Conn, err *CloseError)
}

// Acceptor may be implemented by a Handler that is served as an app: it decides on each
// upgrade, as on subprotocols and who may connect. An error refuses: a *RefusedError with
// the status it names, any other with 403. Options may be nil.
type Acceptor interface {
	AcceptWebSocket(r *http.Request) (*AcceptOptions, error)
}

// App may be implemented by an app that is not a Handler itself, because its own Close
// means something else for example: it returns the one that serves its connections.
type App interface {
	WebSocket() Handler
}

// HandlerOf returns the Handler of an app: the app itself, or that of an App; nil if it
// is neither.
func HandlerOf(app any) Handler {
	switch a := app.(type) {
	case Handler:
		return a
	case App:
		return a.WebSocket()
	}
	return nil
}

// Serve upgrades the request and has h called from then on. It returns as soon as the
// connection is open; the http.Handler that calls it should return then. On an error the
// client has been answered.
func Serve(w http.ResponseWriter, r *http.Request, options *AcceptOptions, h Handler) (*Conn, error) {
	c, err := Accept(w, r, options)
	if err != nil {
		return nil, err
	}
	c.Serve(h)
	return c, nil
}
