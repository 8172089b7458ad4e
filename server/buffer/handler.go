package buffer

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
)

// Handler returns next with request and response buffered: next is called when the
// whole request is there, and has returned before the first byte of the response is
// sent. A response over limit bytes (0 is none) becomes a 500, and next is told by the
// error of its Write.
//
// A body that the engine holds is whole where it is, and the app reads it there: one with a
// method Held() bool that is true; see server/std.
//
// Flush and Hijack are not supported in such a response; interim responses (1xx) are
// sent at once.
func Handler(next http.Handler, limit int64, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left := isHeld(r.Body)
		if r.Body != nil && r.Body != http.NoBody && !left {
			var in body
			defer in.Close()
			if err := in.receive(r.Body, r.ContentLength); err != nil {
				refuse(w, r, err, log)
				return
			}
			whole := r.WithContext(r.Context()) // a handler does not change its caller's Request
			whole.Body, whole.ContentLength, whole.TransferEncoding = received{&in}, in.size, nil
			r = whole
		}
		out := response{to: w, head: r.Method == http.MethodHead, body: Buffer{Limit: limit}}
		defer out.body.Close()
		next.ServeHTTP(&out, r)
		if left {
			// What the app has not read is there: the connection goes on behind it. An error is of
			// one that is broken, which the engine knows.
			_, _ = io.Copy(io.Discard, r.Body)
		}
		if err := out.send(); err != nil {
			log.Log(r.Context(), slog.LevelError, "the response cannot be sent",
				"method", r.Method, "path", r.URL.Path, "error", err)
		}
	})
}

// isHeld says that the body has come whole, and reading it waits for nobody.
func isHeld(body io.Reader) bool {
	b, ok := body.(interface{ Held() bool })
	return ok && b.Held()
}

// received is the Body of a Request that is whole. It is closed by Handler, and not by who reads
// it.
type received struct{ *body }

// Close implements io.Closer.
func (received) Close() error { return nil }

// refuse answers for a request whose body could not be had. Where the engine knows
// better (the body was too large, or late) it replaces this answer by its own.
func refuse(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	log.Debug("request body", "method", r.Method, "path", r.URL.Path, "error", err)
	http.Error(w, "The request's body did not arrive.", http.StatusBadRequest)
}

// response is the ResponseWriter that keeps what the app writes.
type response struct {
	to     http.ResponseWriter
	head   bool // the method is HEAD
	status int  // 0 until the app has set it
	body   Buffer
	err    error // the first that Write returned
	headed bool  // the head has been passed on
	gone   bool  // the whole response has been
}

func (w *response) Header() http.Header { return w.to.Header() }

func (w *response) WriteHeader(status int) {
	switch {
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.to.WriteHeader(status)
	case w.status == 0:
		w.status = status
	}
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if w.status < 200 || w.status == http.StatusNoContent || w.status == http.StatusNotModified {
		return 0, http.ErrBodyNotAllowed
	}
	n, err := w.body.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// SendBy has send write the body on the connection, of an app that has made all of it: see
// server/std. The error is http.ErrNotSupported where the body is to be written here.
func (w *response) SendBy(send func(c net.Conn, head []byte) (int64, error)) (int64, error) {
	to, ok := w.to.(interface {
		SendBy(func(net.Conn, []byte) (int64, error)) (int64, error)
	})
	size, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	if !ok || w.head || w.status < 200 || w.status == http.StatusNoContent || w.status == http.StatusNotModified ||
		w.body.Size() > 0 || err != nil || w.body.Limit > 0 && size > w.body.Limit {
		return 0, http.ErrNotSupported
	}
	w.to.WriteHeader(w.status)
	w.headed = true
	n, err := to.SendBy(send)
	w.gone = !errors.Is(err, http.ErrNotSupported)
	return n, err
}

// Through passes the head on, and returns where the body goes of an app that has made all
// of it, a file for instance: there is nothing to be kept. It takes no more then.
func (w *response) Through() http.ResponseWriter {
	if w.gone || w.headed || w.err != nil || w.body.Size() > 0 {
		return w
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.to.WriteHeader(w.status)
	w.headed, w.gone = true, true
	return w.to
}

// Discard forgets what has been kept, header and all, of a response that will not be complete.
// false: some of it has been sent.
func (w *response) Discard() bool {
	if w.gone || w.headed {
		return false
	}
	w.body.Close()
	w.body, w.status, w.err = Buffer{Limit: w.body.Limit}, 0, nil
	clear(w.Header())
	return true
}

// send sends what has been kept.
func (w *response) send() error {
	if w.gone {
		return nil
	}
	header := w.Header()
	if w.err != nil {
		clear(header)
		http.Error(w.to, "The response could not be buffered.", http.StatusInternalServerError)
		if errors.Is(w.err, ErrFull) {
			return errors.New("it is larger than --buffer-limit; a backend that streams takes any size")
		}
		return w.err
	}
	body, err := w.body.Reader()
	if err != nil {
		return err
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if header.Get("Content-Length") == "" && (!w.head || w.body.Size() > 0) && w.status >= 200 &&
		w.status != http.StatusNoContent && w.status != http.StatusNotModified {
		header.Set("Content-Length", strconv.FormatInt(w.body.Size(), 10))
	}
	if !w.headed {
		w.to.WriteHeader(w.status)
	}
	if w.body.Size() == 0 {
		return nil
	}
	// An error here is the client's, who has left: nothing is wrong with the response.
	_, _ = io.Copy(w.to, body)
	return nil
}
