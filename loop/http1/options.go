package http1

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"

	"github.com/chaussette/chaussette/server/limits"
)

// Options say how a Server serves. Handler has to be there, the rest may be zero.
type Options struct {
	// Handler takes what Direct leaves.
	Handler http.Handler
	// Goroutines says that the Handler is slow as a rule: it is called on a goroutine from the
	// start. What is left for the loop to call never blocks then, and is not watched.
	Goroutines bool
	// Direct takes requests on the loop; nil takes none.
	Direct Direct
	Limits limits.Limits
	// Hold is the longest body, in bytes, that is left with the system until it has come whole,
	// where it is longer than [DirectBody]: the Handler is called then, and its request's Body has
	// a method Held() bool, which says so. Where it does not come so, the Handler is called
	// all the same, and reads as it comes. 0 holds none; nor is one held that comes in chunks,
	// or on a socket that is not TCP.
	Hold int64
	// HoldTotal is how many bytes of bodies may be held at once, until their Handlers have returned;
	// those beyond are not. 0 is limits.HoldTotal.
	HoldTotal int64
	// Loops is how many event loops there are, if Group is nil: 0 is one for every two
	// processors.
	Loops int
	// Context is where requests have their contexts from; nil is the background.
	Context context.Context
	// Carried is how many connections others have that count against the limit; nil is none.
	Carried func() int
	// AccessLog gets a line for each request; nil is none.
	AccessLog *slog.Logger
	// Log gets the rest: a panic with its stack, a limit that bit. Nil is slog.Default.
	Log *slog.Logger
}

func (o *Options) withDefaults() Options {
	w := *o
	w.Limits = w.Limits.WithDefaults()
	w.Context = cmp.Or(w.Context, context.Background())
	w.HoldTotal = cmp.Or(w.HoldTotal, limits.HoldTotal)
	w.Log = cmp.Or(w.Log, slog.Default())
	if w.Carried == nil {
		w.Carried = func() int { return 0 }
	}
	return w
}

// Direct takes requests on the event loop.
type Direct interface {
	// ServeDirect is called with a request whose body, of up to [DirectBody] bytes, has come
	// whole. It returns false for one that is the Handler's; nothing was done with it then.
	// Otherwise x is answered by its Answer, or by Start and End, now or later, from any
	// goroutine. It must not block.
	ServeDirect(x *Exchange) bool
}

// DirectBody is the longest body that a Direct gets, in bytes. A longer one, one in chunks
// and one for which the client waits to be asked are the Handler's.
const DirectBody = 64 << 10
