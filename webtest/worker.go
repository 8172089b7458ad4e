package webtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Worker is a process of a [Pool].
type Worker struct {
	PID int

	pool   *Pool
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	ended  chan struct{} // closed when the process has ended and its output is whole
}

// start starts a process as the pool's manager does.
func (p *Pool) start() *Worker {
	p.t.Helper()
	w := &Worker{pool: p, stdout: newOutput(), stderr: newOutput(), ended: make(chan struct{})}
	w.cmd = exec.Command(p.program)
	p.manager.prepare(w.cmd, p.socket)
	w.cmd.Args = append(w.cmd.Args, p.args...)
	if w.cmd.Env == nil {
		w.cmd.Env = os.Environ()
	}
	w.cmd.Env = append(w.cmd.Env, p.env...)
	if raceEnabled {
		w.cmd.Env = append(w.cmd.Env, "GORACE=atexit_sleep_ms=0") // a second, at each end
	}
	w.cmd.WaitDelay = Patience // a grandchild that lives on does not hold the test up
	w.cmd.Stdout, w.cmd.Stderr = w.stdout, w.stderr
	if err := w.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	w.PID = w.cmd.Process.Pid
	p.mu.Lock()
	p.all = append(p.all, w)
	p.mu.Unlock()
	go func() {
		_ = w.cmd.Wait() // the status is asked for by those who care
		w.stderr.end()
		close(w.ended)
	}()
	return w
}

// Signal sends a signal.
func (w *Worker) Signal(s syscall.Signal) {
	w.pool.t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		w.pool.t.Errorf("signal %v to worker %d: %v", s, w.PID, err)
	}
}

// Stop ends the worker as its manager does: SIGTERM, and SIGKILL after the manager's
// patience, which is an error of the test. It returns the exit status.
func (w *Worker) Stop() (status int) {
	w.pool.t.Helper()
	if !w.stop() {
		w.pool.t.Errorf("worker %d was killed: it did not end within %v of SIGTERM", w.PID, w.pool.manager.patience)
	}
	return w.status()
}

func (w *Worker) stop() (inTime bool) {
	_ = w.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-w.ended:
		return true
	case <-time.After(w.pool.manager.patience):
	}
	_ = w.cmd.Process.Kill()
	<-w.ended
	return false
}

func (w *Worker) running() bool {
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

// leftChild finds processes of the group of a worker that has ended, and kills them. Only
// a manager that gives its workers a group or a session of their own can tell. What is
// just ending is given as much time as the worker was.
func (w *Worker) leftChild() bool {
	if attr := w.cmd.SysProcAttr; attr == nil || !attr.Setsid && !attr.Setpgid {
		return false
	}
	for end := time.Now().Add(w.pool.manager.patience); syscall.Kill(-w.PID, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			if !runs(w.PID) {
				return false
			}
			_ = syscall.Kill(-w.PID, syscall.SIGKILL)
			return true
		}
	}
	return false
}

// runs reports whether a process of the group has not ended: one that has may still be
// there where nobody waits for orphans, as in many containers. Without /proc all run.
func runs(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// proc(5): after the name in brackets come state, parent, group.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" && fields[0] != "X" {
			return true
		}
	}
	return len(stats) == 0
}

// Restart stops the worker, and starts another in its place in the pool.
func (w *Worker) Restart() *Worker {
	w.pool.t.Helper()
	if status := w.Stop(); status != 0 {
		w.pool.t.Errorf("worker %d ended with status %d", w.PID, status)
	}
	replacement := w.pool.Spawn()
	if i := slices.Index(w.pool.Workers, w); i >= 0 {
		w.pool.Workers[i] = replacement
	}
	return replacement
}

// Wait waits for the worker to end by itself, and returns the exit status; -1 is a signal.
func (w *Worker) Wait() (status int) {
	w.pool.t.Helper()
	select {
	case <-w.ended:
	case <-time.After(Patience):
		w.pool.t.Fatalf("worker %d has not ended", w.PID)
	}
	return w.status()
}

func (w *Worker) status() int {
	<-w.ended
	return w.cmd.ProcessState.ExitCode()
}

// Log is what the worker has written to standard error so far, and Stdout to standard
// output.
func (w *Worker) Log() string { return w.stderr.String() }

// Stdout is what the worker has written to standard output so far.
func (w *Worker) Stdout() string { return w.stdout.String() }

// WaitLog waits for the log to match the regular expression pattern, and returns the
// match and its groups. A worker that ends meanwhile ends the test.
func (w *Worker) WaitLog(pattern string) []string {
	w.pool.t.Helper()
	re := regexp.MustCompile(pattern)
	late := time.After(Patience)
	for {
		log, changed, more := w.stderr.read()
		if m := re.FindStringSubmatch(log); m != nil {
			return m
		}
		if !more {
			w.pool.t.Fatalf("worker %d ended without %q in its log:\n%s", w.PID, pattern, log)
		}
		select {
		case <-changed:
		case <-late:
			w.pool.t.Fatalf("worker %d has no %q in its log:\n%s", w.PID, pattern, log)
		}
	}
}

// output is what a process writes, for those who wait for it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed, and another made, with each write
	ended   bool
}

func newOutput() *output { return &output{changed: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.changed)
	o.changed = make(chan struct{})
	return o.text.Write(p)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *output) read() (text string, changed <-chan struct{}, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.changed, !o.ended
}

func (o *output) String() string {
	text, _, _ := o.read()
	return text
}
