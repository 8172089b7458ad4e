package marshal

import (
	"encoding/binary"
	"math"
)

// The type codes, as in CPython's Python/marshal.c.
const (
	codeNull       = '0'
	codeNone       = 'N'
	codeFalse      = 'F'
	codeTrue       = 'T'
	codeInt        = 'i'
	codeBytes      = 's'
	codeUnicode    = 'u'
	codeInterned   = 't'
	codeASCII      = 'a'
	codeASCIIInt   = 'A'
	codeShort      = 'z'
	codeShortInt   = 'Z'
	codeTuple      = '('
	codeSmallTuple = ')'
	codeList       = '['
	codeDict       = '{'
	codeRef        = 'r'
	flagRef        = 0x80
)

// AppendNone appends None.
func AppendNone(b []byte) []byte { return append(b, codeNone) }

// AppendTrue appends True.
func AppendTrue(b []byte) []byte { return append(b, codeTrue) }

// AppendInt appends an integer.
func AppendInt(b []byte, n int32) []byte {
	return binary.LittleEndian.AppendUint32(append(b, codeInt), uint32(n))
}

// AppendLatin1 appends a str with one character for each byte of s.
func AppendLatin1(b []byte, s string) []byte {
	if len(s) < 256 {
		n := len(b)
		b = append(b, codeShort, byte(len(s)))
		b = append(b, s...)
		if ascii(b[n+2:]) {
			return b
		}
		b = b[:n]
	}
	long := 0
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			long++
		}
	}
	b = binary.LittleEndian.AppendUint32(append(b, codeUnicode), uint32(len(s)+long))
	if long == 0 {
		return append(b, s...)
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x80 {
			b = append(b, c)
		} else {
			b = append(b, 0xc0|c>>6, 0x80|c&0x3f)
		}
	}
	return b
}

// AppendKey appends an ASCII str of at most 255 bytes which Python interns: right for
// names that occur in every request.
func AppendKey(b []byte, s string) []byte {
	return append(append(b, codeShortInt, byte(len(s))), s...)
}

// AppendBytes appends a bytes object.
func AppendBytes(b, data []byte) []byte {
	if len(data) > math.MaxInt32 {
		panic("marshal: bytes longer than the format can say")
	}
	b = binary.LittleEndian.AppendUint32(append(b, codeBytes), uint32(len(data)))
	return append(b, data...)
}

// AppendTuple opens a tuple of n items, which the caller appends next. n is at most 255.
func AppendTuple(b []byte, n int) []byte { return append(b, codeSmallTuple, byte(n)) }

// AppendList opens a list of n items, which the caller appends next.
func AppendList(b []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(append(b, codeList), uint32(n))
}

// OpenDict opens a dict: keys and values follow in turn, then CloseDict.
func OpenDict(b []byte) []byte { return append(b, codeDict) }

// CloseDict ends a dict.
func CloseDict(b []byte) []byte { return append(b, codeNull) }

func ascii(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
