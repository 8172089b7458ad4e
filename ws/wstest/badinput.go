package wstest

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaussette/chaussette/ws"
)

func runBadInput(t *testing.T, newEngine NewEngine, start Start) {
	connect := func(t *testing.T, config ws.Config) (*Client, *Recorder) {
		t.Helper()
		c, client := open(t, newEngine, config)
		r := NewRecorder(Echo{})
		c.Serve(r)
		return client, r
	}
	raw := func(bytes ...byte) []byte { return bytes }
	tests := []struct {
		name string
		send []byte
		code ws.StatusCode
		err  error
	}{
		{"unmasked frame", Frame{Opcode: Text, Payload: []byte("x"), Unmasked: true}.Bytes(), ws.StatusProtocolError, ws.ErrUnmasked},
		{"reserved opcode", F(3, "").Bytes(), ws.StatusProtocolError, ws.ErrReservedOpcode},
		{"reserved bits", rsv(F(Text, ""), 1).Bytes(), ws.StatusProtocolError, ws.ErrReservedBits},
		{"fragmented ping", more(F(Ping, "")).Bytes(), ws.StatusProtocolError, ws.ErrFragmentedControl},
		{"control frame of 126 bytes", F(Ping, strings.Repeat("x", 126)).Bytes(), ws.StatusProtocolError, ws.ErrControlTooLong},
		{"continuation without start", F(Continuation, "").Bytes(), ws.StatusProtocolError, ws.ErrNoFirstFrame},
		{"message in a message", sends(more(F(Text, "a")), F(Text, "b")), ws.StatusProtocolError, ws.ErrUnfinishedMessage},
		{"close with 1 byte", F(Close, "x").Bytes(), ws.StatusProtocolError, ws.ErrClosePayload},
		{"close with 1005", CloseFrame(1005, "").Bytes(), ws.StatusProtocolError, ws.ErrInvalidStatusCode},
		{"close with invalid text", CloseFrame(1000, "\xff").Bytes(), ws.StatusInvalidPayload, ws.ErrInvalidUTF8},
		{"length with top bit", raw(0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4), ws.StatusProtocolError, ws.ErrLengthTopBit},
		{"length of 2^63-1", raw(0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4), ws.StatusMessageTooBig, ws.ErrMessageTooBig},
		{"16 bits for 125", raw(0x82, 0xFE, 0, 125, 1, 2, 3, 4), ws.StatusProtocolError, ws.ErrLengthNotMinimal},
		{"64 bits for 65535", raw(0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4), ws.StatusProtocolError, ws.ErrLengthNotMinimal},
		{"message past the limit", F(Binary, strings.Repeat("x", 1<<20+1)).Bytes(), ws.StatusMessageTooBig, ws.ErrMessageTooBig},
		{"fragments past the limit", sends(more(F(Binary, strings.Repeat("x", 1<<19))), more(F(Continuation, strings.Repeat("x", 1<<19))), more(F(Continuation, "x"))), ws.StatusMessageTooBig, ws.ErrMessageTooBig},
		{"garbage", []byte("GET / HTTP/1.1\r\n\r\n"), ws.StatusProtocolError, ws.ErrReservedBits},
	}
	for _, test := range tests {
		for _, chop := range []int{0, 1} {
			if chop == 1 && len(test.send) > 1000 {
				continue
			}
			name := test.name
			if chop == 1 {
				name += ", byte by byte"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				client, r := connect(t, defaults)
				go sendChopped(client, test.send, chop)
				if reason := client.ExpectClose(test.code); reason == "" {
					t.Error("the close frame does not say why")
				}
				client.Conn.Close()
				if err := ended(t, r); !errors.Is(err, test.err) || !err.Local || err.Code != test.code {
					t.Errorf("closed with %v, want %v", err, test.err)
				}
			})
		}
	}

	t.Run("a header and then silence", func(t *testing.T) {
		// What it promises is not allocated.
		engine := newEngine(t, ws.Config{PingInterval: 100 * time.Millisecond, PongTimeout: 100 * time.Millisecond, MaxMessageSize: 1 << 30})
		closeAfter(t, engine)
		r := NewRecorder(Echo{})
		header := raw(0x82, 0xFF, 0, 0, 0, 0, 0x3F, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4, 'x')
		before := heap()
		for range 20 {
			c, client := Pair(t, engine, nil)
			c.Serve(r)
			client.Send(header)
		}
		for range 20 {
			if err := ended(t, r); !errors.Is(err, ws.ErrPongTimeout) {
				t.Errorf("closed with %v", err)
			}
		}
		if grown := int64(heap()) - int64(before); grown > 40<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
	})

	t.Run("100,000 empty fragments", func(t *testing.T) {
		client, _ := connect(t, defaults)
		go func() {
			one := more(F(Continuation, "")).Bytes()
			client.Frames(more(F(Text, "")))
			many := []byte(strings.Repeat(string(one), 1000))
			for range 100 {
				client.Send(many)
			}
			client.Frames(F(Continuation, "end"))
		}()
		client.Expect(F(Text, "end"))
		client.Bye()
	})

	t.Run("many pings that are not read", func(t *testing.T) {
		client, r := connect(t, ws.Config{MaxQueue: 50_000})
		many := []byte(strings.Repeat(string(F(Ping, strings.Repeat("x", 125)).Bytes()), 1000))
		for range 50 {
			client.Send(many)
		}
		client.Conn.Close()
		ended(t, r)
	})

	t.Run("a peer that never reads", func(t *testing.T) {
		client, r := connect(t, ws.Config{MaxQueue: 1 << 20, CloseTimeout: 100 * time.Millisecond})
		message := F(Binary, strings.Repeat("x", 100_000)).Bytes()
		go func() {
			for range 1000 {
				client.SetWriteDeadline(time.Now().Add(Patience))
				if _, err := client.Write(message); err != nil {
					return
				}
			}
		}()
		if err := ended(t, r); err.Code != ws.StatusTryAgainLater || !errors.Is(err, ws.ErrQueueFull) {
			t.Errorf("closed with %v", err)
		}
	})

	t.Run("a peer that resets in the middle of a frame", func(t *testing.T) {
		server := start(t, newEngine(t, defaults), EchoApp(false))
		for range 20 {
			c := Dial(t, server.Address, Handshake{})
			c.Send(F(Text, "cut here").Bytes()[:9])
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Conn.Close()
		}
		await(t, "the server to notice", func() bool { return server.Engine.Len() == 0 })
	})

	// traceless runs visits after which everything is as it was before.
	traceless := func(t *testing.T, some, all func(address string)) {
		server := start(t, newEngine(t, defaults), EchoApp(false))
		some(server.Address)
		await(t, "the first to leave", func() bool { return server.Engine.Len() == 0 })
		goroutines, files := runtime.NumGoroutine(), openFiles(t)
		all(server.Address)
		await(t, "all to leave", func() bool { return server.Engine.Len() == 0 })
		await(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
		await(t, "files to be closed", func() bool { return openFiles(t) <= files+5 })
	}

	t.Run("what 10,000 connections leave behind", func(t *testing.T) {
		traceless(t, func(address string) { visit(t, address, 50) }, func(address string) { visit(t, address, 10_000) })
	})

	t.Run("10,000 half-open handshakes", func(t *testing.T) {
		// As many at once as a process may have files; somebody else is served meanwhile.
		const atOnce = 2000
		traceless(t, func(address string) { halfOpen(t, address, 10) }, func(address string) {
			for range 10_000 / atOnce {
				halfOpen(t, address, atOnce)
			}
		})
	})
}

// halfOpen has n handshakes begin and never end, and a good one beside them.
func halfOpen(t *testing.T, address string, n int) {
	t.Helper()
	request := Handshake{}.Request(address)
	for i := range n {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := nc.Write(request[:i%len(request)]); err != nil {
			t.Fatal(err)
		}
	}
	c := Dial(t, address, Handshake{})
	c.Frames(F(Text, "x"))
	c.Expect(F(Text, "x"))
	c.Bye()
}

// visit connects n times and leaves in all ways there are.
func visit(t *testing.T, address string, n int) {
	var guests sync.WaitGroup
	doors := make(chan struct{}, 20)
	for i := range n {
		doors <- struct{}{}
		guests.Go(func() {
			defer func() { <-doors }()
			nc, err := net.Dial("tcp", address)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			c := NewClient(t, nc)
			request := Handshake{}.Request(address)
			switch i % 6 {
			case 0:
				return
			case 1: // a handshake that is half open
				c.Send(request[:len(request)/2])
				return
			}
			c.Send(request)
			if i%6 == 2 {
				return
			}
			for line := ""; line != "\r\n"; {
				if line, err = c.in.ReadString('\n'); err != nil {
					return
				}
			}
			c.Frames(F(Text, "hello"))
			switch i % 6 {
			case 3:
				nc.(*net.TCPConn).SetLinger(0)
			case 4:
				c.Frames(CloseFrame(ws.StatusNormal, ""))
				c.Next()
				c.Next()
			case 5:
				c.Send(F(Text, "never whole").Bytes()[:8])
			}
		})
	}
	guests.Wait()
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
