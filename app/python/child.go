package python

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is one Python process and the worker's end of its pipe.
//
// Its goroutines: one starts the process, lives on the thread that did (the kernel ties
// PR_SET_PDEATHSIG to it) and waits for the end; those of the link; one reads each stream
// of output; one looks for a child in mode Serial or Threads that is stuck. All end with the process.
type child struct {
	opts  *Options
	log   *slog.Logger
	link  link
	tail  []byte // a frame that has come in part; receive's
	arena *arena
	wake  *os.File // a byte wakes a thread of the child
	lends int      // descriptors go and come on it, -1 when closed; guarded by mu
	pid   int

	pipe

	// names and usual are for environs: of the server's addresses, and the one that need not be
	// said. A usual of nowhere becomes that of the first request.
	names addressNames
	usual atomic.Pointer[addressName]

	ready  chan error    // one value: nil, or why the app does not serve
	exited chan struct{} // closed when the process is gone; state is set
	done   chan struct{} // closed when all goroutines but the first are gone too
	state  *os.ProcessState
	// stuck is set by who kills the child for RequestTimeout.
	stuck atomic.Bool
	// app is what the app is, as Python shows it. Set before ready.
	app string
}

// LoadError says that the app does not serve, and why: the app's own failure, a missing
// package, an interpreter that cannot be used.
type LoadError struct {
	Name string // of the app
	// Reason is for the operator, several lines at times.
	Reason string
	// Traceback is Python's, where there is one.
	Traceback string
	// Missing says that there is nothing of that name.
	Missing bool
}

func (e *LoadError) Error() string {
	text := "python: " + e.Name + ": " + e.Reason
	if e.Traceback != "" {
		text += "\n" + strings.TrimRight(e.Traceback, "\n")
	}
	return text
}

// startChild starts the process; the caller waits on ready.
func startChild(name, interpreter string, opts *Options, newLink func(*child, int) (link, error)) (*child, error) {
	pair, err := socketPair()
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(pair[1]), "pipe")
	defer theirs.Close()
	// More room lets a streaming app run ahead of a busy worker. A refusal is no harm.
	_ = unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	_ = unix.SetsockoptInt(pair[1], unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20)
	c := &child{
		opts:   opts,
		lends:  -1,
		ready:  make(chan error, 1),
		exited: make(chan struct{}),
		done:   make(chan struct{}),
	}
	c.pipe.init()
	c.usual.Store(nowhere)
	if c.link, err = newLink(c, pair[0]); err != nil {
		return nil, err
	}
	wakeRead, wakeWrite, err := os.Pipe()
	if err != nil {
		c.link.close()
		return nil, err
	}
	defer wakeRead.Close()
	c.wake = wakeWrite
	lends, err := socketPair()
	if err != nil {
		c.link.close()
		c.closeFiles()
		return nil, err
	}
	c.lends = lends[0]
	borrower := os.NewFile(uintptr(lends[1]), "lent")
	defer borrower.Close()
	c.arena = newArena()
	command, preamble := bootCode()
	cmd := exec.Command(interpreter, "-c", command, "chaussette", name)
	files := []*os.File{theirs, wakeRead, borrower}
	arenaFD := -1
	if c.arena != nil {
		files = append(files, c.arena.file)
		arenaFD = 6
	}
	cmd.ExtraFiles = files
	settings, err := json.Marshal(map[string]any{
		"name": name, "arguments": append([]string{}, opts.Arguments...), "mode": opts.Mode.String(), "threads": opts.Threads,
		"no_monkey": opts.NoMonkey, "python_path": append([]string{}, opts.PythonPath...),
		"pre_hook": opts.PreHook, "post_hook": opts.PostHook, "options": opts.HookOptions,
		"multiprocess": opts.Multiprocess, "buffered": opts.Buffered, "script_name": strings.TrimRight(opts.ScriptName, "/"),
		"server_software": opts.ServerSoftware,
		"fds":             []int{3, 4, 5, 6}[:len(files)], "wake_read": 4, "lends": 5, "arena": arenaFD,
		"request_slots": requestSlots, "response_slots": responseSlots, "marks": marks,
		"pdeathsig": pdeathsig, "parent": os.Getpid(), "proof": proofBatch(),
	})
	if err != nil {
		c.link.close()
		c.closeFiles()
		return nil, fmt.Errorf("python: the hooks' options: %w", err)
	}
	var output [2]*os.File
	var printers sync.WaitGroup
	for i := range output {
		r, w, err := os.Pipe()
		if err != nil {
			if i == 1 {
				output[0].Close()
			}
			c.link.close()
			c.closeFiles()
			return nil, err
		}
		defer w.Close()
		output[i] = r
		if i == 0 {
			cmd.Stdout = w
		} else {
			cmd.Stderr = w
		}
	}
	started := make(chan error)
	go func() {
		// The thread must live as long as the child: PR_SET_PDEATHSIG means the
		// thread that forked, not its process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		setDeathSignal(cmd)
		err := cmd.Start()
		if err == nil {
			c.pid = cmd.Process.Pid
		}
		started <- err
		if err != nil {
			close(c.exited)
			return
		}
		_ = cmd.Wait() // the state says it better
		c.state = cmd.ProcessState
		close(c.exited)
	}()
	if err := <-started; err != nil {
		for _, r := range output {
			r.Close()
		}
		c.link.close()
		c.closeFiles()
		return nil, fmt.Errorf("python: %w", err)
	}
	c.log = opts.Logger.With("child", c.pid)
	for i, stream := range []string{"stdout", "stderr"} {
		printers.Go(func() { logLines(output[i], c.log.With("stream", stream)) })
	}
	var pumps sync.WaitGroup
	c.link.start()
	pumps.Go(func() {
		if err := c.link.wait(); err != nil {
			c.log.Error("the pipe to the Python child broke", "error", err)
			c.kill()
		}
	})
	if opts.Mode == Threads || opts.Mode == Serial {
		pumps.Go(c.watch)
	}
	go func() {
		<-c.exited
		// What the child wrote last is still to be read, but a process that it has
		// left behind may hold the other ends open for ever.
		limit := time.Now().Add(time.Second)
		c.link.endBy(limit)
		_ = output[0].SetReadDeadline(limit)
		_ = output[1].SetReadDeadline(limit)
		pumps.Wait()
		printers.Wait()
		output[0].Close()
		output[1].Close()
		c.fail(ErrChild)
		c.closeFiles()
		close(c.done)
	}()
	c.mu.Lock()
	c.out = append(c.out, preamble...)
	c.frameLocked(kindOptions, 0, settings)
	c.mu.Unlock()
	return c, nil
}

// socketPair returns two ends that no other process inherits, one that is started at this
// moment included.
func socketPair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return pair, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	return pair, nil
}

// closeFiles closes what the worker has of a child, but for the link.
func (c *child) closeFiles() {
	c.wake.Close()
	c.mu.Lock()
	if c.lends >= 0 {
		_ = unix.Close(c.lends)
		c.lends = -1
	}
	c.mu.Unlock()
	c.arena.close()
}

// await waits until the app is loaded. On any error the child is gone.
func (c *child) await(ctx context.Context, name string) error {
	select {
	case err := <-c.ready:
		if err != nil {
			c.kill()
			<-c.done
			var load *LoadError
			if errors.As(err, &load) {
				load.Name = name
			}
		}
		return err
	case <-c.done:
		select {
		case err := <-c.ready:
			var load *LoadError
			if errors.As(err, &load) {
				load.Name = name
			}
			if err != nil {
				return err
			}
		default:
		}
		return &LoadError{Name: name, Reason: fmt.Sprintf("the interpreter ended before the app was loaded: %v", c.state)}
	case <-ctx.Done():
		c.kill()
		<-c.done
		return fmt.Errorf("python: load %s: %w", name, ctx.Err())
	}
}

// stop asks the child to end after what it is doing, and ends it when ctx does.
func (c *child) stop(ctx context.Context) error {
	c.mu.Lock()
	c.frameLocked(kindShutdown, 0, nil)
	c.mu.Unlock()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
	}
	c.kill()
	<-c.done
	return ctx.Err()
}

func (c *child) kill() { c.signal(syscall.SIGKILL) }

// signal sends sig unless the process was waited for: its pid may be another's then.
func (c *child) signal(sig syscall.Signal) {
	select {
	case <-c.exited:
	default:
		if p, err := os.FindProcess(c.pid); err == nil {
			_ = p.Signal(sig)
			_ = p.Release()
		}
	}
}

// watch wakes a thread of the child when requests are in flight and nothing has come back
// for a while: the one that reads the pipe may be stuck in the app, with answers that it has
// not sent. Where the app has proved slow the child's threads see to all that, and it looks once
// a second: to look costs each request a twentieth where there are a few thousand a second.
func (c *child) watch() {
	const first, last = 5 * time.Millisecond, time.Second
	const idleLooks = 10 // then it waits to be told: a request after a pause wakes it, not each
	timer := time.NewTimer(first)
	defer timer.Stop()
	patience, idle := first, 0
	var seen uint64
	for {
		select {
		case <-timer.C:
		case <-c.narrowed:
		case <-c.exited:
			return
		}
		c.mu.Lock()
		busy := c.live > 0
		c.mu.Unlock()
		now := c.reads.Load()
		switch {
		case !busy && idle < idleLooks:
			idle++
			patience = first
		case !busy:
			select {
			case <-c.begun:
			case <-c.exited:
				return
			}
			idle, patience = 0, first
		case now != seen:
			idle, patience = 0, first
		default:
			_, _ = c.wake.Write([]byte{'.'})
			patience = min(2*patience, last)
		}
		seen = now
		if c.spread.Load() {
			patience = last
		}
		timer.Reset(patience)
	}
}
