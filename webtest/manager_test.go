package webtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/webtest"
)

// roleVariable makes the test binary a worker of another kind: its value names one of roles.
const roleVariable = "WEBTEST_ROLE"

var roles = map[string]func(){
	// A worker that tells what it was given.
	"inspect": func() {
		for fd := range 5 {
			if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
				continue
			}
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			fmt.Printf("socket %d nonblocking %v %v\n", fd, flags&unix.O_NONBLOCK != 0, err)
		}
		session, err := unix.Getsid(0)
		fmt.Println("session leader", session == os.Getpid(), err)
		fmt.Println("group leader", unix.Getpgrp() == os.Getpid())
		fmt.Println("for itself", os.Getenv("LISTEN_PID") == fmt.Sprint(os.Getpid()), os.Getenv("LISTEN_FDS"))
		fmt.Println("environment", os.Getenv("WEBTEST_PROBE"))
		fmt.Println("arguments", strings.Join(os.Args[1:], " "))
		serveNothing()
	},
	// Bad workers.
	"stubborn": func() {
		signal.Ignore(syscall.SIGTERM)
		fmt.Fprintln(os.Stderr, "Using nothing as a backend")
		select {}
	},
	"unhappy": func() {
		serveNothing()
		os.Exit(3)
	},
	"parent": func() {
		child := exec.Command(os.Args[0])
		child.Env = []string{roleVariable + "=stubborn"}
		if err := child.Start(); err != nil {
			panic(err)
		}
		serveNothing()
	},
	"early": func() { fmt.Fprintln(os.Stderr, "no app") },
}

func serveNothing() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "Using nothing as a backend")
	<-term
}

// A worker that does not go, goes unhappily or leaves somebody behind fails the test, also
// where nobody but the test's end has stopped it.
func TestBadEnds(t *testing.T) {
	for _, test := range []struct{ role, says string }{
		{"stubborn", "was killed"},
		{"unhappy", "ended with status 3"},
		{"parent", "has left a child behind"},
		{"early", "ended without"},
	} {
		t.Run(test.role, func(t *testing.T) {
			t.Parallel()
			fake := &fakeTB{TB: t}
			fake.run(func() {
				webtest.StartProgram(fake, webtest.Impatient(webtest.Circus), 1, os.Args[0], []string{roleVariable + "=" + test.role})
			})
			if log := fake.log.String(); !fake.Failed() || !strings.Contains(log, test.says) {
				t.Errorf("failed %v, with\n%s\nwant %q", fake.Failed(), log, test.says)
			}
		})
	}
}

// fakeTB is a testing.T that may fail.
type fakeTB struct {
	testing.TB
	mu       sync.Mutex
	failed   bool
	log      strings.Builder
	cleanups []func()
}

// run calls test in a goroutine of its own, which Fatal ends, and cleans up.
func (f *fakeTB) run(test func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(f.cleanups) - 1; i >= 0; i-- {
				f.cleanups[i]()
			}
		}()
		test()
	}()
	<-done
}

func (f *fakeTB) Helper()          {}
func (f *fakeTB) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }

func (f *fakeTB) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(&f.log, format+"\n", args...)
}

func (f *fakeTB) Errorf(format string, args ...any) {
	f.Logf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = true
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

func (f *fakeTB) Failed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}
