package handover

import (
	"net"

	"github.com/chaussette/chaussette/listener/siblings"
)

// GiveStream has a sibling serve a stream that belongs to a session of its own, and cannot
// move: what the caller copies between the stream and the connection that is returned. read
// is what was read of the stream already, and remote the client's address. With
// siblings.ErrGone, where there is no such sibling, nothing has happened. read is not kept.
//
// No client can have a connection taken for a stream: that is said in the message between
// the workers, and not in what comes on the connection.
func (e *Exchange) GiveStream(read []byte, remote string, to siblings.Tag) (net.Conn, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	message := append(appendConnection(nil, forStream, remote), read...)
	err = control(theirs, func(fd int) error { return e.siblings.HandOver(to, siblings.Connections, message, fd) })
	if err != nil {
		ours.Close()
		return nil, err
	}
	e.given.Add(1)
	return ours, nil
}

// TakeStreams has f called for each stream that a sibling gives; without it they are
// closed. f must not block, and has c closed. TakeStreams is called before the siblings are
// started.
func (e *Exchange) TakeStreams(f func(c net.Conn, remote string)) { e.streams = f }

func (e *Exchange) takeStream(fd int, read []byte, remote string) error {
	if e.streams == nil || e.isClosed() {
		closeFD(fd)
		return nil
	}
	c, err := netConn(fd)
	if err != nil {
		return err
	}
	e.taken.Add(1)
	e.streams(&resumed{Conn: c, read: read}, remote)
	return nil
}
