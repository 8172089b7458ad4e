// Http measures the HTTP engines: the hello app on a worker next to the same handler on
// a bare net/http server, with wrk for load. The servers take turns, so that both see
// the machine's good and bad moments. What counts is the CPU time of the server for each
// request, user and system; the rate depends on what else the machine does.
//
//	go run ./bench/http -chaussette bin/chaussette
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	binary      = flag.String("chaussette", "bin/chaussette", "the worker's `program`")
	rounds      = flag.Int("rounds", 7, "measurements of each server")
	seconds     = flag.Int("seconds", 4, "length of a measurement")
	peers       = flag.String("peers", "", "the `folder` of fasthttp-hello; empty leaves it out")
	connections = flag.Int("connections", 64, "keep-alive connections")
	bare        = flag.Bool("bare", false, "be the bare net/http server (the program starts itself so)")
)

func main() {
	flag.Parse()
	log.SetFlags(0)
	if *bare {
		log.Fatal(serveBare())
	}
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	servers := []*server{
		{name: "net/http, bare", command: []string{self, "-bare"}},
		{name: "chaussette --backend http", command: []string{*binary, "--port", "0", "--backend", "http"}},
		{name: "chaussette --backend waitress", command: []string{*binary, "--port", "0", "--backend", "waitress"}},
		{name: "chaussette --backend bjoern", command: []string{*binary, "--port", "0", "--backend", "bjoern"}},
	}
	if *peers != "" {
		servers = append(servers, &server{name: "fasthttp", command: []string{filepath.Join(*peers, "fasthttp-hello")}})
	}
	for round := range *rounds {
		for i := range servers { // another one is first each time
			s := servers[(round+i)%len(servers)]
			if err := s.measure(); err != nil {
				log.Fatalf("%s: %v", s.name, err)
			}
		}
	}
	print(servers)
}

// serveBare is the least that a Go server does for the hello app.
func serveBare() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "Serving on %s\n", l.Addr())
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = []string{"text/plain; charset=utf-8"}
		_, _ = io.WriteString(w, "hello world")
	}))
}

type server struct {
	name    string
	command []string
	micros  []float64 // CPU per request, a round
	rates   []float64
	bytes   []float64 // of memory for each idle connection
	beside  []float64 // rate beside idle connections, of the rate without
}

// measure starts the server, loads it, and ends it.
func (s *server) measure() error {
	cmd := exec.Command(s.command[0], s.command[1:]...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	port, err := readPort(stderr)
	if err != nil {
		return err
	}
	url := "http://127.0.0.1:" + port + "/"
	if _, err := s.load(url, 1); err != nil { // to warm it
		return err
	}
	before, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	requests, err := s.load(url, *seconds)
	if err != nil {
		return err
	}
	after, err := cpu(cmd.Process.Pid)
	if err != nil {
		return err
	}
	s.micros = append(s.micros, float64((after-before).Microseconds())/requests)
	s.rates = append(s.rates, requests/float64(*seconds))
	return s.idle(cmd.Process.Pid, port)
}

// idle opens connections that ask once and wait then, and notes what each takes of memory;
// and how many requests are answered beside them.
func (s *server) idle(pid int, port string) error {
	const count = 10_000
	before, err := resident(pid)
	if err != nil {
		return err
	}
	conns := make([]net.Conn, 0, count)
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	answer := make([]byte, 4096)
	for range count {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			return err
		}
		conns = append(conns, c)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			return err
		}
		if _, err := c.Read(answer); err != nil {
			return err
		}
	}
	after, err := resident(pid)
	if err != nil {
		return err
	}
	s.bytes = append(s.bytes, float64(after-before)/count)
	requests, err := s.load("http://127.0.0.1:"+port+"/", *seconds)
	if err != nil {
		return err
	}
	s.beside = append(s.beside, requests/float64(*seconds)/s.rates[len(s.rates)-1])
	return nil
}

// resident is the memory that a process has, in bytes (proc(5), statm).
func resident(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	return pages * os.Getpagesize(), err
}

var port = regexp.MustCompile(`Serving on \S*:(\d+)`)

// readPort waits for the server to say where it serves, and reads on in the background.
func readPort(stderr io.Reader) (string, error) {
	r := bufio.NewReader(stderr)
	for {
		line, err := r.ReadString('\n')
		if m := port.FindStringSubmatch(line); m != nil {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return m[1], nil
		}
		if err != nil {
			return "", err
		}
	}
}

var requests = regexp.MustCompile(`(\d+) requests in`)

// load has wrk ask for url, and returns how many requests were answered.
func (s *server) load(url string, seconds int) (float64, error) {
	out, err := exec.Command("wrk", "-t", "1", "-c", strconv.Itoa(*connections), "-d", strconv.Itoa(seconds), url).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if strings.Contains(string(out), "Non-2xx") || strings.Contains(string(out), "Socket errors") {
		return 0, fmt.Errorf("requests failed: %s", out)
	}
	m := requests.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("what wrk printed cannot be read: %s", out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// cpu is the time that a process has used, user and system (proc(5), stat).
func cpu(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, b)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux
	return time.Duration(user+system) * tick, nil
}

func print(servers []*server) {
	fmt.Printf("%d connections, %d rounds of %d s, the servers in turn; medians.\n\n", *connections, *rounds, *seconds)
	fmt.Println("| server | CPU us/request | times net/http | requests/s | beside 10,000 idle | bytes for an idle one |")
	fmt.Println("| --- | ---: | ---: | ---: | ---: | ---: |")
	for _, s := range servers {
		// The ratio is taken round by round: both saw the same machine.
		var ratios []float64
		for i := range s.micros {
			ratios = append(ratios, s.micros[i]/servers[0].micros[i])
		}
		fmt.Printf("| %s | %.1f | %.2f | %.0f | %.2f | %.0f |\n", s.name, median(s.micros), median(ratios), median(s.rates), median(s.beside), median(s.bytes))
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
