package python

import (
	"encoding/binary"
	"errors"
	"os"

	"github.com/chaussette/chaussette/app/python/marshal"
)

const (
	// inlineBody is the longest body that travels with its request or answer.
	inlineBody = 64 << 10
	// creditEvery is how many consumed bytes are worth a frame. The window is 256 KiB.
	creditEvery = 128 << 10
)

var (
	// ErrChild is what a Sink gets for a request that was in flight when the child
	// ended. The app may have done its work, or a part of it.
	ErrChild = errors.New("python: the child ended")
	// ErrAborted is what a Sink gets where the app failed after its response began.
	ErrAborted = errors.New("python: the app failed in the middle of its response")
	// ErrBusy means that as many requests are in flight as Options.Pending allows, or as the
	// pipe can number.
	ErrBusy = errors.New("python: too many requests in flight")

	errFrameSize = errors.New("python: the child sent a frame longer than 16 MiB")
	errFrame     = errors.New("python: the child sent a frame that makes no sense")
	errFile      = errors.New("python: the open file did not come through: no descriptor is free")
)

// Request is one request as the child gets it.
type Request struct {
	Environ *Environ
	// Body is the whole body; at most 64 KiB.
	Body []byte
	// Stream says that the body comes by Call.Send instead.
	Stream bool
	// File has the body instead, from its offset to its end. It stays the caller's, and the
	// child reads it by itself.
	File *os.File

	// granted says that fd, the client's connection, goes with a request without a body.
	granted bool
	fd      int
}

// Field is a header of a response, as the app wrote it.
type Field struct{ Name, Value string }

// Answer is the head of a response, and its body where it is whole.
type Answer struct {
	// Status is between 200 and 999, Reason what followed it.
	Status int
	Reason string
	Header []Field
	Body   string
	// Ask says that the body is large, and that the app waits: the sink owes it
	// Call.Lend, or Call.Keep. Only in Start.
	Ask bool
}

// Sink takes what comes back for one request. The goroutine that reads the pipe calls
// it, so no method may block; they come one at a time. The order is Answer alone, or
// Start, Data any number of times, End; or File alone; or End alone with an error.
// Credit comes at any time before.
type Sink interface {
	// Answer takes a whole response.
	Answer(*Answer)
	// Start takes the head of a response whose body follows in parts.
	Start(*Answer)
	// Data takes a part of the body. Release it, in any goroutine, once it was used.
	Data(Chunk)
	// File takes a response whose body is length bytes of f from offset on. The sink
	// closes f.
	File(a *Answer, f *os.File, offset, length int64)
	// End comes last where the response came in parts, or failed: ErrChild, ErrAborted.
	End(error)
	// Credit says that n more bytes of the request's body may be sent. The first one
	// comes when the app begins to read, later ones as it goes on.
	Credit(n int)
	// Taken says that the child has read n bytes on the connection that LendBody lent it,
	// and reads no more. err is io.EOF where the client has left, os.ErrDeadlineExceeded
	// where it sent nothing for too long. It comes before the response ends.
	Taken(n int64, err error)
}

// grantee is a Sink whose request was granted the connection.
type grantee interface {
	// begun says that the app writes a response of length bytes itself, in the place of Start. It
	// may be well into it, or through: Data and End follow as they do there.
	begun(status int, length int64)
}

// Call is a request in flight.
type Call struct {
	child *child
	sink  Sink
	id    uint32
	// aborted: the sink has gone, what comes is dropped. Guarded by child.mu.
	aborted bool
	// What Chunk.Release collects until it is worth a frame. Guarded by child.mu.
	owed  int
	slots []uint32
	// final: the answer is complete, the id may be another's. Guarded by child.mu.
	final bool
	// granted: the child has the connection, and may have begun to write on it. Guarded by
	// child.mu.
	granted bool
	// lent: the child writes on the connection itself. Guarded by child.mu.
	lent bool
	// pending is how many bytes of the response the sink has; the child takes the
	// connection to itself again when it has none. Guarded by child.mu.
	pending int
	// What Sent returns. Guarded by child.mu.
	written, made int64
	// mayLend: the child can read the request's body itself. Guarded by child.mu.
	mayLend bool
}

// Abort tells the app that the client has gone. The sink hears nothing more. Calling it
// after the end does nothing.
func (c *Call) Abort() { c.abort() }

// abort is Abort, and reports whether the end had not come.
func (c *Call) abort() bool {
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if c.final || c.aborted {
		return false
	}
	c.aborted = true
	c.child.frameLocked(kindAbort, c.id, nil)
	return true
}

// Send passes a part of the request's body on. The caller obeys Sink.Credit.
func (c *Call) Send(p []byte) {
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if !c.final {
		c.child.frameLocked(kindData, c.id, p)
	}
}

// sendSlot passes n bytes in a slot on; the child gives the slot back.
func (c *Call) sendSlot(slot uint32, n int) {
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if c.final {
		c.child.arena.put(slot)
		return
	}
	var body [8]byte
	binary.LittleEndian.PutUint32(body[:], slot)
	binary.LittleEndian.PutUint32(body[4:], uint32(n))
	c.child.frameLocked(kindLent, c.id, body[:])
}

// CloseSend ends the request's body.
func (c *Call) CloseSend() {
	c.child.mu.Lock()
	defer c.child.mu.Unlock()
	if !c.final {
		c.child.frameLocked(kindEnd, c.id, nil)
	}
}

// Chunk is a part of a response's body.
type Chunk struct {
	call *Call
	data string // where it came in a frame
	slot int32  // where it is in shared memory; -1 otherwise
	size int
}

// Len is how many bytes c holds.
func (c Chunk) Len() int { return c.size }

// Append appends c's bytes to b, for callers who keep them.
func (c Chunk) Append(b []byte) []byte {
	if c.slot < 0 {
		return append(b, c.data...)
	}
	return append(b, c.call.child.arena.slot(uint32(c.slot))[:c.size]...)
}

// bytes are c's, until Release.
func (c Chunk) bytes() []byte {
	if c.slot < 0 {
		return bytesOf(c.data)
	}
	return c.call.child.arena.slot(uint32(c.slot))[:c.size]
}

// writeTo writes c's bytes.
func (c Chunk) writeTo(w stringWriter) (int, error) {
	if c.slot < 0 {
		return w.WriteString(c.data)
	}
	return w.Write(c.call.child.arena.slot(uint32(c.slot))[:c.size])
}

// Release gives c's memory back and lets the app send as much again. Call it once.
func (c Chunk) Release() {
	call := c.call
	call.child.mu.Lock()
	defer call.child.mu.Unlock()
	call.owed += c.size
	call.pending -= c.size
	if c.slot >= 0 {
		call.slots = append(call.slots, uint32(c.slot))
		call.child.arena.release()
	}
	if call.owed >= creditEvery || call.final || call.lent && call.pending == 0 {
		call.creditLocked()
	}
}

// creditLocked sends what Release collected.
func (c *Call) creditLocked() {
	owed := c.owed
	if c.final {
		owed = 0 // the id may be another's by now: only the slots go back
	}
	c.owed = 0
	if owed == 0 && len(c.slots) == 0 {
		return
	}
	var body [8 + 4*16]byte
	b := binary.LittleEndian.AppendUint32(body[:0], uint32(owed))
	b = binary.LittleEndian.AppendUint32(b, 0)
	for _, slot := range c.slots {
		b = binary.LittleEndian.AppendUint32(b, slot)
	}
	c.slots = c.slots[:0]
	c.child.frameLocked(kindCredit, c.id, b)
}

// appendItem appends a request, as batches have them.
func appendItem(b []byte, id uint32, r *Request) []byte {
	b = r.Environ.append(marshal.AppendInt(marshal.AppendTuple(b, 8), int32(id)))
	switch {
	case r.Stream, r.File != nil:
		return marshal.AppendInt(b, -1)
	case r.granted:
		return marshal.AppendTrue(b)
	case len(r.Body) == 0:
		return marshal.AppendNone(b)
	default:
		return marshal.AppendBytes(b, r.Body)
	}
}
