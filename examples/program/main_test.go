package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// The test's own binary is the program: as a child with this variable it runs main.
const asMain = "RUN_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestProgram(t *testing.T) {
	cmd := exec.Command(os.Args[0], "--host", "127.0.0.1", "--port", "0")
	cmd.Env = append(os.Environ(), asMain+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log, address := bufio.NewReader(stderr), ""
	for address == "" {
		line, err := log.ReadString('\n')
		if err != nil {
			t.Fatalf("no address in the log: %v", err)
		}
		if m := regexp.MustCompile(`Serving on (\S+)`).FindStringSubmatch(line); m != nil {
			address = m[1]
		}
	}
	r, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if !strings.HasPrefix(string(body), "Hello, 127.0.0.1:") {
		t.Errorf("it answers %q", body)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	rest, _ := io.ReadAll(log)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v after SIGTERM:\n%s", err, rest)
	}
}

func TestHelp(t *testing.T) {
	cmd := exec.Command(os.Args[0], "--help")
	cmd.Env = append(os.Environ(), asMain+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--graceful-timeout") || strings.Contains(string(out), "Applications:") {
		t.Errorf("--help: %v\n%s", err, out)
	}
}
