package python_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/chaussette/chaussette/app/python"
)

// Each of many requests that go together has its own values, and its own answer.
func TestManyHosts(t *testing.T) {
	s := onLoop(t, serve(t, "apps:app", python.Options{}))
	hosts := []string{"one", "two:8000", "three.example", strings.Repeat("x", 300), ""}
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 600 {
				host := hosts[(i+worker)%7%len(hosts)]
				req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/host", nil)
				if err != nil {
					t.Error(err)
					return
				}
				if req.Host = host; host == "" {
					host = req.URL.Host
				}
				resp, err := s.client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				body, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if want := host + " 127.0.0.1 127.0.0.1"; string(body) != want {
					t.Errorf("%q, want %q", body, want)
				}
			}
		})
	}
	all.Wait()
}
