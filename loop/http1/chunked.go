package http1

import "strconv"

// chunks takes a body in chunks apart (RFC 9112, 7.1), as its bytes come.
type chunks struct {
	state  chunkState
	left   int64 // of the chunk's data
	digits int   // of its size
	line   int   // length of the line, or of all trailers
	cr     bool  // the line's last byte was a CR
	any    bool  // the trailer line has something
	named  bool  // and its name is complete
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtension
	chunkData
	chunkEnd     // CRLF behind the data
	chunkTrailer // after the last chunk: trailers are dropped
	chunkDone
)

// How large a chunk may be, and what it may have beside its data, in bytes.
const (
	maxChunk       = 1 << 60
	maxChunkDigits = 16 // of its size
	maxChunkLine   = 4 << 10
	maxTrailers    = 16 << 10
)

// next takes from b: data is a part of it that belongs to the body, n is how much it has
// looked at. It is called until n is 0, or done is true.
func (d *chunks) next(b []byte) (data []byte, n int, err error) {
	for n < len(b) {
		c := b[n]
		switch d.state {
		case chunkSize:
			if v := hexValue(c); v >= 0 && !d.cr {
				if d.digits++; d.digits > maxChunkDigits || d.left >= maxChunk>>4 {
					return nil, 0, errChunk
				}
				d.left = d.left<<4 | int64(v)
				n++
				continue
			}
			if d.digits == 0 {
				return nil, 0, errChunk
			}
			if c == '\r' || c == '\n' {
				if err := d.lineEnd(c); err != nil {
					return nil, 0, err
				}
				n++
				continue
			}
			if d.cr || c != ';' && c != ' ' && c != '\t' {
				return nil, 0, errChunk
			}
			d.state = chunkExtension
		case chunkExtension:
			if d.line++; d.line > maxChunkLine || c < ' ' && c != '\t' && c != '\r' && c != '\n' || c == 0x7f {
				return nil, 0, errChunk
			}
			if err := d.lineEnd(c); err != nil {
				return nil, 0, err
			}
			n++
		case chunkData:
			size := int(min(d.left, int64(len(b)-n)))
			data, n = b[n:n+size], n+size
			if d.left -= int64(size); d.left == 0 {
				d.state = chunkEnd
			}
			return data, n, nil
		case chunkEnd:
			if c != '\r' && !d.cr || c != '\n' && d.cr {
				return nil, 0, errChunk
			}
			if d.cr = c == '\r'; !d.cr {
				*d = chunks{}
			}
			n++
		case chunkTrailer:
			if d.line++; d.line > maxTrailers {
				return nil, 0, errFields
			}
			if c == '\n' != d.cr {
				return nil, 0, errChunk
			}
			switch {
			case c == '\r':
				d.cr = true
			case c == '\n':
				d.cr = false
				if !d.any {
					d.state = chunkDone
					return nil, n + 1, nil
				}
				if !d.named {
					return nil, 0, errChunk // what may have been meant as something else
				}
				d.any, d.named = false, false
			default:
				if err := d.trailer(c); err != nil {
					return nil, 0, err
				}
			}
			n++
		case chunkDone:
			return nil, n, nil
		}
	}
	return nil, n, nil
}

// trailer sees a byte of a trailer field (RFC 9112, 7.1.2), which is as strict as the others are.
func (d *chunks) trailer(c byte) error {
	switch {
	case d.named:
		if c < ' ' && c != '\t' || c == 0x7f {
			return errFieldValue
		}
	case c == ':' && d.any:
		d.named = true
	case !isToken[c]:
		return errFieldName
	}
	d.any = true
	return nil
}

// again makes of data, which was taken out of its chunks, chunks that go on as those do that
// are still to come: for who has to read them elsewhere. Nothing of the body was read before.
func (d *chunks) again(data []byte) []byte {
	var b []byte
	whole := func() {
		if len(data) > 0 {
			b = append(append(appendChunkHead(b, len(data)), data...), "\r\n"...)
		}
	}
	switch d.state {
	case chunkData:
		return append(appendChunkHead(b, len(data)+int(d.left)), data...)
	case chunkEnd:
		b = append(appendChunkHead(b, len(data)), data...)
	case chunkSize:
		whole()
		if d.digits > 0 {
			b = strconv.AppendInt(b, d.left, 16)
		}
	case chunkExtension:
		whole()
		b = append(strconv.AppendInt(b, d.left, 16), ';')
	case chunkTrailer:
		whole()
		if b = append(b, "0\r\n"...); d.any {
			b = append(b, "x:"...)
		}
	case chunkDone:
		whole()
		return append(b, "0\r\n\r\n"...)
	}
	if d.cr {
		b = append(b, '\r')
	}
	return b
}

// lineEnd sees a byte of a line that begins a chunk, and begins with what comes behind it.
func (d *chunks) lineEnd(c byte) error {
	if c == '\n' != d.cr {
		return errChunk // a CR alone, or an LF
	}
	if d.cr = c == '\r'; c != '\n' {
		return nil
	}
	size := d.left
	*d = chunks{left: size, state: chunkData}
	if size == 0 {
		d.state = chunkTrailer
	}
	return nil
}

func (d *chunks) done() bool { return d.state == chunkDone }

func hexValue(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendChunkHead appends what comes before n bytes of a chunk.
func appendChunkHead(b []byte, n int) []byte {
	const digits = "0123456789abcdef"
	shift := 0
	for n>>shift > 15 {
		shift += 4
	}
	for ; shift >= 0; shift -= 4 {
		b = append(b, digits[n>>shift&15])
	}
	return append(b, '\r', '\n')
}
