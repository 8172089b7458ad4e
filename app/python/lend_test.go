package python_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"

	"golang.org/x/sys/unix"
)

// lending is a client's connection as a server on event loops has it: a descriptor that
// does not block, and the client's end.
func lending(t *testing.T) (fd int, client net.Conn) {
	t.Helper()
	pair, err := python.SocketPair()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(pair[1]), "client")
	client, err = net.FileConn(f)
	_ = f.Close()
	if err != nil {
		t.Fatal(err)
	}
	_ = client.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { _ = unix.Close(pair[0]); _ = client.Close() })
	return pair[0], client
}

func request(method, path, query string) *python.Request {
	env := new(python.Environ)
	env.Reset()
	env.Set("REQUEST_METHOD", method)
	env.Set("PATH_INFO", path)
	env.Set("QUERY_STRING", query)
	return &python.Request{Environ: env}
}

// relay is what a server owes a connection that it has lent: it writes what the child did
// not get rid of. It returns what it wrote, and how the response ended.
func relay(t *testing.T, fd int, s *sink) (int64, error) {
	t.Helper()
	sent := int64(0)
	write := func(c python.Chunk) {
		b := c.Append(nil)
		sent += int64(len(b))
		c.Release()
		for len(b) > 0 {
			n, err := unix.Write(fd, b)
			if err != nil && err != unix.EAGAIN && err != unix.EINTR {
				t.Fatal(err)
			}
			b = b[max(n, 0):]
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 20000)
		}
	}
	for {
		select {
		case c := <-s.data:
			write(c)
			continue
		default:
		}
		select {
		case c := <-s.data:
			write(c)
		case err := <-s.ended:
			for len(s.data) > 0 {
				write(<-s.data)
			}
			return sent, err
		case <-time.After(20 * time.Second):
			t.Fatal("the response does not end")
		}
	}
}

func TestLend(t *testing.T) {
	const size = 3_000_000
	whole := bytes.Repeat(func() (all []byte) {
		for i := range 256 {
			all = append(all, byte(i))
		}
		return
	}(), size/256+1)[:size]
	each(t, "apps:app", func(t *testing.T, s *served) {
		for _, test := range []struct {
			name, query string
			lending     *python.Lending
			want        func(t *testing.T, client io.Reader) ([]byte, error)
		}{
			{"plain", "&length", nil, func(_ *testing.T, c io.Reader) ([]byte, error) {
				return io.ReadAll(io.LimitReader(c, size))
			}},
			{"head", "&length", &python.Lending{Head: []byte("head\r\n\r\n")}, func(t *testing.T, c io.Reader) ([]byte, error) {
				head := make([]byte, 8)
				if _, err := io.ReadFull(c, head); err != nil || string(head) != "head\r\n\r\n" {
					t.Errorf("head %q, %v", head, err)
				}
				return io.ReadAll(io.LimitReader(c, size))
			}},
			{"chunked", "", &python.Lending{Chunked: true}, func(_ *testing.T, c io.Reader) ([]byte, error) {
				return io.ReadAll(httputil.NewChunkedReader(c))
			}},
		} {
			t.Run(test.name, func(t *testing.T) {
				fd, client := lending(t)
				back := newSink()
				call, err := s.Submit(request("GET", "/stream", fmt.Sprint(size, test.query)), back)
				if err != nil {
					t.Fatal(err)
				}
				if a := await(t, "the head", back.head); !a.Ask || a.Status != 200 {
					t.Fatalf("got %+v, want one that asks for the connection", a)
				}
				if err := call.Lend(fd, test.lending); err != nil {
					t.Fatal(err)
				}
				read := make(chan error, 1)
				go func() {
					// A client that is not in haste: the kernel's buffers fill up.
					time.Sleep(20 * time.Millisecond)
					got, err := test.want(t, client)
					if err == nil && !bytes.Equal(got, whole) {
						err = fmt.Errorf("%d bytes of %d, or other ones", len(got), size)
					}
					read <- err
				}()
				relayed, err := relay(t, fd, back)
				if err != nil {
					t.Fatal(err)
				}
				if test.lending != nil && test.lending.Chunked {
					_, _ = unix.Write(fd, []byte("0\r\n\r\n"))
				}
				if err := await(t, "the client", read); err != nil {
					t.Error(err)
				}
				written, made := call.Sent()
				if made != size || written == 0 || written+relayed < size {
					t.Errorf("the app made %d bytes, of which the child wrote %d and the worker %d", made, written, relayed)
				}
			})
		}
		t.Run("client leaves", func(t *testing.T) {
			fd, client := lending(t)
			back := newSink()
			call, err := s.Submit(request("GET", "/stream", fmt.Sprint(size*100, "&length")), back)
			if err != nil {
				t.Fatal(err)
			}
			await(t, "the head", back.head)
			_ = client.Close()
			if err := call.Lend(fd, nil); err != nil {
				t.Fatal(err)
			}
			if err := await(t, "the end", back.ended); !errors.Is(err, python.ErrAborted) {
				t.Errorf("got %v", err)
			}
		})
		// Last: the child asks less often after this.
		t.Run("kept", func(t *testing.T) {
			back := newSink()
			call, err := s.Submit(request("GET", "/stream", fmt.Sprint(size, "&length")), back)
			if err != nil {
				t.Fatal(err)
			}
			await(t, "the head", back.head)
			call.Keep()
			got := 0
			for got < size {
				c := await(t, "a part", back.data)
				got += c.Len()
				c.Release()
			}
			if err := await(t, "the end", back.ended); err != nil || got != size {
				t.Errorf("%d bytes, %v", got, err)
			}
		})
	})
}

// A client that is too slow for its connection is waited for by the worker, and not by the
// child, however the response is sent.
func TestLendToASlowClient(t *testing.T) {
	for _, mode := range []python.Mode{python.Threads, python.Gevent, python.Eventlet} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, "GET", s.url+"/stream?1000000000&length", nil)
			resp, err := s.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if n, err := io.CopyN(io.Discard, resp.Body, 20<<20); err != nil {
				t.Fatal(n, err)
			}
			child := pid(t, s)
			if size := resident(t, child); size > 80<<20 {
				t.Errorf("the child holds %d MiB", size>>20)
			}
			cancel()
			s.want("/pid", 200, child)
		})
	}
}

func TestLendBody(t *testing.T) {
	for _, mode := range []python.Mode{python.Serial, python.Threads, python.Gevent, python.Eventlet, python.Tornado} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			s := serve(t, "apps:app", python.Options{Mode: mode, Threads: 2})
			const size = 1_000_000
			open := func(t *testing.T, patience time.Duration) (net.Conn, *sink) {
				fd, client := lending(t)
				back := newSink()
				r := request("POST", "/read", "all")
				r.Stream = true
				r.Environ.Set("CONTENT_LENGTH", fmt.Sprint(size))
				call, err := s.Submit(r, back)
				if err != nil {
					t.Fatal(err)
				}
				await(t, "credit", back.credit)
				if err := call.LendBody(fd, []byte("first"), size-5, true, patience); err != nil {
					t.Fatal(err)
				}
				return client, back
			}
			t.Run("whole", func(t *testing.T) {
				client, back := open(t, 0)
				go func() {
					rest := bytes.Repeat([]byte("x"), size-5+7) // and what is not the body's
					for len(rest) > 0 {
						n, err := client.Write(rest[:min(len(rest), 77_777)])
						if err != nil {
							return
						}
						rest = rest[n:]
						time.Sleep(time.Millisecond)
					}
				}()
				if got := await(t, "the end of the lending", back.taken); got.n != size-5 || got.err != nil {
					t.Errorf("taken: %+v", got)
				}
				if a := await(t, "the answer", back.head); a.Status != 200 || !strings.HasPrefix(a.Body, "1000000 ") {
					t.Errorf("got %d %q", a.Status, a.Body)
				}
			})
			t.Run("client leaves", func(t *testing.T) {
				client, back := open(t, 0)
				_, _ = client.Write([]byte("more"))
				_ = client.Close()
				if got := await(t, "the end of the lending", back.taken); got.n != 4 || got.err != io.EOF {
					t.Errorf("taken: %+v", got)
				}
				if a := await(t, "the answer", back.head); a.Status != 500 {
					t.Errorf("got %d", a.Status)
				}
			})
			t.Run("patience", func(t *testing.T) {
				_, back := open(t, 50*time.Millisecond)
				if got := await(t, "the end of the lending", back.taken); got.n != 0 || !errors.Is(got.err, os.ErrDeadlineExceeded) {
					t.Errorf("taken: %+v", got)
				}
				await(t, "the answer", back.head)
			})
		})
	}
}

// A server that lends nothing is net/http's own.
func TestPlainNetHTTP(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads})
	server := httptest.NewServer(s.App)
	defer server.Close()
	plain := &served{App: s.App, url: server.URL, log: s.log, client: server.Client(), t: t}
	testStream(t, plain)
	testInput(t, plain)
	if status, body, _ := plain.get("/stream?1000000&length"); status != 200 || len(body) != 1_000_000 {
		t.Errorf("%d, %d bytes", status, len(body))
	}
}
