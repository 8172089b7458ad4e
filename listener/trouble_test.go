package listener_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chaussette/chaussette/listener"
)

// logTo logs to w, without the time.
func logTo(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// inAWhile is a deadline for what may not happen at all.
func inAWhile() time.Time { return time.Now().Add(50 * time.Millisecond) }

// acceptError wraps errno as package net does.
func acceptError(errno syscall.Errno) error {
	return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", errno)}
}

func TestTroublePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls := 0
		l := listener.FromAccept(func() (net.Conn, error) {
			if calls++; calls <= 12 {
				return nil, acceptError(syscall.EMFILE)
			}
			return nil, nil
		}, logTo(&log))
		start := time.Now()
		_, err := l.Accept()
		check(t, err)
		// 5 ms doubled seven times is 1,275 ms, and four times a second.
		if waited := time.Since(start); waited != 5275*time.Millisecond {
			t.Errorf("it waited %v", waited)
		}
		want := "level=ERROR msg=\"cannot accept connections, waiting\" error=\"too many open files\"\n" +
			"level=INFO msg=\"accepting connections again\" after=5.275s\n"
		if log.String() != want {
			t.Errorf("it logged\n%swant\n%s", log.String(), want)
		}
	})
}

// A server that stands at its limit accepts a connection whenever one ends. That is one trouble.
func TestTroubleComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls := 0
		l := listener.FromAccept(func() (net.Conn, error) {
			if calls++; calls%2 == 1 {
				return nil, acceptError(syscall.EMFILE)
			}
			return nil, nil
		}, logTo(&log))
		for range 100 {
			_, err := l.Accept()
			check(t, err)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("it logged %d lines:\n%s", n, log.String())
		}
	})
}

func TestErrorsOfAccept(t *testing.T) {
	for _, test := range []struct {
		errno  syscall.Errno
		passes bool
		logs   bool
	}{
		{syscall.ECONNABORTED, true, false},
		{syscall.EPROTO, true, false},
		{syscall.EHOSTUNREACH, true, false},
		{syscall.EMFILE, true, true},
		{syscall.ENFILE, true, true},
		{syscall.ENOBUFS, true, true},
		{syscall.ENOMEM, true, true},
		{syscall.EPERM, true, true},
		{syscall.EINVAL, false, false}, // somebody has shut the socket down
		{syscall.EBADF, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			failed := false
			l := listener.FromAccept(func() (net.Conn, error) {
				if !failed {
					failed = true
					return nil, acceptError(test.errno)
				}
				return nil, nil
			}, logTo(&log))
			_, err := l.Accept()
			if test.passes && err != nil || !test.passes && !errors.Is(err, test.errno) {
				t.Errorf("%v: Accept returned %v", test.errno, err)
			}
			if logged := log.Len() > 0; logged != test.logs {
				t.Errorf("%v: it logged %q", test.errno, log.String())
			}
		})
	}
}

func TestCloseEndsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listener.FromAccept(func() (net.Conn, error) {
			return nil, acceptError(syscall.EMFILE)
		}, slog.New(slog.DiscardHandler))
		got := accept(l)
		synctest.Wait()
		check(t, l.Close())
		if a := <-got; !errors.Is(a.err, net.ErrClosed) {
			t.Errorf("Accept returned %v", a.err)
		}
	})
}
