package listener_test

import (
	"errors"
	"net"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/listener"
)

func TestBacklog(t *testing.T) {
	l := open(t, "127.0.0.1:0", &listener.Options{Backlog: 1})[0]
	// A backlog of 1 holds two connections; the handshake of a third is not finished.
	dial(t, l.Addr())
	dial(t, l.Addr())
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	check(t, err)
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	if err := unix.Connect(fd, to); err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 100)
	if err != nil || n != 0 {
		t.Errorf("a third connection was made: %d, %v", n, err)
	}
}

// checkTuned looks for the options of a connection.
func checkTuned(t *testing.T, fd, idle int) {
	t.Helper()
	for _, option := range []struct {
		name          string
		level, option int
		want          int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, idle},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
	} {
		got, err := unix.GetsockoptInt(fd, option.level, option.option)
		if err != nil || (got != 0) != (option.want != 0) || option.want > 1 && got != option.want {
			t.Errorf("%s is %d, %v; want %d", option.name, got, err, option.want)
		}
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("not close-on-exec: %v", err)
	}
	flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("not non-blocking: %v", err)
	}
}

func TestConnIsTuned(t *testing.T) {
	for _, l := range []*listener.Listener{
		open(t, "127.0.0.1:0", nil)[0],
		bind(t, "tcp", "127.0.0.1:0").worker(),
		bind(t, "tcp", "[::1]:0").worker(),
	} {
		got := accept(l)
		client := dial(t, l.Addr())
		server := await(t, got, "the connection")
		talk(t, client, server)
		raw, err := server.conn.(*net.TCPConn).SyscallConn()
		check(t, err)
		check(t, raw.Control(func(fd uintptr) { checkTuned(t, int(fd), 15) }))
	}
}

func TestKeepAlive(t *testing.T) {
	o := &listener.Options{KeepAlive: net.KeepAliveConfig{Enable: true, Idle: 77e9}}
	shared := bind(t, "tcp", "127.0.0.1:0")
	for _, l := range []*listener.Listener{
		open(t, "127.0.0.1:0", o)[0],
		open(t, "fd://"+strconv.Itoa(dup(t, shared.fd)), o)[0],
	} {
		got := accept(l)
		client := dial(t, l.Addr())
		server := await(t, got, "the connection")
		talk(t, client, server)
		raw, err := server.conn.(*net.TCPConn).SyscallConn()
		check(t, err)
		check(t, raw.Control(func(fd uintptr) { checkTuned(t, int(fd), 77) }))
	}
}

// checkPeer compares what accept has written with the client's own address.
func checkPeer(t *testing.T, peer *unix.RawSockaddrAny, want net.Addr) {
	t.Helper()
	port, ip := 0, net.IP(nil)
	switch peer.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(peer))
		port, ip = int(a.Port>>8|a.Port<<8), a.Addr[:]
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(peer))
		port, ip = int(a.Port>>8|a.Port<<8), a.Addr[:]
	}
	if tcp := want.(*net.TCPAddr); port != tcp.Port || !ip.Equal(tcp.IP) {
		t.Errorf("the peer is %v:%d, want %v", ip, port, want)
	}
}

// A socket that is not shared may be polled; accepting otherwise goes on to work.
func TestPollFD(t *testing.T) {
	sockets(t, func(t *testing.T, l *listener.Listener) {
		early := dial(t, l.Addr())
		fd, err := l.PollFD()
		if l.Shared() {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("a shared socket: %d, %v", fd, err)
			}
			return
		}
		check(t, err)
		defer func() { check(t, unix.Close(fd)) }()
		for i := range 3 {
			if i > 0 {
				if got, err := l.TryAcceptFD(fd, nil); err != unix.EAGAIN {
					t.Fatalf("nobody waits: %d, %v", got, err)
				}
				early = dial(t, l.Addr())
			}
			poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			_, err := unix.Poll(poll, int(patience.Milliseconds()))
			check(t, err)
			var peer unix.RawSockaddrAny
			got, err := l.TryAcceptFD(fd, &peer)
			check(t, err)
			if l.Addr().Network() == "tcp" {
				checkPeer(t, &peer, early.LocalAddr())
				checkTuned(t, got, 15)
			}
			_, err = unix.Write(got, []byte("hello"))
			check(t, err)
			buffer := make([]byte, 16)
			n, err := early.Read(buffer)
			if err != nil || string(buffer[:n]) != "hello" {
				t.Errorf("read %q, %v", buffer[:n], err)
			}
			check(t, unix.Close(got))
		}
		second, err := l.PollFD()
		check(t, err)
		check(t, unix.Close(second))

		got := accept(l)
		client := dial(t, l.Addr())
		talk(t, client, await(t, got, "the connection"))
		got = accept(l)
		check(t, l.Close())
		if a := await(t, got, "Accept to return"); !errors.Is(a.err, net.ErrClosed) {
			t.Errorf("after Close: %v", a.err)
		}
		<-l.Closed()
		if fd, err := l.PollFD(); err == nil {
			t.Errorf("after Close: descriptor %d", fd)
		}
	})
}

// An Accept that waits while the socket changes the way it is waited for goes on.
func TestPollFDWhileAccepting(t *testing.T) {
	l := open(t, "127.0.0.1:0", nil)[0]
	got := accept(l)
	fd, err := l.PollFD()
	check(t, err)
	defer unix.Close(fd)
	client := dial(t, l.Addr())
	talk(t, client, await(t, got, "the connection"))
}

func TestAcceptFD(t *testing.T) {
	sockets(t, func(t *testing.T, l *listener.Listener) {
		for range 2 {
			type accepted struct {
				fd   int
				peer unix.RawSockaddrAny
				err  error
			}
			got := make(chan accepted, 1)
			go func() {
				var a accepted
				a.fd, a.err = l.AcceptFD(&a.peer)
				got <- a
			}()
			client := dial(t, l.Addr())
			server := await(t, got, "the descriptor")
			check(t, server.err)
			_, err := client.Write([]byte("hello"))
			check(t, err)
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(server.fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
			check(t, err)
			buffer := make([]byte, 16)
			n, err := unix.Read(server.fd, buffer)
			if err != nil || string(buffer[:n]) != "hello" {
				t.Errorf("read %q, %v", buffer[:n], err)
			}
			if l.Addr().Network() == "tcp" {
				checkPeer(t, &server.peer, client.LocalAddr())
				checkTuned(t, server.fd, 15)
			}
			unix.Close(server.fd)
		}
		got := make(chan error, 1)
		go func() {
			_, err := l.AcceptFD(nil)
			got <- err
		}()
		check(t, l.Close())
		if err := await(t, got, "AcceptFD to return"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
