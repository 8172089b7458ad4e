package python

import (
	"errors"
	"net/http"
	"os"
	"sync"
)

var errSpoolFull = errors.New("it is larger than --buffer-limit; a backend that streams takes any size")

// spool keeps a response that is too large for the child in a file without a name, until the
// app has returned.
type spool struct {
	limit int64 // in bytes; 0 is none
	size  int64
	err   error // the first of a write

	mu     sync.Mutex // guards what follows: the client may leave at any time
	file   *os.File
	closed bool
}

// write takes p. After an error, and when it is closed, it drops it.
func (s *spool) write(p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.closed {
		return
	}
	if s.limit > 0 && s.size+int64(len(p)) > s.limit {
		s.err = errSpoolFull
		return
	}
	if s.file == nil {
		if s.file, s.err = os.CreateTemp("", "chaussette-"); s.err != nil {
			return
		}
		if s.err = os.Remove(s.file.Name()); s.err != nil {
			return
		}
	}
	n, err := s.file.Write(p)
	s.size, s.err = s.size+int64(n), err
}

// take gives the file away. nil: it was closed, or nothing was written.
func (s *spool) take() *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file
	s.file = nil
	return f
}

func (s *spool) close() {
	if f := s.take(); f != nil {
		_ = f.Close()
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
}

// keep has the parts of the response kept.
func (d *direct) keep() {
	s, call := &spool{limit: d.app.opts.BufferLimit}, d.call
	d.spool = s
	// d may be another's when the client goes.
	d.x.OnGone(func(error) {
		call.Abort()
		s.close()
	})
}

// sendKept sends what was kept, or answers for an app that has failed.
func (d *direct) sendKept(err error) {
	s := d.spool
	defer s.close()
	declared := d.declared
	if declared < 0 {
		declared = s.size
	}
	switch {
	case errors.Is(err, ErrChild):
		d.fail(http.StatusBadGateway, "The application has crashed.")
	case err != nil:
		d.fail(http.StatusInternalServerError, "Internal Server Error")
	case s.err != nil:
		d.app.opts.Logger.Error("the response cannot be sent", "error", s.err)
		d.fail(http.StatusInternalServerError, "The response could not be buffered.")
	case d.x.Bodiless(d.head.Status()):
		_ = d.x.Start(&d.head, declared)
		d.x.End()
	default:
		if s.size != declared {
			d.mismatch(s.size)
		}
		file := s.take()
		if file == nil || s.size < declared {
			d.fail(http.StatusInternalServerError, "Internal Server Error")
			if file != nil {
				_ = file.Close()
			}
			return
		}
		_ = d.x.File(&d.head, file, 0, declared)
	}
}
