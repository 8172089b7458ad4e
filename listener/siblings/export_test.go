package siblings

import "net"

// Version is that of this worker.
const Version = version

// Frame makes a frame.
func Frame(k Kind, fd bool, payload []byte) []byte { return newFrame(k, fd, payload) }

// ReadFrames calls f for each frame that comes on c, and returns why there are no more. A
// descriptor is f's to close; those without a frame are closed.
func ReadFrames(c *net.UnixConn, max int, f func(k Kind, payload []byte, fd int)) error {
	r := newReader(c, max)
	defer r.close()
	for {
		k, payload, fd, err := r.next()
		if err != nil {
			return err
		}
		f(k, payload, fd)
	}
}
