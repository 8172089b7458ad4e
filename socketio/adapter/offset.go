package adapter

import (
	"crypto/rand"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Origin names who has numbered events: a worker's adapter, for all workers, or with a
// hyphen at its end the same for those that it kept to itself. It is letters and digits.
type Origin string

// originLength is that of an Origin without a hyphen.
const originLength = 5

func newOrigin() Origin {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, 0, originLength)
	for random := make([]byte, 16); len(b) < originLength; {
		_, _ = rand.Read(random)
		for _, r := range random {
			if r &= 63; int(r) < len(alphabet) && len(b) < originLength {
				b = append(b, alphabet[r])
			}
		}
	}
	return Origin(b)
}

// private is the origin of what o keeps to itself.
func (o Origin) private() Origin { return o + "-" }

// Vector says up to which number the events of each Origin are there. Workers get the
// events of several origins in different orders; so one number cannot say what a client
// has, who has been with several of them.
type Vector map[Origin]uint64

// String is the offset that clients remember: origins and numbers, in base 36.
//
//	kX3d91z4-2.Pq0aB7
//
// has the events of kX3d9 up to 1z4, those that it kept to itself up to 2, and those of
// Pq0aB up to 7.
func (v Vector) String() string {
	var b []byte
	for _, o := range slices.Sorted(maps.Keys(v)) {
		if strings.HasSuffix(string(o), "-") {
			if _, both := v[o[:originLength]]; both {
				continue // said with that
			}
		}
		if len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, o[:originLength]...)
		if !strings.HasSuffix(string(o), "-") {
			b = strconv.AppendUint(b, v[o], 36)
		}
		if n, both := v[o[:originLength].private()]; both {
			b = append(b, '-')
			b = strconv.AppendUint(b, n, 36)
		}
	}
	return string(b)
}

// maxOffset bounds an offset, in bytes: some hundred origins.
const maxOffset = 4096

// ParseVector is the Vector of an offset. It comes from clients, and may be anything.
func ParseVector(offset string) (Vector, bool) {
	v := Vector{}
	if offset == "" {
		return v, true
	}
	if len(offset) > maxOffset {
		return nil, false
	}
	for token := range strings.SplitSeq(offset, ".") {
		if len(token) <= originLength {
			return nil, false
		}
		o := Origin(token[:originLength])
		if strings.ContainsFunc(string(o), func(r rune) bool { return !isLetterOrDigit(r) }) {
			return nil, false
		}
		public, private, both := strings.Cut(token[originLength:], "-")
		if public != "" || !both {
			n, err := strconv.ParseUint(public, 36, 64)
			if err != nil {
				return nil, false
			}
			v[o] = n
		}
		if both {
			n, err := strconv.ParseUint(private, 36, 64)
			if err != nil {
				return nil, false
			}
			v[o.private()] = n
		}
	}
	return v, true
}

func isLetterOrDigit(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// raise makes v at least w. With shared set that is only for what workers share.
func (v Vector) raise(w Vector, shared bool) {
	for o, n := range w {
		if n >= v[o] && !(shared && strings.HasSuffix(string(o), "-")) {
			v[o] = n
		}
	}
}
