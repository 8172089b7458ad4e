package python

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/chaussette/chaussette/app/python/marshal"

	"golang.org/x/sys/unix"
)

// pipe is the state of a child's pipe: what is to be written, and who waits for what.
type pipe struct {
	reads atomic.Uint64 // counts what was read
	begun chan struct{} // has a value after the first request in flight

	spread   atomic.Bool   // the child's threads wake one another
	narrowed chan struct{} // has a value when they do not do so any more

	mu sync.Mutex
	// out is what is to be written, in order. The batch that begins at batch (-1:
	// none) is its end, so further requests join it.
	out, spare []byte
	batch      int
	count      int // of requests in that batch
	writing    bool
	receiving  bool // frames wait until what has come is handled
	closed     bool
	calls      []*Call // by id
	ids        []uint32
	live       int
	told       *addressName // what the child knows for usual; nil: nothing yet
	granted    int          // responses that were begun on a connection which came with the request
}

func (p *pipe) init() {
	p.batch = -1
	p.begun = make(chan struct{}, 1)
	p.narrowed = make(chan struct{}, 1)
}

// notify puts a value into c, if none is there.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// submit sends a request. Whether it fails or not, it does not block.
func (c *child) submit(r *Request, sink Sink) (*Call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	call, err := c.addLocked(r, sink)
	if err == nil {
		c.flushLocked()
	}
	return call, err
}

// EndRound implements loop.Rounder: it sends what add has added.
func (c *child) EndRound() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.writing && !c.receiving {
		c.writing = true
		c.writeOutLocked()
	}
}

// addLocked puts a request into the batch.
func (c *child) addLocked(r *Request, sink Sink) (*Call, error) {
	call := &Call{child: c, sink: sink}
	switch {
	case c.closed:
		return nil, ErrChild
	case c.opts.Pending > 0 && c.live >= c.opts.Pending:
		return nil, ErrBusy
	case len(c.ids) == 0 && len(c.calls) > maxID:
		return nil, ErrBusy
	case r.File != nil:
		if err := c.passFileLocked(r.File); err != nil {
			return nil, err
		}
	}
	switch {
	case len(c.ids) > 0:
		call.id = c.ids[len(c.ids)-1]
		c.ids = c.ids[:len(c.ids)-1]
		c.calls[call.id] = call
	default:
		call.id = uint32(len(c.calls))
		c.calls = append(c.calls, call)
	}
	if c.live++; c.live == 1 {
		notify(c.begun)
	}
	if at := c.usual.Load(); at != c.told {
		c.told = at
		begin := len(c.out)
		c.out = appendUsual(appendHeader(c.out, kindUsual, 0, 0), at)
		binary.LittleEndian.PutUint32(c.out[begin:], uint32(len(c.out)-begin-headerSize))
		c.batch = -1
	}
	if r.Stream || r.File != nil {
		begin := len(c.out)
		k := kindOpen
		if r.File != nil {
			k = kindKept
		}
		c.out = appendItem(openItems(c.out, k, call.id, 1), call.id, r)
		closeItems(c.out, begin, 1)
		c.batch = -1
	} else {
		if c.batch < 0 || len(c.out)-c.batch > 4*inlineBody {
			c.batch, c.count = len(c.out), 0
			c.out = openItems(c.out, kindBatch, 0, 0)
		}
		if r.granted && c.grantLocked(call, r.fd) {
			setKind(c.out, c.batch, kindGrants)
		} else {
			r.granted = false
		}
		c.out = appendItem(c.out, call.id, r)
		c.count++
		closeItems(c.out, c.batch, c.count)
	}
	return call, nil
}

// frameLocked queues a frame and writes it if the pipe is free.
func (c *child) frameLocked(k kind, id uint32, body []byte) {
	if c.closed {
		return
	}
	c.out = appendFrame(c.out, k, id, body)
	c.batch = -1
	c.flushLocked()
}

// flushLocked writes what is queued, unless someone is at it: what comes meanwhile
// forms the next batch.
func (c *child) flushLocked() {
	if c.writing || c.receiving {
		return
	}
	c.writing = true
	// Others that are ready to run have requests as well: what they add now goes with
	// the same write, and costs the child a third less for each (measured).
	c.mu.Unlock()
	runtime.Gosched()
	c.mu.Lock()
	c.writeOutLocked()
}

// writeOutLocked writes what is queued, for who has set writing.
func (c *child) writeOutLocked() {
	for len(c.out) > 0 && !c.closed {
		out := c.out
		c.out, c.spare, c.batch = c.spare[:0], nil, -1
		c.mu.Unlock()
		c.link.write(out)
		c.mu.Lock()
		if cap(out) <= 16*inlineBody {
			c.spare = out[:0]
		}
	}
	c.writing = false
}

// receive handles what was read: all frames that are complete. What is left waits for more.
// What is to be written meanwhile goes in one go.
func (c *child) receive(b []byte) error {
	c.reads.Add(1)
	c.mu.Lock()
	c.receiving = true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.receiving = false
		if !c.writing {
			c.writing = true
			c.writeOutLocked()
		}
		c.mu.Unlock()
	}()
	if len(c.tail) > 0 {
		c.tail = append(c.tail, b...)
		b = c.tail
	}
	for {
		k, id, body, rest, ok, err := splitFrame(b)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := c.frame(k, id, body); err != nil {
			return fmt.Errorf("%w (kind %d, request %d, %d bytes)", err, k, id, len(body))
		}
		b = rest
	}
	if cap(c.tail) > 16*inlineBody && len(b) <= inlineBody {
		c.tail = nil // a large frame was long ago
	}
	c.tail = append(c.tail[:0], b...)
	return nil
}

// frame handles one frame. body is only valid during the call.
func (c *child) frame(k kind, id uint32, body []byte) error {
	switch k {
	case kindBatch:
		if spread := id != 0; spread != c.spread.Load() {
			c.spread.Store(spread)
			if !spread {
				notify(c.narrowed)
			}
		}
		return c.answers(string(body))
	case kindStart, kindFile, kindAsk:
		return c.start(k, id, string(body))
	case kindData, kindLent:
		return c.data(k, id, body)
	case kindEnd:
		return c.end(id, body, nil)
	case kindAbort:
		return c.end(id, body, ErrAborted)
	case kindTaken:
		return c.taken(id, body)
	case kindBegun:
		return c.responseBegun(id, body)
	case kindCredit:
		return c.credit(id, body)
	case kindLog:
		var record struct{ Level, Message, Detail string }
		if json.Unmarshal(body, &record) != nil {
			return errFrame
		}
		level := slog.LevelInfo
		_ = level.UnmarshalText([]byte(record.Level))
		if record.Detail != "" {
			c.log.Log(context.Background(), level, record.Message, "traceback", record.Detail)
		} else {
			c.log.Log(context.Background(), level, record.Message)
		}
		return nil
	case kindHello:
		return c.hello(body)
	case kindReady:
		var ready struct{ App string }
		if json.Unmarshal(body, &ready) != nil {
			return errFrame
		}
		c.app = ready.App
		c.report(nil)
		return nil
	case kindFailed:
		var failed struct {
			Message, Detail string
			Missing         bool
		}
		if json.Unmarshal(body, &failed) != nil {
			return errFrame
		}
		c.report(&LoadError{Reason: failed.Message, Traceback: failed.Detail, Missing: failed.Missing})
		return nil
	}
	return errFrame
}

func (c *child) report(err error) {
	select {
	case c.ready <- err:
	default:
	}
}

// take returns the request id. final ends it.
func (c *child) take(id uint32, final bool) (call *Call, drop bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.takeLocked(id, final)
}

func (c *child) takeLocked(id uint32, final bool) (call *Call, drop bool) {
	if int(id) >= len(c.calls) || c.calls[id] == nil {
		return nil, true
	}
	call = c.calls[id]
	if final {
		call.final = true
		c.calls[id] = nil
		c.ids = append(c.ids, id)
		c.live--
		if len(call.slots) > 0 {
			call.creditLocked()
		}
	}
	return call, call.aborted
}

// answers handles a batch of whole responses.
func (c *child) answers(in string) error {
	var d marshal.Decoder
	d.Reset(in)
	n, list := d.List()
	type entry struct {
		id   int
		bad  error
		call *Call
		drop bool
		Answer
	}
	entries := make([]entry, n)
	fields := make([]Field, 0, 4*n)
	for i := range entries {
		e := &entries[i]
		four, mark := d.List()
		if four != 4 {
			return errFrame
		}
		e.id = d.Int()
		fields, e.bad = readHead(&d, &e.Answer, fields)
		e.Body, _ = d.Bytes()
		d.Close(mark)
	}
	d.Close(list)
	if err := d.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	for i := range entries {
		e := &entries[i]
		e.call, e.drop = c.takeLocked(uint32(e.id), true)
	}
	c.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		switch {
		case e.call == nil:
			return errFrame
		case e.drop:
		case e.bad != nil:
			c.log.Error("the app sent a response that HTTP does not allow", "error", e.bad)
			e.call.sink.Answer(badAnswer())
		default:
			e.call.sink.Answer(&e.Answer)
		}
	}
	return nil
}

// start handles the head of a response in parts, or of a file.
func (c *child) start(k kind, id uint32, in string) error {
	var file *os.File
	var offset, length uint64
	if k == kindFile {
		if len(in) < 16 {
			return errFrame
		}
		file = c.receivedFile()
		offset, length = binary.LittleEndian.Uint64([]byte(in[:8])), binary.LittleEndian.Uint64([]byte(in[8:16]))
		in = in[16:]
	}
	var d marshal.Decoder
	d.Reset(in)
	one, list := d.List()
	two, mark := d.List()
	a := new(Answer)
	var bad error
	if one == 1 && two == 2 {
		_, bad = readHead(&d, a, nil)
	}
	d.Close(mark)
	d.Close(list)
	if k == kindFile && file == nil && bad == nil {
		bad = errFile
	}
	if one != 1 || two != 2 || d.Err() != nil || int64(offset) < 0 || int64(length) < 0 {
		if file != nil {
			file.Close()
		}
		return errFrame
	}
	call, drop := c.take(id, k == kindFile)
	switch {
	case errors.Is(bad, errFile):
		c.log.Error("the app's response is lost", "error", bad)
		a = badAnswer()
	case bad != nil:
		c.log.Error("the app sent a response that HTTP does not allow", "error", bad)
		a = badAnswer()
	}
	switch {
	case drop || bad != nil && k == kindFile:
		if file != nil {
			file.Close()
		}
		if !drop {
			call.sink.Answer(a)
		}
	case file != nil:
		call.sink.File(a, file, int64(offset), int64(length))
	case bad != nil:
		// The app still runs: what follows is dropped, as after an abort.
		call.sink.Answer(a)
		call.Abort()
	default:
		a.Ask = k == kindAsk
		call.sink.Start(a)
	}
	return nil
}

// responseBegun handles that the app writes on the connection that was granted, or has done so.
func (c *child) responseBegun(id uint32, body []byte) error {
	call, drop := c.take(id, false)
	if call == nil || len(body) != 12 {
		return errFrame
	}
	sink, ok := call.sink.(grantee)
	status, length := int(binary.LittleEndian.Uint32(body)), int64(binary.LittleEndian.Uint64(body[4:]))
	if !ok || status < 200 || length < 0 {
		return errFrame
	}
	c.mu.Lock()
	call.granted, call.lent = false, true
	c.granted++
	c.mu.Unlock()
	if !drop {
		sink.begun(status, length)
	}
	return nil
}

// grantLocked sends the connection fd before the request of call. false: the child gets none.
func (c *child) grantLocked(call *Call, fd int) bool {
	if c.arena == nil || call.id >= marks || c.closed {
		return false
	}
	clear(c.arena.mark(call.id))
	call.granted = c.passLocked(fd) == nil
	return call.granted
}

// markedLocked returns the status of a response that a child which has crashed had begun on the
// connection that it was granted, without its having been heard of; 0 where there is none.
func (c *child) markedLocked(call *Call) int {
	if !call.granted {
		return 0
	}
	return int(binary.LittleEndian.Uint16(c.arena.mark(call.id)))
}

// data handles a part of a response's body.
func (c *child) data(k kind, id uint32, body []byte) error {
	call, drop := c.take(id, false)
	if call == nil {
		return errFrame
	}
	chunk := Chunk{call: call, slot: -1, size: len(body)}
	if k == kindLent {
		if len(body) != 8 || c.arena == nil {
			return errFrame
		}
		slot, size := binary.LittleEndian.Uint32(body), binary.LittleEndian.Uint32(body[4:])
		if slot < requestSlots || slot >= requestSlots+responseSlots || size > slotSize {
			return errFrame
		}
		chunk.slot, chunk.size = int32(slot), int(size)
		c.arena.hold()
	} else if !drop {
		chunk.data = string(body)
	}
	c.mu.Lock()
	call.pending += chunk.size
	c.mu.Unlock()
	if drop {
		chunk.Release()
	} else {
		call.sink.Data(chunk)
	}
	return nil
}

func (c *child) end(id uint32, body []byte, err error) error {
	if len(body) == 28 {
		if err := c.responseBegun(id, body[16:]); err != nil {
			return err
		}
		body = body[:16]
	}
	call, drop := c.take(id, true)
	if call == nil || len(body) != 0 && len(body) != 16 {
		return errFrame
	}
	if len(body) == 16 {
		c.mu.Lock()
		call.written = int64(binary.LittleEndian.Uint64(body))
		call.made = int64(binary.LittleEndian.Uint64(body[8:]))
		c.mu.Unlock()
	}
	if !drop {
		call.sink.End(err)
	}
	return nil
}

// credit handles bytes and slots of a request's body that the child is done with.
func (c *child) credit(id uint32, body []byte) error {
	if len(body) < 8 || len(body)%4 != 0 {
		return errFrame
	}
	for slots := body[8:]; len(slots) > 0; slots = slots[4:] {
		c.arena.put(binary.LittleEndian.Uint32(slots))
	}
	c.mu.Lock()
	call, drop := c.takeLocked(id, false)
	if call != nil && binary.LittleEndian.Uint32(body[4:]) == 1 {
		call.mayLend = true
	}
	c.mu.Unlock()
	if !drop {
		call.sink.Credit(int(binary.LittleEndian.Uint32(body)))
	}
	return nil
}

// taken handles the end of a lending of a request's body.
func (c *child) taken(id uint32, body []byte) error {
	call, drop := c.take(id, false)
	if call == nil || len(body) != 16 {
		return errFrame
	}
	n := int64(binary.LittleEndian.Uint64(body))
	var err error
	switch binary.LittleEndian.Uint32(body[8:]) {
	case 0:
	case 1:
		err = io.EOF
	case 2:
		err = os.ErrDeadlineExceeded
	case 4:
		err = ErrNotLent
	default:
		err = unix.ECONNRESET
	}
	if n < 0 {
		return errFrame
	}
	if !drop {
		call.sink.Taken(n, err)
	}
	return nil
}

// fail ends all that is in flight.
func (c *child) fail(err error) {
	c.mu.Lock()
	c.closed = true
	calls := c.calls
	c.calls, c.live = nil, 0
	begun := make([]int, len(calls))
	for i, call := range calls {
		if call != nil {
			call.final = true
			begun[i] = c.markedLocked(call)
		}
	}
	c.mu.Unlock()
	for i, call := range calls {
		if call == nil || call.aborted {
			continue
		}
		if begun[i] > 0 {
			call.sink.(grantee).begun(begun[i], 0)
		}
		call.sink.End(err)
	}
}

// hello checks that both ends mean the same by their bytes.
func (c *child) hello(body []byte) error {
	var hello struct {
		Version            int
		Python, Executable string
		Read               bool
		Proof              string
	}
	if json.Unmarshal(body, &hello) != nil {
		return errFrame
	}
	proof, err := hex.DecodeString(hello.Proof)
	switch {
	case err != nil:
		return errFrame
	case hello.Version != version:
		c.report(&LoadError{Reason: fmt.Sprintf("the child speaks version %d of the pipe, the worker %d", hello.Version, version)})
	case !hello.Read || !proofAnswers(string(proof)):
		c.report(&LoadError{Reason: fmt.Sprintf("Python %s (%s) reads or writes the marshal format differently: please report this, and use another version of Python meanwhile", hello.Python, hello.Executable)})
	default:
		c.log.Info("python "+hello.Python, "interpreter", hello.Executable, "mode", c.opts.Mode.String())
	}
	return nil
}

// proofBatch is what the child must read as the value in runner/pipe.py.
func proofBatch() string {
	var b []byte
	env := new(Environ)
	b = openItems(b, kindBatch, 0, 3)[headerSize:]
	env.reset("/caf\xe9", "/caf%C3%A9", "", "", "")
	env.Set("REQUEST_METHOD", "PUT")
	b = appendItem(b, 1, &Request{Environ: env})
	env.reset("", "", "", "", "localhost")
	x := make([]byte, 300)
	for i := range x {
		x[i] = 'x'
	}
	env.Set("QUERY_STRING", string(x))
	b = appendItem(b, 2, &Request{Environ: env, Body: []byte{0, 0xff}})
	env.reset("", "", "127.0.0.1", "8080", "")
	b = appendItem(b, 70000, &Request{Environ: env, Stream: true})
	return hex.EncodeToString(b)
}

// proofAnswers checks what the child wrote for the value in runner/pipe.py.
func proofAnswers(in string) bool {
	var d marshal.Decoder
	d.Reset(in)
	n, list := d.List()
	if n != 3 {
		return false
	}
	for _, want := range []struct{ id, status, size int }{{1, 200, 2}, {70000, 404, 0}, {2, 200, 300}} {
		four, mark := d.List()
		id := d.Int()
		var a Answer
		_, err := readHead(&d, &a, nil)
		body, ok := d.Bytes()
		d.Close(mark)
		if four != 4 || id != want.id || a.Status != want.status || err != nil || !ok || len(body) != want.size ||
			len(a.Header) != 2 || a.Header[0] != (Field{"Content-Type", "text/plain"}) || a.Header[1] != (Field{"X-Name", "caf\xe9"}) {
			return false
		}
	}
	d.Close(list)
	return d.Err() == nil && !d.More()
}
