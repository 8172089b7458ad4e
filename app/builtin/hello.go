package builtin

import (
	"io"
	"net/http"
)

// Hello answers every request with "hello world" (chaussette.util.hello_app).
type Hello struct{}

func (Hello) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = textPlain
	_, _ = io.WriteString(w, "hello world")
}

// textPlain is shared by all answers: one header value less to allocate.
var textPlain = []string{"text/plain; charset=utf-8"}

func (Hello) String() string { return "hello (built-in)" }
