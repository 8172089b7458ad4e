//go:build linux

package loop_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chaussette/chaussette/loop"
)

// eachBatch runs f with and without io_uring.
func eachBatch(t *testing.T, f func(t *testing.T, g *loop.Group)) {
	t.Run("io_uring", func(t *testing.T) {
		g := newGroup(t)
		f(t, g)
		if !g.HasRing() {
			t.Log("this system has no io_uring for us: each Conn was written to at once")
		}
	})
	t.Run("without", func(t *testing.T) {
		g := newGroup(t)
		g.WithoutRing()
		f(t, g)
	})
}

func broadcast(g *loop.Group, conns []*echo, body []byte) (failed int) {
	b := g.Batch()
	defer b.Release()
	for _, c := range conns {
		b.Lock(&c.Conn)
		if b.WriteLocked(&c.Conn, body) != nil {
			failed++
		}
	}
	return failed
}

// Every Conn gets every body, whole and in order: those whose socket is full too, those
// that are written to otherwise meanwhile, and those that are there twice. One that is
// closed costs the others nothing.
func TestBatch(t *testing.T) {
	eachBatch(t, func(t *testing.T, g *loop.Group) {
		const bodies, size = 200, 3000
		var conns []*echo
		var peers []net.Conn
		for range 50 {
			e, nc := pair(t, g)
			conns, peers = append(conns, e), append(peers, nc)
		}
		gone, nc := pair(t, g)
		nc.Close()
		gone.end(t)
		all := append([]*echo{gone, conns[0]}, conns...)

		want := make([][]byte, bodies)
		for i := range want {
			want[i] = bytes.Repeat([]byte{byte(i)}, size)
		}
		var readers sync.WaitGroup
		start := make(chan struct{})
		for i, nc := range peers {
			readers.Go(func() {
				if i%5 == 0 {
					<-start // its socket is full long before
				}
				times := 1
				if i == 0 {
					times = 2
				}
				got := make([]byte, size*times)
				for n := range bodies {
					if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, bytes.Repeat(want[n], times)) {
						t.Errorf("peer %d, body %d: %v", i, n, err)
						return
					}
				}
			})
		}
		for _, body := range want {
			if failed := broadcast(g, all, body); failed != 1 {
				t.Fatalf("%d Conns failed, want the one that is closed", failed)
			}
		}
		close(start)
		readers.Wait()
	})
}

// Batches that run at once, over the same Conns in other orders, do not wait for one
// another for ever, and no body is torn.
func TestBatchesAtOnce(t *testing.T) {
	eachBatch(t, func(t *testing.T, g *loop.Group) {
		const writers, rounds = 4, 50
		var conns []*echo
		var peers []net.Conn
		for range 100 {
			e, nc := pair(t, g)
			conns, peers = append(conns, e), append(peers, nc)
		}
		var tasks sync.WaitGroup
		for w := range writers {
			mine := append(append([]*echo{}, conns[w*25:]...), conns[:w*25]...)
			tasks.Go(func() {
				for n := range rounds {
					broadcast(g, mine, fmt.Appendf(nil, "%d:%02d\n", w, n))
				}
			})
		}
		for i, nc := range peers {
			tasks.Go(func() {
				got := make([]byte, writers*rounds*len("0:00\n"))
				if _, err := io.ReadFull(nc, got); err != nil {
					t.Errorf("peer %d: %v", i, err)
					return
				}
				var next [writers]int
				for line := range bytes.Lines(got) {
					var w, n int
					if _, err := fmt.Sscanf(string(line), "%d:%d\n", &w, &n); err != nil || n != next[w] {
						t.Errorf("peer %d got %q, want the %d of %d", i, line, next[w], w)
						return
					}
					next[w]++
				}
			})
		}
		tasks.Wait()
	})
}

// A connection that the system does not let us watch is cut, with the reason; the others
// are not touched.
func TestNoWatchesLeft(t *testing.T) {
	g := newGroup(t)
	before, nc := pair(t, g)
	say(t, nc, "hello")
	g.RefuseWatches(unix.ENOSPC)
	refused, _ := pair(t, g)
	if err := refused.end(t); err != unix.ENOSPC {
		t.Errorf("ended by %v", err)
	}
	g.RefuseWatches(nil)
	say(t, nc, "hello")
	before.Lock()
	before.CutLocked(nil)
	before.Unlock()
	before.end(t)
}
