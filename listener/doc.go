// Package listener opens the sockets a worker serves on: its own, or those that its
// process manager has opened already and shares between several workers.
//
//	ls, err := listener.Open("fd://3", nil)
//	if err != nil {
//		return err
//	}
//	defer ls.Close()
//	for _, l := range ls {
//		go http.Serve(l, handler)
//	}
//
// # Addresses
//
//	host:port       TCP: "127.0.0.1:8080", "[::1]:8080", "example.org:http"
//	localhost:port  TCP on 127.0.0.1 and on ::1, two Listeners with one port
//	:port           TCP on every address of the machine
//	unix:/path      a Unix socket; a file left by a dead process is replaced
//	unix:@name      a Unix socket in Linux's abstract namespace
//	fd://N          the inherited file descriptor N, of any family
//	systemd         every socket that systemd passes (sd_listen_fds(3))
//	systemd:NAME    those of them with that FileDescriptorName=
//
// # Fairness
//
// Several workers that accept from one socket get very unequal shares of its
// connections if each waits with epoll, as net.Listener does: whoever is awake takes
// all. A thread blocked in accept(2), however, stands in a queue of the kernel, first
// come, first served. So an inherited socket is accepted by a blocked accept4(2), in
// the goroutine that calls Accept, and four workers get a quarter each. A socket that
// this package has bound has no other acceptor and is left to the network poller of the
// Go runtime. Other systems than Linux have the poller only.
//
// An inherited socket is made blocking, which every process that shares it sees, since
// the flag belongs to the open file description. Where a process that is not ours makes
// it non-blocking again, Accept polls and accepts, which is less fair: all who wait are
// woken, and the fastest accepts.
package listener
