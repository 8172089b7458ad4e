package engineio

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

var gzips = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	return z
}}

// ok answers with body, compressed if it may be, is worth it and the client takes it.
func (srv *Server) ok(a *asked, fields []Field, body []byte, compressible bool) {
	if !compressible || len(body) < srv.options.CompressionThreshold || !a.gzip {
		a.respond(http.StatusOK, fields, body)
		return
	}
	var packed bytes.Buffer
	z := gzips.Get().(*gzip.Writer)
	z.Reset(&packed)
	_, _ = z.Write(body)
	_ = z.Close()
	gzips.Put(z)
	fields = append(fields[:len(fields):len(fields)], Field{"Content-Encoding", "gzip"}, Field{"Vary", "Accept-Encoding"})
	a.respond(http.StatusOK, fields, packed.Bytes())
}

func acceptsGzip(accepted string) bool {
	for part := range strings.SplitSeq(accepted, ",") {
		coding, quality, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") && strings.ReplaceAll(quality, " ", "") != "q=0" {
			return true
		}
	}
	return false
}
