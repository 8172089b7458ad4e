package python_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/chaussette/chaussette/app/python"
)

// A child that cannot take one more descriptor says so, for the request that needs one.
func TestBufferedWithoutDescriptors(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads, Threads: 1, Buffered: true})
	upload := func() (int, string) {
		status, body, _ := s.do("POST", "/read?all", bytes.NewReader(make([]byte, 200_000)))
		return status, body
	}
	if status, body := upload(); status != 200 || !strings.HasPrefix(body, "200000 ") {
		t.Errorf("%d %q", status, body)
	}
	s.want("/descriptors?0", 200, "set")
	if status, body := upload(); status != 503 {
		t.Errorf("without descriptors: %d %q", status, body)
	}
	s.want("/descriptors?-1", 200, "set")
	if status, body := upload(); status != 200 || !strings.HasPrefix(body, "200000 ") {
		t.Errorf("%d %q", status, body)
	}
	if !strings.Contains(s.log.String(), "no descriptor is free") {
		t.Error("nobody was told")
	}
}
