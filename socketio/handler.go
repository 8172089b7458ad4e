package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// Event is one event of a client.
type Event struct {
	Name string
	Args Args

	socket *Socket
	id     uint64
	wants  bool // an acknowledgement
	acked  bool
}

// WantsAck tells whether the client waits for an acknowledgement.
func (e *Event) WantsAck() bool { return e.wants }

// Ack acknowledges the event; it does nothing if the client does not wait for that, or
// was answered. It must not be called by two goroutines at once.
func (e *Event) Ack(args ...any) error {
	if !e.wants || e.acked {
		return nil
	}
	e.acked = true
	return e.socket.sendAck(e.id, args)
}

// handler is a function of the app's, made ready to be called with events.
type handler struct {
	raw      func(*Socket, *Event) error // if it has this type
	fn       reflect.Value
	params   []param
	types    []reflect.Type // of the parameters
	results  int            // without the error
	fails    bool           // the last result is an error
	acksSelf bool           // it takes the *Event
	waits    bool           // it takes a context: it may wait for the client
}

type param byte

const (
	paramContext param = iota
	paramSocket
	paramEvent
	paramArg
	paramRest // the variadic one
)

var (
	typeContext = reflect.TypeFor[context.Context]()
	typeSocket  = reflect.TypeFor[*Socket]()
	typeEvent   = reflect.TypeFor[*Event]()
	typeError   = reflect.TypeFor[error]()
)

// newHandler checks fn's type and panics if an event cannot be passed to it: that is the
// app's mistake, and shows at its start.
func newHandler(event string, fn any) *handler {
	if raw, ok := fn.(func(*Socket, *Event) error); ok {
		return &handler{raw: raw}
	}
	h := &handler{fn: reflect.ValueOf(fn)}
	t := h.fn.Type()
	if t.Kind() != reflect.Func {
		panic(fmt.Sprintf("socketio: the handler of %q is a %v, not a function", event, t))
	}
	for i := range t.NumIn() {
		in := t.In(i)
		h.types = append(h.types, in)
		switch {
		case in == typeContext:
			h.params = append(h.params, paramContext)
			h.waits = true
		case in == typeSocket:
			h.params = append(h.params, paramSocket)
		case in == typeEvent:
			h.params = append(h.params, paramEvent)
			h.acksSelf = true
		case t.IsVariadic() && i == t.NumIn()-1:
			h.params = append(h.params, paramRest)
		case in.Kind() == reflect.Func || in.Kind() == reflect.Chan || in.Kind() == reflect.UnsafePointer:
			panic(fmt.Sprintf("socketio: the handler of %q wants a %v, which no client can send", event, in))
		default:
			h.params = append(h.params, paramArg)
		}
	}
	h.results = t.NumOut()
	if n := t.NumOut(); n > 0 && t.Out(n-1) == typeError {
		h.fails = true
		h.results--
	}
	return h
}

// call decodes the arguments of e for the function and calls it. The error is the
// function's, or says which argument it could not be given.
func (h *handler) call(s *Socket, e *Event) (results []any, err error) {
	if h.raw != nil {
		return nil, h.raw(s, e)
	}
	in := make([]reflect.Value, 0, 8)
	next := 0
	for i, p := range h.params {
		switch p {
		case paramContext:
			in = append(in, reflect.ValueOf(s.Context()))
		case paramSocket:
			in = append(in, reflect.ValueOf(s))
		case paramEvent:
			in = append(in, reflect.ValueOf(e))
		case paramArg:
			v, err := decodeArg(e, next, h.types[i])
			if err != nil {
				return nil, err
			}
			in = append(in, v)
			next++
		case paramRest:
			for ; next < len(e.Args); next++ {
				v, err := decodeArg(e, next, h.types[i].Elem())
				if err != nil {
					return nil, err
				}
				in = append(in, v)
			}
		}
	}
	out := h.fn.Call(in)
	if h.fails {
		if failed, ok := out[h.results].Interface().(error); ok {
			return nil, failed
		}
	}
	for _, v := range out[:h.results] {
		results = append(results, v.Interface())
	}
	return results, nil
}

// decodeArg makes argument i of e a t; its zero value if the client has sent less.
func decodeArg(e *Event, i int, t reflect.Type) (reflect.Value, error) {
	v := reflect.New(t)
	if i < len(e.Args) {
		if err := e.Args[i].Unmarshal(v.Interface()); err != nil {
			return v, &Error{Message: fmt.Sprintf("%s: argument %d: %s", e.Name, i+1, plain(err))}
		}
	}
	return v.Elem(), nil
}

// plain says what a client did wrong without the names of our types.
func plain(err error) string {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		if mismatch.Field != "" {
			return fmt.Sprintf("%s is a %s, which does not fit", mismatch.Field, mismatch.Value)
		}
		return fmt.Sprintf("a %s does not fit", mismatch.Value)
	}
	return "it does not fit"
}
