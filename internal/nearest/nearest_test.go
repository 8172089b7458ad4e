package nearest_test

import (
	"testing"

	"github.com/chaussette/chaussette/internal/nearest"
)

func TestTo(t *testing.T) {
	candidates := []string{"http", "waitress", "gevent"}
	for word, want := range map[string]string{
		"htp":      "http",
		"HTTP":     "http",
		"waitres":  "waitress",
		"geventws": "gevent",
		"xyz":      "",
		"":         "",
	} {
		if got := nearest.To(word, candidates); got != want {
			t.Errorf("To(%q) = %q, want %q", word, got, want)
		}
	}
}
