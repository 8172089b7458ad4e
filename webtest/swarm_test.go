package webtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chaussette/chaussette/webtest"
)

// army is several swarms, whose clients are in one room.
type army struct {
	t       *testing.T
	swarms  []*swarm
	clients int
	pids    map[string]int // how many clients each worker had when all were connected
}

// scale is how much of it there is: a little, or for `make soak-siblings` what a
// machine bears.
type scale struct {
	processes, clients int           // and clients of each process
	pause              time.Duration // of each process between two emits
	soak               time.Duration // how long it goes on at least
	pauseOfOthers      time.Duration // when a worker is killed
	backAfter          time.Duration
}

func scaleOf(t *testing.T) scale {
	soak := os.Getenv("SOAK_SIBLINGS")
	if soak == "" {
		// A machine that has other things to do as well is not measured.
		return scale{processes: 2, clients: 30, pause: 100 * time.Millisecond, pauseOfOthers: 5 * time.Second, backAfter: webtest.Patience}
	}
	d, err := time.ParseDuration(soak)
	if err != nil {
		t.Fatal(err)
	}
	return scale{processes: 4, clients: 125, pause: 400 * time.Millisecond, soak: d, pauseOfOthers: 100 * time.Millisecond, backAfter: 2 * time.Second}
}

func startArmy(t *testing.T, url string, s scale, more ...string) *army {
	t.Helper()
	a := &army{t: t, clients: s.processes * s.clients, pids: map[string]int{}}
	for range s.processes {
		a.swarms = append(a.swarms, startSwarm(t, url, s.clients, more...))
	}
	for _, r := range a.all("connect") {
		if r.Errors > 0 {
			t.Errorf("%d errors while the clients connected", r.Errors)
		}
		for pid, n := range r.PIDs {
			a.pids[pid] += n
		}
	}
	return a
}

// all has every process do something at once.
func (a *army) all(command string) []result {
	a.t.Helper()
	results := make([]result, len(a.swarms))
	var done sync.WaitGroup
	for i, s := range a.swarms {
		done.Go(func() { results[i] = s.do(command) })
	}
	done.Wait()
	return results
}

// tally ends the emits, and counts what has come of them.
func (a *army) tally() (sum result) {
	a.t.Helper()
	var ids struct {
		Certain   []string `json:"certain"`
		Uncertain []string `json:"uncertain"`
	}
	ids.Certain, ids.Uncertain = []string{}, []string{}
	for _, r := range a.all("stop") {
		ids.Certain, ids.Uncertain = append(ids.Certain, r.Certain...), append(ids.Uncertain, r.Uncertain...)
	}
	text, err := json.Marshal(ids)
	if err != nil {
		a.t.Fatal(err)
	}
	sum.Certain, sum.Uncertain, sum.Of = ids.Certain, ids.Uncertain, make([]int, len(ids.Uncertain))
	for _, r := range a.all("check " + string(text)) {
		sum.Received += r.Received
		sum.Missing += r.Missing
		sum.Doubled += r.Doubled
		sum.Errors += r.Errors
		sum.Away += r.Away
		sum.NotRecovered += r.NotRecovered
		sum.Longest = max(sum.Longest, r.Longest)
		for i, n := range r.Of {
			sum.Of[i] += n
		}
	}
	a.t.Logf("%d emits to %d clients: %d received; %d emits not acknowledged; %d times away, %d not recovered, for %d ms at most; %d errors",
		len(sum.Certain), a.clients, sum.Received, len(sum.Uncertain), sum.Away, sum.NotRecovered, sum.Longest, sum.Errors)
	return sum
}

// exact checks that each emit has come to everybody, once.
func (a *army) exact(r result) {
	a.t.Helper()
	if want := len(r.Certain) * a.clients; want == 0 || r.Received != want || r.Missing > 0 || r.Doubled > 0 {
		a.t.Errorf("%d of %d received: %d missing, %d doubled", r.Received, want, r.Missing, r.Doubled)
	}
	if r.Errors > 0 || r.NotRecovered > 0 {
		a.t.Errorf("%d errors, and %d clients that did not get their sessions back", r.Errors, r.NotRecovered)
	}
	for i, n := range r.Of {
		if n != 0 && n != a.clients {
			a.t.Errorf("%s, which was not acknowledged, has come to %d of %d", r.Uncertain[i], n, a.clients)
		}
	}
}

const swarmArgs = "--backend socketio --socketio-recovery 2m"

// Five workers on one socket are replaced one after another, while clients emit to a room
// in which all of them are: everybody gets everything, once.
func TestSiblingsReplaced(t *testing.T) {
	const workers = 5
	s := scaleOf(t)
	begin := func(t *testing.T, url string) *army {
		a := startArmy(t, url, s, "strict")
		a.all(fmt.Sprint("begin ", s.pause.Milliseconds()))
		return a
	}
	// Evenly over the time that there is.
	round := func(replace func(i int)) {
		start := time.Now()
		for i := range workers {
			if at := s.soak * time.Duration(2*i+1) / (2 * workers); time.Since(start) < at {
				time.Sleep(at - time.Since(start))
			}
			replacing := time.Now()
			replace(i)
			t.Logf("worker %d replaced in %v", i, time.Since(replacing).Round(time.Millisecond))
		}
		time.Sleep(max(s.soak-time.Since(start), 0))
	}
	t.Run("Circus", func(t *testing.T) {
		parallelUnlessSoaked(t, s)
		pool := webtest.StartProgram(t, webtest.Circus, workers, webtest.Build(t, "./siblingsapp"), nil, strings.Fields(swarmArgs)...)
		a := begin(t, "http://"+pool.Addr.String())
		round(func(i int) { pool.Workers[i].Restart() })
		a.exact(a.tally())
	})
	t.Run("Supervisor", func(t *testing.T) {
		parallelUnlessSoaked(t, s)
		super := superviseProgram(t, "tcp", workers, webtest.Build(t, "./siblingsapp")+" --fd 0 "+swarmArgs)
		super.eventually("every worker serves", func() bool { return strings.Count(super.logs(), "as a backend") == workers })
		a := begin(t, "http://"+super.pool.Addr.String())
		round(func(i int) {
			if out := super.ctl("restart", fmt.Sprintf("web:web_%d", i)); !strings.Contains(out, "started") {
				t.Errorf("supervisorctl restart: %s", out)
			}
		})
		a.exact(a.tally())
	})
}

// parallelUnlessSoaked lets short tests run at the same time; what is measured has the
// machine to itself.
func parallelUnlessSoaked(t *testing.T, s scale) {
	if s.soak == 0 {
		t.Parallel()
	}
}

// When one worker of five is killed the others serve on as before, and lose nothing. Its
// clients come back to them.
func TestSiblingKilled(t *testing.T) {
	const workers = 5
	s := scaleOf(t)
	parallelUnlessSoaked(t, s)
	pool := webtest.StartProgram(t, webtest.Parent, workers, webtest.Build(t, "./siblingsapp"), nil, strings.Fields(swarmArgs)...)
	a := startArmy(t, "http://"+pool.Addr.String(), s)
	victim := pool.Workers[0]
	victims := a.pids[strconv.Itoa(victim.PID)]
	probes := probeAll(t, pool, victim)
	a.all(fmt.Sprint("begin ", s.pause.Milliseconds()))
	time.Sleep(max(s.soak/4, time.Second)) // under load

	killed := time.Now()
	victim.Signal(syscall.SIGKILL)
	victim.Wait()
	for _, w := range pool.Workers[1:] {
		w.WaitLog("a sibling has left")
	}
	time.Sleep(max(s.soak/4, time.Second))
	for _, p := range probes {
		before, after := p.end(killed)
		t.Logf("worker %d paused for %v at most before, and for %v afterwards", p.worker, before, after)
		if after > s.pauseOfOthers {
			t.Errorf("worker %d paused for %v when another was killed", p.worker, after)
		}
	}
	r := a.tally()
	if len(r.Certain) == 0 || r.Missing > 0 || r.Doubled > 0 {
		t.Errorf("of %d emits %d are missing, %d doubled", len(r.Certain), r.Missing, r.Doubled)
	}
	for i, n := range r.Of {
		if n != 0 && n < a.clients-r.NotRecovered {
			t.Errorf("%s, which was not acknowledged, has come to %d of %d", r.Uncertain[i], n, a.clients-r.NotRecovered)
		}
	}
	// A few may have had a request in its hands on the way to their own worker: they come
	// back too, and have their sessions.
	if r.NotRecovered > victims {
		t.Errorf("%d clients began anew, and the killed worker had %d", r.NotRecovered, victims)
	}
	if longest := time.Duration(r.Longest) * time.Millisecond; r.Away < victims || longest > s.backAfter {
		t.Errorf("%d of %d clients of the killed worker came back, within %v", r.Away, victims, longest)
	}
}

// probe is a client that asks one worker all the time, and sees when that does not answer.
type probe struct {
	t      *testing.T
	worker int // pid
	conn   *websocket.Conn
	stop   chan struct{}
	done   chan struct{}
	pauses []pause
}

type pause struct {
	from time.Time
	took time.Duration
}

// probeAll has a probe of each worker of the pool but one. Who accepts a connection is the
// kernel's to say, so there may have to be many.
func probeAll(t *testing.T, pool *webtest.Pool, but *webtest.Worker) []*probe {
	t.Helper()
	wanted := map[int]bool{}
	for _, w := range pool.Workers {
		wanted[w.PID] = w != but
	}
	var probes []*probe
	for end := time.Now().Add(webtest.Patience); len(probes) < len(pool.Workers)-1; {
		if time.Now().After(end) {
			t.Fatal("not every worker accepts connections")
		}
		p := &probe{t: t, stop: make(chan struct{}), done: make(chan struct{})}
		var err error
		p.conn, _, err = websocket.DefaultDialer.Dial("ws://"+pool.Addr.String()+"/socket.io/?EIO=4&transport=websocket", http.Header{})
		if err != nil {
			t.Fatal(err)
		}
		p.read("0")
		p.write("40")
		p.read("40")
		p.worker, err = strconv.Atoi(p.ask("pid"))
		if err != nil {
			t.Fatal(err)
		}
		if !wanted[p.worker] {
			_ = p.conn.Close()
			continue
		}
		wanted[p.worker] = false
		probes = append(probes, p)
	}
	for _, p := range probes {
		go p.run()
		t.Cleanup(func() { _ = p.conn.Close() })
	}
	return probes
}

func (p *probe) write(s string) {
	if err := p.conn.WriteMessage(websocket.TextMessage, []byte(s)); err != nil {
		p.t.Error(err)
	}
}

// read returns what comes after prefix; what begins otherwise is for the room, or a ping.
func (p *probe) read(prefix string) string {
	for {
		_ = p.conn.SetReadDeadline(time.Now().Add(webtest.Patience))
		_, data, err := p.conn.ReadMessage()
		if err != nil {
			if !errors.Is(err, websocket.ErrCloseSent) {
				p.t.Error(err)
			}
			return ""
		}
		if rest, ok := strings.CutPrefix(string(data), prefix); ok {
			return rest
		}
		if string(data) == "2" {
			p.write("3")
		}
	}
}

// ask asks for a number.
func (p *probe) ask(event string) string {
	p.write(`421["` + event + `"]`)
	return strings.Trim(p.read("431"), "[]")
}

func (p *probe) run() {
	defer close(p.done)
	for {
		from := time.Now()
		if p.ask("pid") == "" {
			return
		}
		p.pauses = append(p.pauses, pause{from, time.Since(from)})
		select {
		case <-p.stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// end returns the longest time without an answer before and after some moment.
func (p *probe) end(moment time.Time) (before, after time.Duration) {
	close(p.stop)
	<-p.done
	for _, one := range p.pauses {
		if one.from.Add(one.took).Before(moment) {
			before = max(before, one.took)
		} else {
			after = max(after, one.took)
		}
	}
	return before, after
}
