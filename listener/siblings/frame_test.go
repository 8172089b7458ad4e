package siblings_test

import (
	"bytes"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/chaussette/chaussette/listener/siblings"
)

// unixPair returns two ends of a connection.
func unixPair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*net.UnixConn, 2)
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(file)
		_ = file.Close()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = c.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// Whatever comes, in whatever pieces and with as many descriptors, is taken as frames that
// say just this, or ends the connection; no descriptor stays open.
func FuzzFrames(f *testing.F) {
	const max = 1000
	whole := siblings.Frame(siblings.Testing, false, []byte("payload"))
	f.Add(whole, uint8(0), uint8(3))
	f.Add(append(bytes.Clone(whole), whole...), uint8(0), uint8(200))
	f.Add(siblings.Frame(siblings.Testing, true, []byte("with one")), uint8(1), uint8(255))
	f.Add(siblings.Frame(siblings.Testing, true, nil), uint8(3), uint8(1))
	f.Add(whole, uint8(1), uint8(0))
	f.Add([]byte{0x80, 0, 0, 1, 2, 0}, uint8(0), uint8(2))
	f.Add([]byte{0, 0, 3, 0xE9, 2, 0}, uint8(0), uint8(0))
	f.Add([]byte{0, 0, 0, 0, 2, 0xFF}, uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, stream []byte, fds, cut uint8) {
		if len(stream) > 64<<10 {
			return
		}
		ours, theirs := unixPair(t)
		defer theirs.Close()
		end, passed := unixPair(t)
		defer end.Close()
		file, err := passed.File()
		if err != nil {
			t.Fatal(err)
		}
		_ = passed.Close()
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			defer ours.Close()
			n := min(int(cut)+1, len(stream))
			var rights []byte
			if fds > 0 && n > 0 {
				all := make([]int, fds%8+1)
				for i := range all {
					all[i] = int(file.Fd())
				}
				rights = syscall.UnixRights(all...)
			}
			// Errors: the other side has seen enough.
			if n, _, err := ours.WriteMsgUnix(stream[:n], rights, nil); err == nil {
				_, _ = ours.Write(stream[n:])
			}
		}()
		var again []byte
		_ = siblings.ReadFrames(theirs, max, func(k siblings.Kind, payload []byte, fd int) {
			if len(payload) > max {
				t.Errorf("a payload of %d bytes", len(payload))
			}
			again = append(again, siblings.Frame(k, fd >= 0, payload)...)
			if fd >= 0 {
				_ = syscall.Close(fd)
			}
		})
		_ = theirs.Close()
		<-sent
		_ = file.Close()
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("%q is read as %q", stream, again)
		}
		if n, err := end.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a descriptor is still open: %d, %v", n, err)
		}
	})
}
