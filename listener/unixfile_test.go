package listener_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/listener"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := open(t, "unix:"+path, nil)[0]
	if l.String() != "unix:"+path || l.Addr().String() != path {
		t.Errorf("its name is %q, its address %q", l, l.Addr())
	}
	got := accept(l)
	talk(t, dial(t, l.Addr()), await(t, got, "the connection"))
	check(t, l.Close())
	if exists(path) {
		t.Error("the file is there after Close")
	}
}

func TestUnixAbstract(t *testing.T) {
	name := fmt.Sprintf("@chaussette-test-%d", os.Getpid())
	l := open(t, "unix:"+name, &listener.Options{UnixMode: 0o600})[0]
	got := accept(l)
	talk(t, dial(t, l.Addr()), await(t, got, "the connection"))
	if exists(name) {
		t.Error("there is a file")
	}
}

// A relative path keeps its meaning when the process changes its folder.
func TestUnixRelative(t *testing.T) {
	folder := t.TempDir()
	t.Chdir(folder)
	l := open(t, "unix:s", nil)[0]
	t.Chdir("/")
	check(t, l.Close())
	if exists(filepath.Join(folder, "s")) {
		t.Error("the file is there after Close")
	}
}

func TestUnixMode(t *testing.T) {
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	for _, test := range []struct{ mode, want os.FileMode }{
		{0, 0o750},
		{0o600, 0o600},
		{0o666, 0o666}, // more than the umask leaves
	} {
		path := filepath.Join(t.TempDir(), "s")
		open(t, "unix:"+path, &listener.Options{UnixMode: test.mode})
		info, err := os.Stat(path)
		check(t, err)
		if info.Mode().Perm() != test.want {
			t.Errorf("mode %o gives %o, want %o", test.mode, info.Mode().Perm(), test.want)
		}
	}
}

func TestUnixStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	check(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	if !exists(path) {
		t.Fatal("no stale file")
	}
	l := open(t, "unix:"+path, nil)[0]
	got := accept(l)
	talk(t, dial(t, l.Addr()), await(t, got, "the connection"))
}

func TestUnixAnswered(t *testing.T) {
	folder := t.TempDir()
	live := open(t, "unix:"+folder+"/live", nil)[0]
	got := accept(live)
	if _, err := listener.Open("unix:"+folder+"/live", nil); !errors.Is(err, listener.ErrAnswered) {
		t.Errorf("a live socket: %v", err)
	}
	probe := await(t, got, "the probe")
	check(t, probe.err)
	probe.conn.Close()

	// One that lives but has no room in its backlog.
	full := open(t, "unix:"+folder+"/full", &listener.Options{Backlog: 1})[0]
	dial(t, full.Addr())
	dial(t, full.Addr())
	if _, err := listener.Open("unix:"+folder+"/full", nil); !errors.Is(err, listener.ErrAnswered) {
		t.Errorf("a full socket: %v", err)
	}

	datagram, err := net.ListenPacket("unixgram", folder+"/datagram")
	check(t, err)
	defer datagram.Close()
	if _, err := listener.Open("unix:"+folder+"/datagram", nil); !errors.Is(err, listener.ErrAnswered) {
		t.Errorf("a datagram socket: %v", err)
	}
	for _, name := range []string{"live", "full", "datagram"} {
		if !exists(filepath.Join(folder, name)) {
			t.Errorf("%s was removed", name)
		}
	}
}

func TestUnixNotSocket(t *testing.T) {
	folder := t.TempDir()
	check(t, os.WriteFile(folder+"/file", []byte("precious"), 0o600))
	check(t, os.Symlink("nowhere", folder+"/link"))
	check(t, os.Mkdir(folder+"/folder", 0o700))
	for _, name := range []string{"file", "link", "folder"} {
		if _, err := listener.Open("unix:"+folder+"/"+name, nil); !errors.Is(err, listener.ErrNotSocket) {
			t.Errorf("over a %s: %v", name, err)
		}
		if !exists(filepath.Join(folder, name)) {
			t.Errorf("the %s was removed", name)
		}
	}
	if content, err := os.ReadFile(folder + "/file"); err != nil || !bytes.Equal(content, []byte("precious")) {
		t.Errorf("the file holds %q, %v", content, err)
	}
	if _, err := listener.Open("unix:"+folder+"/none/s", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// A file that another process has put in the place of ours is not ours to remove.
func TestUnixReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l := open(t, "unix:"+path, nil)[0]
	check(t, os.Remove(path))
	other, err := net.Listen("unix", path)
	check(t, err)
	defer other.Close()
	check(t, l.Close())
	if !exists(path) {
		t.Error("Close removed the file of another socket")
	}
}

// Of many that find the same stale file one gets the path, and the others see that it is answered.
func TestUnixStaleRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	check(t, err)
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	var group sync.WaitGroup
	opened := make(chan listener.Listeners, 16)
	for range cap(opened) {
		group.Go(func() {
			ls, err := listener.Open("unix:"+path, nil)
			if err == nil {
				opened <- ls
			} else if !errors.Is(err, listener.ErrAnswered) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	close(opened)
	if len(opened) != 1 {
		t.Errorf("%d have opened it", len(opened))
	}
	for ls := range opened {
		dial(t, ls[0].Addr())
		ls.Close()
	}
}

// An inherited socket's file belongs to the parent.
func TestUnixInheritedStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	p := bind(t, "unix", path)
	check(t, p.worker().Close())
	if !exists(path) {
		t.Error("the file is gone")
	}
}
