package python

import (
	"encoding/binary"

	"github.com/chaussette/chaussette/app/python/marshal"
)

// version of the pipe: both ends must say the same. The runner is embedded, so they can
// only differ where someone mixes two builds.
const version = 6

// kind is what a frame carries. See doc.go.
type kind uint8

const (
	kindBatch kind = iota + 1
	kindData
	kindLent
	kindEnd
	kindAbort
	kindCredit
	kindShutdown
	kindModule
	kindOptions
	kindOpen
	kindLend
	kindLendBody
	kindKept
	kindGrants
	kindUsual
)

const (
	kindStart kind = iota + 16
	kindFile
	kindLog
	kindHello
	kindReady
	kindFailed
	kindAsk
	kindTaken
	kindBegun
)

const (
	headerSize = 8
	// maxID is the highest request id that fits a header.
	maxID = 1<<24 - 1
	// maxFrame is the longest frame that is accepted. Batches stay far below: a whole
	// response is at most inlineBody long, and a frame that goes on and on would be
	// buffered.
	maxFrame = 16 << 20
)

// appendHeader appends a frame's header: u32 length, u32 kind and id, little endian.
func appendHeader(b []byte, k kind, id uint32, length int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(length))
	return binary.LittleEndian.AppendUint32(b, uint32(k)<<24|id)
}

// appendFrame appends a whole frame.
func appendFrame(b []byte, k kind, id uint32, body []byte) []byte {
	return append(appendHeader(b, k, id, len(body)), body...)
}

// openItems opens the list of n requests that a frame of kind k has.
func openItems(b []byte, k kind, id uint32, n int) []byte {
	return marshal.AppendList(appendHeader(b, k, id, 0), n)
}

// closeItems says how long the frame is that begins at, and ends with b, and that it has n
// requests.
func closeItems(b []byte, at, n int) {
	binary.LittleEndian.PutUint32(b[at:], uint32(len(b)-at-headerSize))
	binary.LittleEndian.PutUint32(b[at+headerSize+1:], uint32(n))
}

// setKind makes the frame that begins at one of kind k, with requests.
func setKind(b []byte, at int, k kind) { binary.LittleEndian.PutUint32(b[at+4:], uint32(k)<<24) }

// splitFrame takes the first frame off b. ok is false where b holds only a part of it.
func splitFrame(b []byte) (k kind, id uint32, body, rest []byte, ok bool, err error) {
	if len(b) < headerSize {
		return 0, 0, nil, b, false, nil
	}
	length := binary.LittleEndian.Uint32(b)
	head := binary.LittleEndian.Uint32(b[4:])
	if length > maxFrame {
		return 0, 0, nil, b, false, errFrameSize
	}
	end := headerSize + int(length)
	if len(b) < end {
		return 0, 0, nil, b, false, nil
	}
	return kind(head >> 24), head & maxID, b[headerSize:end], b[end:], true, nil
}
