package python_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chaussette/chaussette/app/python"
)

// A child that cannot take one more descriptor says so, for the request that needs one: whose body
// is in a file.
func TestBufferedWithoutDescriptors(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads, Threads: 1, Buffered: true})
	upload := func() (int, string) {
		status, body, _ := s.do("POST", "/read?all", bytes.NewReader(make([]byte, 2_000_000)))
		return status, body
	}
	if status, body := upload(); status != 200 || !strings.HasPrefix(body, "2000000 ") {
		t.Errorf("%d %q", status, body)
	}
	s.want("/descriptors?0", 200, "set")
	if status, body := upload(); status != 503 {
		t.Errorf("without descriptors: %d %q", status, body)
	}
	// What is on the connection comes through the pipe, then.
	if status, body, _ := s.do("POST", "/read?all", bytes.NewReader(make([]byte, 200_000))); status != 200 || !strings.HasPrefix(body, "200000 ") {
		t.Errorf("on the connection: %d %q", status, body)
	}
	s.want("/descriptors?-1", 200, "set")
	if status, body := upload(); status != 200 || !strings.HasPrefix(body, "2000000 ") {
		t.Errorf("%d %q", status, body)
	}
	if !strings.Contains(s.log.String(), "no descriptor is free") {
		t.Error("nobody was told")
	}
}

// A body in a file that the system does not pass on, with as many on their way as it allows,
// goes as a stream.
func TestBufferedBodiesBeyondWhatTheSystemPasses(t *testing.T) {
	const uploads = 32
	for _, mode := range []python.Mode{python.Serial, python.Threads, python.Gevent} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode, Threads: 2, Buffered: true})
			child, err := strconv.Atoi(pid(t, s))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.LimitPassing(); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			t.Cleanup(all.Wait)
			// While it is stopped, the child takes nothing that is on its way.
			goOn := func() { _ = syscall.Kill(child, syscall.SIGCONT) }
			t.Cleanup(goOn)
			if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			var files, streams atomic.Int32
			for i := range uploads {
				all.Go(func() {
					upload := bytes.Repeat([]byte{byte(i)}, 200_000)
					// In chunks: one whose length is known would be left on its connection.
					status, body, _ := s.do("POST", "/input", struct{ io.Reader }{bytes.NewReader(upload)})
					from, digest, _ := strings.Cut(body, " ")
					if status != 200 || digest != fmt.Sprintf("%x", sha256.Sum256(upload)) {
						t.Errorf("%d %q", status, body)
					}
					switch from {
					case "FileIO":
						files.Add(1)
					case "Body":
						streams.Add(1)
					}
				})
			}
			eventually(t, func() bool { return s.InFlight() == uploads })
			goOn()
			all.Wait()
			if files.Load() == 0 || streams.Load() == 0 {
				t.Errorf("%d files and %d streams, want some of both", files.Load(), streams.Load())
			}
		})
	}
}
