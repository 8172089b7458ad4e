// Package nearest finds the word that somebody probably meant.
package nearest

import (
	"strings"

	"github.com/agext/levenshtein"
)

// To returns the candidate that word resembles most, or "" where it resembles none.
func To(word string, candidates []string) string {
	best, distance := "", len(word)/2+1 // half of the letters wrong is another word
	for _, c := range candidates {
		if d := levenshtein.Distance(strings.ToLower(word), strings.ToLower(c), nil); d < distance {
			best, distance = c, d
		}
	}
	return best
}
