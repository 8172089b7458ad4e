package siblings_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaussette/chaussette/listener/siblings"
)

// Workers that start at once all meet, and messages come in order.
func TestMeet(t *testing.T) {
	base := t.TempDir()
	workers := make([]*worker, 5)
	var starting sync.WaitGroup
	for i := range workers {
		starting.Go(func() { workers[i] = open(t, siblings.Options{Base: base}) })
	}
	starting.Wait()
	for _, w := range workers {
		for _, other := range workers {
			if other != w {
				w.event("+" + string(other.Tag()))
			}
		}
	}
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
		if tags, err := workers[0].Broadcast(siblings.Testing, []byte(fmt.Sprint(i))); len(tags) != 4 || err != nil {
			t.Fatal(tags, err)
		}
	}
	for _, w := range workers[1:] {
		w.wait("messages", func() bool { return len(w.got) == 100 })
		if got := w.payloads(); got != strings.Join(want, " ") {
			t.Errorf("%s", got)
		}
	}
	if n := len(workers[0].got); n != 0 {
		t.Errorf("a worker has got %d messages of its own", n)
	}
	tag := workers[1].Tag()
	_ = workers[1].Close()
	workers[0].event("-" + string(tag))
	if err := workers[0].Send(tag, siblings.Testing, nil); !errors.Is(err, siblings.ErrGone) {
		t.Errorf("to one that has left: %v", err)
	}
	for _, w := range workers {
		_ = w.Close()
	}
	if _, err := os.Stat(folderOf(base)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the last one has left the folder: %v", err)
	}
}

// What was sent before Close arrives.
func TestCloseFlushes(t *testing.T) {
	base := t.TempDir()
	a, b := open(t, siblings.Options{Base: base}), open(t, siblings.Options{Base: base})
	big := bytes.Repeat([]byte("x"), 1<<20)
	for range 8 {
		if err := a.Send(b.Tag(), siblings.Testing, big); err != nil {
			t.Fatal(err)
		}
	}
	_ = a.Close()
	b.event("-" + string(a.Tag()))
	b.wait("all", func() bool { return len(b.got) == 8 })
}

func TestOthers(t *testing.T) {
	base := t.TempDir()
	a := open(t, siblings.Options{Base: base})
	other := open(t, siblings.Options{Base: base, Key: "test-2"})
	if len(a.Peers())+len(other.Peers()) > 0 {
		t.Error("workers of two sockets have met")
	}
}

// A descriptor arrives with its message, among others; one that nobody takes is closed.
func TestHandOver(t *testing.T) {
	base := t.TempDir()
	p := start(t, "echo", base)
	to := siblings.Tag(p.line())
	a := open(t, siblings.Options{Base: base})
	for i := range 20 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		payload := []byte(fmt.Sprint("hello ", i))
		if err := a.HandOver(to, siblings.Testing, payload, int(w.Fd())); err != nil {
			t.Fatal(err)
		}
		if err := a.Send(to, siblings.Testing, []byte("between")); err != nil {
			t.Fatal(err)
		}
		_ = w.Close()
		got, err := io.ReadAll(r)
		if err != nil || string(got) != string(payload) {
			t.Errorf("%q, %v", got, err)
		}
		_ = r.Close()
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.HandOver(to, siblings.Connections, nil, int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) > 0 { // it ends when all descriptors are closed
		t.Errorf("%q, %v", got, err)
	}
	_ = r.Close()
}

// A descriptor that comes with a message of a kind that takes none is closed, and who has
// sent it is dropped.
func TestUnwantedDescriptor(t *testing.T) {
	base := t.TempDir()
	a := open(t, siblings.Options{Base: base})
	s, err := siblings.Open(&siblings.Options{Key: key, Base: base, Logger: slog.New(slog.NewTextHandler(a.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Handle(siblings.Groups, func(m siblings.Message) { t.Errorf("%+v", m) })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := a.HandOver(s.Tag(), siblings.Groups, nil, int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if got, err := io.ReadAll(r); err != nil || len(got) > 0 { // until all are closed
		t.Errorf("%q, %v", got, err)
	}
	a.event("-" + string(s.Tag()))
}

// A worker that is killed is known to be gone, and its socket is removed.
func TestKilled(t *testing.T) {
	base := t.TempDir()
	p := start(t, "echo", base)
	tag := p.line()
	a := open(t, siblings.Options{Base: base})
	a.event("+" + tag)
	p.signal(syscall.SIGKILL)
	a.event("-" + tag)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(filepath.Join(folderOf(base), tag)); errors.Is(err, os.ErrNotExist) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the socket of a dead worker stays")
		}
	}
}

// A stopped worker is dropped, holds up nobody, and is met again when it goes on.
func TestStopped(t *testing.T) {
	base := t.TempDir()
	p := start(t, "echo", base)
	tag := siblings.Tag(p.line())
	a := open(t, siblings.Options{Base: base, MaxQueue: 1 << 20, StallTimeout: time.Minute})
	b := open(t, siblings.Options{Base: base})
	a.event("+" + string(tag))
	p.signal(syscall.SIGSTOP)
	sent := 0
	for chunk := make([]byte, 64<<10); ; sent++ {
		tags, err := a.Broadcast(siblings.Testing, chunk)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(tags, tag) {
			break
		}
		b.wait("as fast as this", func() bool { return len(b.got) >= sent })
	}
	a.event("-" + string(tag))
	if !strings.Contains(a.log.String(), "too much waits for it") {
		t.Errorf("log: %s", a.log)
	}
	p.signal(syscall.SIGCONT)
	a.wait("back", func() bool { return len(a.events) > 2 && a.events[len(a.events)-1] == "+"+string(tag) })
	if err := a.Send(tag, siblings.Testing, []byte("again")); err != nil {
		t.Fatal(err)
	}
	a.wait("an echo", func() bool { return len(a.got) > 0 && string(a.got[len(a.got)-1].Payload) == "again" })
}

// One that takes nothing for too long is dropped, however little waits.
func TestStalled(t *testing.T) {
	base := t.TempDir()
	p := start(t, "echo", base)
	tag := siblings.Tag(p.line())
	a := open(t, siblings.Options{Base: base, StallTimeout: 50 * time.Millisecond})
	a.event("+" + string(tag))
	p.signal(syscall.SIGSTOP)
	if err := a.Send(tag, siblings.Testing, make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	a.event("-" + string(tag))
}

func TestTooLarge(t *testing.T) {
	base := t.TempDir()
	a := open(t, siblings.Options{Base: base, MaxMessage: 100})
	b := open(t, siblings.Options{Base: base})
	if err := a.Send(b.Tag(), siblings.Testing, make([]byte, 101)); !errors.Is(err, siblings.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := a.Broadcast(siblings.Testing, make([]byte, 101)); !errors.Is(err, siblings.ErrTooLarge) {
		t.Error(err)
	}
	// The other one's limit is larger: what it sends drops it, not this worker.
	if err := b.Send(a.Tag(), siblings.Testing, make([]byte, 101)); err != nil {
		t.Fatal(err)
	}
	a.event("-" + string(b.Tag()))
	a.wait("back", func() bool { return len(a.events) >= 3 })
}

// What a sibling has sent on one of two connections is taken, when the other ends first.
func TestTwoConnections(t *testing.T) {
	base := t.TempDir()
	w := open(t, siblings.Options{Base: base})
	reading, goOn := make(chan struct{}), make(chan struct{})
	w.hold.Store(&hold{reading, goOn})
	first, second := raw(t, base, w), raw(t, base, w)
	for _, c := range []*net.UnixConn{first, second} {
		if _, err := c.Write(hello(siblings.Version, key, "ABCD")); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != nil { // its hello: it knows of this connection
			t.Fatal(err)
		}
	}
	if _, err := first.Write(frame(byte(siblings.Testing), 0, "first")); err != nil {
		t.Fatal(err)
	}
	<-reading
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _, err = first.WriteMsgUnix(frame(byte(siblings.Testing), 1, "with a descriptor"), syscall.UnixRights(int(wr.Fd())), nil)
	_ = wr.Close()
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Close()
	_ = first.Close()
	for end := time.Now().Add(patience); w.Has("ABCD"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the end is not noticed")
		}
	}
	close(goOn)
	w.event("-ABCD")
	w.wait("the message", func() bool { return w.payloads() == "first with a descriptor" })
	_ = syscall.Close(w.got[1].FD)
}

// A descriptor that was for one who is dropped comes back, and what was sent before it does
// not.
func TestGiveBack(t *testing.T) {
	base := t.TempDir()
	p := start(t, "echo", base)
	tag := siblings.Tag(p.line())
	a := open(t, siblings.Options{Base: base, MaxQueue: 8 << 20})
	a.event("+" + string(tag))
	p.signal(syscall.SIGSTOP)
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 3 {
		if err := a.Send(tag, siblings.Testing, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if err := a.HandOver(tag, siblings.Testing, []byte(fmt.Sprint(i)), int(wr.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	_ = wr.Close()
	if err := a.Send(tag, siblings.Testing, make([]byte, 8<<20)); !errors.Is(err, siblings.ErrGone) {
		t.Fatal(err)
	}
	a.event("-" + string(tag))
	a.wait("all", func() bool { return len(a.back) == 3 })
	if got := strings.Join(a.back, " "); got != "0 1 2" {
		t.Errorf("%q has come back", got)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "012" { // and none is left open
		t.Errorf("%q, %v", got, err)
	}
}

// raw is a connection to a worker that speaks by hand.
func raw(t *testing.T, base string, w *worker) *net.UnixConn {
	t.Helper()
	c, err := net.Dial("unix", filepath.Join(folderOf(base), string(w.Tag())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.UnixConn)
}

func frame(kind, flags byte, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload)))
	return append(append(b, kind, flags), payload...)
}

func hello(version int, key, tag string) []byte {
	return frame(0, 0, fmt.Sprintf(`{"siblings":%d,"socket":%q,"tag":%q,"pid":1}`, version, key, tag))
}

func TestBadInput(t *testing.T) {
	base := t.TempDir()
	w := open(t, siblings.Options{Base: base, MaxMessage: 1000})
	good := hello(siblings.Version, key, "ABCD")
	for _, c := range []struct {
		name  string
		bytes []byte
		fds   int
	}{
		{"no hello", frame(byte(siblings.Testing), 0, "x"), 0},
		{"nothing of ours", []byte("GET / HTTP/1.1\r\n\r\n"), 0},
		{"hello without JSON", frame(0, 0, "hello"), 0},
		{"long hello", frame(0, 0, strings.Repeat("x", 5000)), 0},
		{"hello of another socket", hello(siblings.Version, "test-2", "ABCD"), 0},
		{"hello of another version", hello(siblings.Version+1, key, "ABCD"), 0},
		{"hello with a bad tag", hello(siblings.Version, key, "../../x"), 0},
		{"hello with its own tag", hello(siblings.Version, key, string(w.Tag())), 0},
		{"oversized", append(slices.Clone(good), frame(byte(siblings.Testing), 0, strings.Repeat("x", 1001))...), 0},
		{"length with its top bit set", append(slices.Clone(good), 0x80, 0, 0, 1, 2, 0), 0},
		{"unknown flags", append(slices.Clone(good), frame(byte(siblings.Testing), 2, "x")...), 0},
		{"no descriptor", append(slices.Clone(good), frame(byte(siblings.Testing), 1, "x")...), 0},
		{"a descriptor too many", append(slices.Clone(good), frame(byte(siblings.Testing), 0, "x")...), 1},
		{"many descriptors", append(slices.Clone(good), frame(byte(siblings.Testing), 1, "x")...), 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := raw(t, base, w)
			r, wr, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			var rights []byte
			if c.fds > 0 {
				rights = syscall.UnixRights(slices.Repeat([]int{int(wr.Fd())}, c.fds)...)
			}
			_, _, err = conn.WriteMsgUnix(c.bytes, rights, nil)
			_ = wr.Close()
			if err != nil {
				t.Fatal(err)
			}
			// It is closed from the other side, whatever it says before.
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection stays open")
			}
			if got, err := io.ReadAll(r); err != nil || len(got) > 0 { // until all are closed
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	other := open(t, siblings.Options{Base: base})
	if err := other.Send(w.Tag(), siblings.Testing, []byte("well")); err != nil {
		t.Fatal(err)
	}
	w.wait("a message", func() bool { return strings.HasSuffix(w.payloads(), "well") })
	if !strings.Contains(w.log.String(), fmt.Sprintf("of another version: %d, and this worker of %d", siblings.Version+1, siblings.Version)) {
		t.Errorf("log: %s", w.log)
	}
}

func TestFolder(t *testing.T) {
	for _, c := range []struct {
		name string
		lay  func(path string) error
		want string
	}{
		{"link", func(path string) error { return os.Symlink(t.TempDir(), path) }, "is a link"},
		{"file", func(path string) error { return os.WriteFile(path, nil, 0o600) }, "is a link or a file"},
		{"mode", func(path string) error { return errors.Join(os.Mkdir(path, 0o755), os.Chmod(path, 0o755)) }, "has mode 0755"},
		{"owner", func(path string) error {
			return errors.Join(os.Mkdir(path, 0o700), byRoot("chown", "65534:65534", path).Run())
		}, "belongs to user 65534"},
	} {
		for _, depth := range []string{"all sockets", "one socket"} {
			t.Run(c.name+"/"+depth, func(t *testing.T) {
				base := t.TempDir()
				path := filepath.Dir(folderOf(base))
				if depth == "one socket" {
					if err := os.Mkdir(path, 0o700); err != nil {
						t.Fatal(err)
					}
					path = folderOf(base)
				}
				if err := c.lay(path); err != nil {
					t.Fatal(err)
				}
				s, err := siblings.Open(&siblings.Options{Key: key, Base: base})
				if err == nil {
					_ = s.Close()
					t.Fatal("it was used")
				}
				var folder *siblings.FolderError
				if !errors.As(err, &folder) || folder.Path != path || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			})
		}
	}
	for _, bad := range []string{"..", "a/b", "/", ".x"} {
		if s, err := siblings.Open(&siblings.Options{Key: bad, Base: t.TempDir()}); err == nil {
			_ = s.Close()
			t.Errorf("%q names a folder", bad)
		}
	}
}

// byRoot is a command of root's: the set-up of the tests needs root or sudo as well.
func byRoot(name string, args ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		return exec.Command(name, args...)
	}
	return exec.Command("sudo", append([]string{"--non-interactive", name}, args...)...)
}

// stranger is a process of another user: it tries to list, to connect and to inject, and
// prints what came of it.
func stranger(base string) {
	folders, _ := filepath.Glob(filepath.Join(base, "chaussette-*"))
	_, err := os.ReadDir(filepath.Join(folders[0], key))
	fmt.Println("list:", err != nil)
	var path string
	if _, err := fmt.Scanln(&path); err != nil {
		return
	}
	_, err = net.Dial("unix", path)
	fmt.Println("refused by the folder:", errors.Is(err, os.ErrPermission))
	_, _ = fmt.Scanln(&path) // the folder is opened wide now
	c, err := net.Dial("unix", path)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = c.Write(append(hello(siblings.Version, key, "ABCD"), frame(byte(siblings.Testing), 0, "injected")...))
	got, _ := io.ReadAll(c)
	fmt.Println("refused by the worker:", len(got) == 0)
}

func TestAnotherUser(t *testing.T) {
	base, err := os.MkdirTemp("", "siblings-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(base)
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	// The test binary lies where nobody else can read.
	binary := filepath.Join(base, "stranger")
	program, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, program, 0o755); err != nil {
		t.Fatal(err)
	}
	w := open(t, siblings.Options{Base: base})
	path := filepath.Join(folderOf(base), string(w.Tag()))

	p := startBy(t, byRoot("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", roleVariable+"=stranger", binary, base))
	expect := func(want string) {
		t.Helper()
		if got := p.line(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	expect("list: true")
	fmt.Fprintln(p.stdin, path)
	expect("refused by the folder: true")
	for path, mode := range map[string]os.FileMode{filepath.Dir(folderOf(base)): 0o755, folderOf(base): 0o755, path: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintln(p.stdin, path)
	expect("refused by the worker: true")
	if n := len(w.Peers()); n != 0 || w.payloads() != "" {
		t.Errorf("%d peers, %q", n, w.payloads())
	}
}

// What killed workers of other sockets have left is removed.
func TestSweep(t *testing.T) {
	base := t.TempDir()
	p := start(t, "echo", base)
	p.line()
	p.signal(syscall.SIGKILL)
	_, _ = p.cmd.Process.Wait()
	open(t, siblings.Options{Base: base, Key: "test-2"})
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(folderOf(base)); errors.Is(err, os.ErrNotExist) {
			return
		}
		if time.Now().After(end) {
			t.Fatal("it stays")
		}
	}
}
