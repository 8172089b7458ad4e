package siblings_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chaussette/chaussette/internal/logtest"
	"github.com/chaussette/chaussette/listener/siblings"
)

// patience bounds what should take no time.
const patience = 20 * time.Second

// roleVariable makes the test binary another worker: its value names a function of roles.
const roleVariable = "SIBLINGS_TEST_ROLE"

var roles = map[string]func(base string){"echo": echo, "stranger": stranger}

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		role(os.Args[1])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// process is the test binary in a role. What it prints comes line by line.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines *bufio.Scanner
}

func start(t *testing.T, role, base string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], base)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return startBy(t, cmd)
}

// startBy starts the test binary by a command.
func startBy(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd}
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewScanner(stdout)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
		_ = p.stdin.Close()
		_ = p.cmd.Wait()
	})
	return p
}

func (p *process) line() string {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatal("the process has ended")
	}
	return p.lines.Text()
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// echo is a worker that sends everything back, and serves until its standard input ends.
func echo(base string) {
	s, err := siblings.Open(&siblings.Options{Key: key, Base: base})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	s.Take(siblings.Testing, func(m siblings.Message) {
		if m.FD >= 0 {
			file := os.NewFile(uintptr(m.FD), "passed")
			_, _ = file.Write(m.Payload)
			_ = file.Close()
			return
		}
		_ = s.Send(m.From, siblings.Testing, m.Payload)
	})
	if err := s.Start(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Tag())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

const key = "test-1"

// worker is a Siblings in this process that keeps what it hears.
type worker struct {
	*siblings.Siblings
	t   *testing.T
	log *logtest.Buffer

	mu      sync.Mutex
	changed *sync.Cond
	got     []siblings.Message
	events  []string // "+tag" and "-tag"
	back    []string // what was given back

	hold atomic.Pointer[hold]
}

// hold has a worker stop at its next message.
type hold struct {
	there chan<- struct{} // closed when it has come
	until <-chan struct{}
}

func open(t *testing.T, o siblings.Options) *worker {
	t.Helper()
	w := &worker{t: t, log: &logtest.Buffer{}}
	w.changed = sync.NewCond(&w.mu)
	if o.Key == "" {
		o.Key = key
	}
	o.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	s, err := siblings.Open(&o)
	if err != nil {
		t.Fatal(err)
	}
	w.Siblings = s
	s.Take(siblings.Testing, func(m siblings.Message) {
		if h := w.hold.Swap(nil); h != nil {
			close(h.there)
			<-h.until
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got = append(w.got, m)
		w.changed.Broadcast()
	})
	s.GiveBack(siblings.Testing, func(_ siblings.Tag, payload []byte, fd int) {
		file := os.NewFile(uintptr(fd), "given back")
		_, _ = file.Write(payload)
		_ = file.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.back = append(w.back, string(payload))
		w.changed.Broadcast()
	})
	s.Watch(func(tag siblings.Tag, joined bool) {
		w.mu.Lock()
		defer w.mu.Unlock()
		sign := "-"
		if joined {
			sign = "+"
		}
		w.events = append(w.events, sign+string(tag))
		w.changed.Broadcast()
	})
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	return w
}

// wait waits until f, which is called with w locked, is true.
func (w *worker) wait(what string, f func() bool) {
	w.t.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		late = true
		w.changed.Broadcast()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for !f() {
		if late {
			w.t.Fatalf("never: %s; events %v, %d messages, log:\n%s", what, w.events, len(w.got), w.log)
		}
		w.changed.Wait()
	}
}

func (w *worker) event(e string) {
	w.t.Helper()
	w.wait(e, func() bool { return slices.Contains(w.events, e) })
}

func (w *worker) payloads() string {
	var all []string
	for _, m := range w.got {
		all = append(all, string(m.Payload))
	}
	return strings.Join(all, " ")
}

func folderOf(base string) string {
	return filepath.Join(base, fmt.Sprintf("chaussette-%d", os.Geteuid()), key)
}
