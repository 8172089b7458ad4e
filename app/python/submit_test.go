package python_test

import (
	"os"
	"testing"
	"time"

	"github.com/chaussette/chaussette/app/python"
)

// sink collects what comes back for one request.
type sink struct {
	head  chan *python.Answer // Answer and Start
	data  chan python.Chunk
	ended chan error // End; nil after Answer

	credit chan int
	taken  chan taken
}

type taken struct {
	n   int64
	err error
}

func newSink() *sink {
	return &sink{head: make(chan *python.Answer, 1), data: make(chan python.Chunk, 1000), ended: make(chan error, 1),
		credit: make(chan int, 1000), taken: make(chan taken, 1)}
}

func (s *sink) Answer(a *python.Answer) { s.head <- a; s.ended <- nil }
func (s *sink) Start(a *python.Answer)  { s.head <- a }
func (s *sink) Data(c python.Chunk)     { s.data <- c }
func (s *sink) End(err error)           { s.ended <- err }
func (s *sink) Credit(n int)            { s.credit <- n }

func (s *sink) Taken(n int64, err error) { s.taken <- taken{n, err} }

func (s *sink) File(a *python.Answer, f *os.File, _, _ int64) {
	_ = f.Close()
	s.Answer(a)
}

// await returns what comes next, within reason.
func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("waited 20 seconds for %s", what)
		panic("unreachable")
	}
}

// An abort that crosses its answer names an id that the next request may have by then. That
// one was not aborted: it once got a 499.
func TestAbortThatCrossesItsAnswer(t *testing.T) {
	each(t, "apps:hello", func(t *testing.T, s *served) {
		env := new(python.Environ)
		env.Reset()
		env.Set("REQUEST_METHOD", "GET")
		env.Set("PATH_INFO", "/")
		request := &python.Request{Environ: env}
		for range 300 {
			for wait := range 20 {
				call, err := s.Submit(request, newSink())
				if err != nil {
					t.Fatal(err)
				}
				for begin := time.Now(); time.Since(begin) < time.Duration(wait)*10*time.Microsecond; {
				}
				call.Abort()
			}
			kept := newSink()
			if _, err := s.Submit(request, kept); err != nil {
				t.Fatal(err)
			}
			if a := await(t, "the answer", kept.head); a.Status != 200 {
				t.Fatalf("a request that was not aborted: %d", a.Status)
			}
		}
	})
}

// submit sends a GET.
func submit(t *testing.T, s *served, path, query string) *sink {
	t.Helper()
	k := newSink()
	if _, err := s.Submit(request("GET", path, query), k); err != nil {
		t.Fatal(err)
	}
	return k
}

// awaitBefore waits for a quick answer, which comes before a slow one.
func awaitBefore(t *testing.T, quick, slow *sink) {
	t.Helper()
	await(t, "the quick answer", quick.head)
	select {
	case <-slow.head:
		t.Error("the quick one was answered with the slow one")
	default:
	}
	await(t, "the slow answer", slow.head)
}

// A quick request that the child has read together with a slow one is answered before that.
func TestSlowBehindQuick(t *testing.T) {
	for _, mode := range []python.Mode{python.Serial, python.Threads} {
		t.Run(mode.String(), func(t *testing.T) {
			s := serve(t, "apps:app", python.Options{Mode: mode, Threads: 1})
			first := submit(t, s, "/sleep", "0.2")
			quick, slow := submit(t, s, "/pid", ""), submit(t, s, "/sleep", "3") // read when the first one is done
			await(t, "the first answer", first.head)
			awaitBefore(t, quick, slow)
		})
	}
}

// While an app is slow its threads see to one another, and the worker does not look. It does
// again when the app is quick.
func TestSlowAndQuickInTurn(t *testing.T) {
	s := serve(t, "apps:app", python.Options{Mode: python.Threads, Threads: 3})
	for range 2 {
		for range 30 {
			await(t, "an answer", submit(t, s, "/sleep", "0.003").head)
		}
		first := submit(t, s, "/sleep", "0.1")
		busy := []*sink{submit(t, s, "/sleep", "1.5"), submit(t, s, "/sleep", "1.5")}
		quick, slow := submit(t, s, "/pid", ""), submit(t, s, "/sleep", "0.7") // of the first one's thread
		await(t, "the first answer", first.head)
		awaitBefore(t, quick, slow)
		for _, k := range busy {
			await(t, "an answer", k.head)
		}
		for range 100 {
			await(t, "an answer", submit(t, s, "/pid", "").head)
		}
		slow = submit(t, s, "/sleep", "1") // of the thread that reads
		awaitBefore(t, submit(t, s, "/pid", ""), slow)
	}
}
