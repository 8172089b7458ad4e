package socketio

import (
	"bytes"
	"embed"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// The client for browsers, which is not ours: see bundle/README.md and bundle/LICENSE.
//
//go:embed bundle/*.gz bundle/VERSION
var bundle embed.FS

// ClientVersion is the version of the client bundle.
var ClientVersion = sync.OnceValue(func() string {
	version, _ := bundle.ReadFile("bundle/VERSION")
	return strings.TrimSpace(string(version))
})

// serveBundle serves socket.io.js and its siblings: min, esm.min, msgpack.min, and their
// maps. It is false for other requests.
func (srv *Server) serveBundle(w http.ResponseWriter, r *http.Request) bool {
	name, ok := strings.CutPrefix(r.URL.Path, srv.options.Engine.Path)
	if !ok || !strings.HasPrefix(name, "socket.io.") || strings.Contains(name, "/") {
		return false
	}
	packed, err := bundle.ReadFile("bundle/" + name + ".gz")
	if err != nil {
		return false
	}
	h := w.Header()
	srv.engine.AllowOrigin(h, r)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return true
	}
	h.Set("Content-Type", "application/javascript; charset=utf-8")
	if strings.HasSuffix(name, ".map") {
		h.Set("Content-Type", "application/json; charset=utf-8")
	} else {
		h.Set("SourceMap", name+".map")
	}
	// It may change with the next version of the server, under the same name.
	h.Set("Cache-Control", "public, max-age=0")
	h.Add("Vary", "Accept-Encoding")
	h.Set("ETag", `"`+ClientVersion()+`"`)
	if match := r.Header.Get("If-None-Match"); strings.Contains(match, h.Get("ETag")) {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed)
		return true
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		http.Error(w, "the client bundle cannot be read", http.StatusInternalServerError)
		return true
	}
	_, _ = io.Copy(w, z)
	return true
}
