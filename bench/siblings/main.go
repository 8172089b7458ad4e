// Siblings measures what it costs that the workers on one socket are one server: the CPU
// time of one worker beside that of several, which share its clients without any affinity.
// A client's polls reach whichever worker accepts them and move to the one that has its
// session; a broadcast reaches the sockets of all.
//
//	go run ./bench/siblings -chaussette bin/chaussette -wsload build/wsload -yardstick build/raw-c-siblings
//
// The yardstick is what the kernel takes for so many processes: raw-c-siblings, in C,
// without any protocol, and with one datagram from worker to worker a broadcast. It is
// printed for whoever wants to know what of a cost is the kernel's, and judges nothing.
//
// One worker and several take turns, since a machine has moods, and begin in turn. A round
// is one of each, with the ratio of the two, and the median of the ratios is the result.
// There are as many rounds as it takes to tell on which side of the bound that lies, by
// the sign test, and -rounds at most. Others on the machine cost several workers more than
// one: the last column says how many processors they had. The server has the first half of
// the processors and the clients the other (taskset): on one processor the kernel's part
// of the network is charged to whoever runs just then.
// The program fails where several cost more than they may, unless -lenient.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

var (
	binary  = flag.String("chaussette", "bin/chaussette", "the worker's `program`")
	load    = flag.String("wsload", "build/wsload", "the load generator's `program`")
	yard    = flag.String("yardstick", "", "raw-c-siblings, the `program`; without it nothing is compared with the kernel's part")
	workers = flag.Int("workers", 4, "workers on the socket")
	rounds  = flag.Int("rounds", 25, "rounds of a case, at most")
	seconds = flag.Int("seconds", 2, "length of a measurement; what disturbs comes in bursts, so many short ones tell more")
	only    = flag.String("case", "", "measure this case alone: its `number`, from 0, which is the yardstick")
	lenient = flag.Bool("lenient", false, "do not fail where a bound is not kept")
	parent  = flag.Int("parent", 0, "be the parent of so many workers (the program starts itself so)")
)

// cases are what is measured. A cost is bound by what one worker needs, times most.
var cases = []struct {
	name    string
	backend string // empty: the yardstick
	load    []string
	most    float64
}{
	{"The yardstick, broadcast, 5,000 sockets", "", []string{"raw-broadcast", "-c", "5000", "-s", "128"}, 0},
	{"Socket.IO polling, echo, 200 clients", "socketio", []string{"sio-polling", "-c", "200", "-s", "64"}, 1 / 0.9},
	{"Socket.IO broadcast, 5,000 sockets", "socketio", []string{"sio-broadcast", "-c", "5000", "-s", "128"}, 1.1},
	{"WebSocket group, 5,000 sockets", "ws4py", []string{"broadcast", "-c", "5000", "-s", "128", "-path", "/ws"}, 1.1},
}

func main() {
	flag.Parse()
	log.SetFlags(0)
	if *parent > 0 {
		if err := beParent(*parent, flag.Args()); err != nil {
			log.Fatal(err)
		}
		return
	}
	fmt.Printf("CPU of the server per message, µs: one worker, and %d on one socket. Medians, and of the ratios also the quartiles.\n\n", *workers)
	fmt.Printf("| | 1 worker | %d workers | ratio | from | to | at most | rounds | of it in the program, 1 | %d | messages/s, 1 | %d | others, cores |\n", *workers, *workers, *workers)
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	over := false
	for i, c := range cases {
		if c.backend == "" && *yard == "" {
			continue
		}
		if *only != "" && *only != strconv.Itoa(i) {
			continue
		}
		var cost, user, rate [2][]float64
		var others, ratios []float64
		for len(ratios) < *rounds && !decided(ratios, c.most) {
			for i := range 2 {
				j := (i + len(ratios)) % 2
				n := []int{1, *workers}[j]
				r, err := measure(n, c.backend, c.load)
				if err != nil {
					log.Fatalf("%s, %d workers: %v", c.name, n, err)
				}
				cost[j], user[j], rate[j] = append(cost[j], r.Micros), append(user[j], r.User), append(rate[j], r.PerSecond)
				others = append(others, r.Others)
			}
			last := len(ratios)
			ratios = append(ratios, cost[1][last]/cost[0][last])
		}
		most := "-"
		if c.most > 0 {
			most = fmt.Sprintf("%.2f", c.most)
			over = over || quantile(ratios, 0.5) > c.most
		}
		median := func(list []float64) float64 { return quantile(list, 0.5) }
		fmt.Printf("| %s | %.2f | %.2f | %.2f | %.2f | %.2f | %s | %d | %.2f | %.2f | %.0f | %.0f | %.1f |\n", c.name, median(cost[0]), median(cost[1]),
			median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75), most, len(ratios), median(user[0]), median(user[1]), median(rate[0]), median(rate[1]), median(others))
	}
	if over && !*lenient {
		log.Fatal("several workers cost more than they may; if others were busy beside them, a machine at rest tells more")
	}
}

// doubt is how probable it may be that as many ratios or more lie on one side of the bound
// where the median lies on the other.
const doubt = 0.02

// decided tells whether ratios leave no doubt on which side of most their median lies, by
// the sign test. Six on one side do, or eight of nine. For the yardstick, which has no
// bound, all are on one side.
func decided(ratios []float64, most float64) bool {
	above := 0
	for _, r := range ratios {
		if r > most {
			above++
		}
	}
	return tail(len(ratios), min(above, len(ratios)-above)) < doubt
}

// tail is the probability of k heads or fewer of n.
func tail(n, k int) float64 {
	sum, binomial := 0.0, 1.0
	for i := range k + 1 {
		sum += binomial
		binomial = binomial * float64(n-i) / float64(i+1)
	}
	return sum / math.Exp2(float64(n))
}

// quantile is a quantile of list, between two elements where it lies there.
func quantile(list []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(list))
	at := q * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

// report is what is needed of what the load generator says.
type report struct {
	Micros     float64 `json:"server_us_per_count"`
	User       float64 `json:"server_user_us_per_count"` // the rest is the kernel's
	PerSecond  float64 `json:"per_second"`
	Others     float64 `json:"other_cores"`
	Lost       int     `json:"lost"`
	FirstError string  `json:"first_error"`
}

// measure measures n workers of a backend.
func measure(n int, backend string, mode []string) (r report, err error) {
	// No port that a client's end of a connection may have taken.
	l, err := listen()
	if err != nil {
		return r, err
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		return r, err
	}
	defer socket.Close()
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	p := on(server, self, "-chaussette", *binary, "-parent", strconv.Itoa(n), "--", "--backend", backend, "bench")
	if backend == "" {
		p = on(server, *yard, strconv.Itoa(n))
	}
	p.ExtraFiles = []*os.File{socket}
	p.Stderr = os.Stderr
	ready, err := p.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := p.Start(); err != nil {
		return r, err
	}
	defer func() {
		_ = p.Process.Signal(syscall.SIGTERM)
		_ = p.Wait()
	}()
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		return r, fmt.Errorf("the workers do not serve: %w", err)
	}
	args := append(slices.Clone(mode), "-addr", l.Addr().String(), "-d", fmt.Sprintf("%ds", *seconds), "-warmup", "3s", "-server-pid", strconv.Itoa(p.Process.Pid))
	client := on(clients, *load, args...)
	client.Stderr = os.Stderr
	out, err := client.Output()
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, err
	}
	if r.Lost > 0 {
		return r, fmt.Errorf("%d clients were lost: %s", r.Lost, r.FirstError)
	}
	return r, nil
}

// Processors, as taskset names them; empty where there is one.
var server, clients = halves(runtime.NumCPU())

func halves(n int) (first, second string) {
	if n < 2 {
		return "", ""
	}
	return fmt.Sprintf("0-%d", n/2-1), fmt.Sprintf("%d-%d", n/2, n-1)
}

// on is a command on these processors.
func on(processors, program string, args ...string) *exec.Cmd {
	if processors == "" {
		return exec.Command(program, args...)
	}
	return exec.Command("taskset", append([]string{"--cpu-list", processors, program}, args...)...)
}

// listen opens a socket below the ports that the kernel gives to clients.
func listen() (l net.Listener, err error) {
	for port := 20000 + os.Getpid()%5000; port < 31000; port++ {
		if l, err = net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// beParent starts workers on descriptor 3, says when they serve, and ends them with itself.
// It is a process of its own so that the CPU time of its children is the server's.
func beParent(n int, args []string) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	socket := os.NewFile(3, "socket")
	var all []*exec.Cmd
	defer func() {
		for _, c := range all {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}()
	for range n {
		c := exec.Command(*binary, append([]string{"--fd", "3"}, args...)...)
		c.ExtraFiles = []*os.File{socket}
		out, err := c.StderrPipe()
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		all = append(all, c)
		if err := serving(out); err != nil {
			return err
		}
	}
	fmt.Println()
	<-end
	return nil
}

// serving waits until a worker's log says that it serves, and reads on in the background.
func serving(log io.Reader) error {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "as a backend") {
			go func() { _, _ = io.Copy(io.Discard, log) }()
			return nil
		}
	}
	return errors.New("a worker ends before it serves")
}
