// Accept measures how workers share the connections of one socket: they are opened one
// after another at a steady pace and kept open, and each is answered once. It is measured
// with a socket that the parent left blocking, with a non-blocking one, and, for comparison, with one
// that a foreign process keeps non-blocking and with workers that accept as net/http alone does.
//
//	go run ./bench/accept -chaussette bin/chaussette
//
// The program fails where the largest share of chaussette is more than -most times the
// smallest.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

var (
	binary      = flag.String("chaussette", "bin/chaussette", "the worker's `program`")
	backend     = flag.String("backend", "http", "the worker's `backend`")
	workers     = flag.Int("workers", 4, "workers on the socket")
	connections = flag.Int("connections", 4000, "connections to open and keep")
	rate        = flag.Int("rate", 1000, "connections opened a second")
	most        = flag.Float64("most", 1.1, "what the largest share may be, in smallest shares")
	bare        = flag.Bool("bare", false, "be a worker on net/http alone (the program starts itself so)")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if *bare {
		log.Fatal(serveBare())
	}
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	// The sockets between siblings would be counted as connections.
	chaussette := []string{*binary, "--fd", "3", "--backend", *backend, "--no-siblings"}
	fmt.Printf("%d workers on one socket, %d connections kept open, %d a second.\n\n", *workers, *connections, *rate)
	fmt.Printf("| worker accepts with | socket |%s max/min |\n", strings.Repeat(" |", *workers))
	fmt.Printf("| --- | --- |%s ---: |\n", strings.Repeat(" ---: |", *workers))
	unfair := false
	for _, run := range []struct {
		name    string
		command []string
		mode    mode
		bound   bool
	}{
		{"chaussette --backend " + *backend, chaussette, blocking, true},
		{"chaussette --backend " + *backend, chaussette, nonblocking, true},
		{"chaussette --backend " + *backend, chaussette, reset, false},
		{"net/http, bare", []string{self, "-bare"}, nonblocking, false},
	} {
		shares, err := measure(run.command, run.mode)
		if err != nil {
			log.Fatalf("%s: %v", run.name, err)
		}
		ratio := float64(slices.Max(shares)) / float64(max(slices.Min(shares), 1))
		fmt.Printf("| %s | %s |", run.name, run.mode)
		for _, share := range shares {
			fmt.Printf(" %d |", share)
		}
		fmt.Printf(" %.2f |\n", ratio)
		unfair = unfair || run.bound && ratio > *most
	}
	if unfair {
		log.Fatalf("the largest share is more than %.2f times the smallest", *most)
	}
}

// mode is how the socket is left for the workers.
type mode string

const (
	blocking    mode = "blocking"
	nonblocking mode = "non-blocking"
	// reset is non-blocking, and made so again once the workers serve, as a process that is not
	// chaussette does that shares the socket.
	reset mode = "non-blocking again"
)

// serveBare is a worker as net/http makes it.
func serveBare() error {
	socket := os.NewFile(3, "socket")
	l, err := net.FileListener(socket)
	_ = socket.Close() // l has its own descriptor
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "Serving on fd://3")
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello world")
	}))
}

// measure returns how many of the connections each worker has.
// The socket is no Multipath TCP, since no process manager opens that.
func measure(command []string, mode mode) (shares []int, err error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	socket, err := duplicate(l.(*net.TCPListener))
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	var started []*worker
	defer func() {
		for _, w := range started {
			err = errors.Join(err, w.end())
		}
	}()
	if err := setNonblocking(socket, mode != blocking); err != nil {
		return nil, err
	}
	for range *workers {
		w, err := start(command, socket)
		if err != nil {
			return nil, err
		}
		started = append(started, w)
	}
	if mode == reset {
		if err := setNonblocking(socket, true); err != nil {
			return nil, err
		}
	}
	kept, err := open(l.Addr().String())
	defer func() {
		for _, c := range kept {
			_ = c.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	sum := 0
	for _, w := range started {
		sockets, err := w.sockets()
		if err != nil {
			return nil, err
		}
		shares = append(shares, sockets-w.before)
		sum += sockets - w.before
	}
	// A share is what a worker has now, so a worker that dropped some would look modest.
	if sum != *connections {
		return nil, fmt.Errorf("the workers have %d connections, of %d that were answered", sum, *connections)
	}
	return shares, nil
}

// open opens the connections in even steps. Each asks for an answer, so that it has been
// accepted, and stays.
func open(addr string) (kept []net.Conn, err error) {
	step := time.Second / time.Duration(*rate)
	begin := time.Now()
	for i := range *connections {
		time.Sleep(time.Until(begin.Add(time.Duration(i) * step)))
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return kept, err
		}
		kept = append(kept, c)
		if err := ask(c); err != nil {
			return kept, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return kept, nil
}

func ask(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// worker is a process on the socket.
type worker struct {
	cmd    *exec.Cmd
	before int // sockets that it had when nobody had connected
}

func start(command []string, socket *os.File) (*worker, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.ExtraFiles = []*os.File{socket}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &worker{cmd: cmd}
	r := bufio.NewReader(stderr)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, errors.Join(err, w.end())
		}
		if strings.Contains(line, "Serving on") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if w.before, err = w.sockets(); err != nil {
		return nil, errors.Join(err, w.end())
	}
	return w, nil
}

// sockets counts the sockets that the worker has open.
func (w *worker) sockets() (int, error) {
	folder := fmt.Sprintf("/proc/%d/fd", w.cmd.Process.Pid)
	files, err := os.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, f := range files {
		target, err := os.Readlink(folder + "/" + f.Name())
		if err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n, nil
}

func (w *worker) end() error {
	err := w.cmd.Process.Kill()
	_ = w.cmd.Wait() // it was killed
	return err
}

// duplicate makes a file of a duplicate of the listener's descriptor, in blocking mode. The file
// that package net makes would not do: it is blocking from the moment on that os/exec has it.
func duplicate(l *net.TCPListener) (*os.File, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	own := -1
	controlErr := raw.Control(func(fd uintptr) {
		if own, err = syscall.Dup(int(fd)); err == nil {
			syscall.CloseOnExec(own)
			err = syscall.SetNonblock(own, false)
		}
	})
	if err := errors.Join(controlErr, err); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(own), "socket"), nil
}

// setNonblocking sets the flag, which all that share the socket see, and makes sure that it
// is still there when os/exec has asked for the descriptor, as it does to pass it on.
func setNonblocking(socket *os.File, nonblocking bool) error {
	if err := syscall.SetNonblock(int(socket.Fd()), nonblocking); err != nil {
		return err
	}
	flags, err := unix.FcntlInt(socket.Fd(), unix.F_GETFL, 0)
	if err == nil && (flags&unix.O_NONBLOCK != 0) != nonblocking {
		err = errors.New("the socket's flag did not stay")
	}
	return err
}
