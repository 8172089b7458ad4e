package webtest_test

import (
	"os/exec"
	"testing"
)

// A page as it was written for Socket.IO 0.9, in a real browser, on each transport.
func TestOldPage(t *testing.T) {
	for _, program := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(program + " is not installed: make setup does that")
		}
	}
	cmd := exec.Command("node", "page09.js", "http://"+startClientsServer(t).address)
	cmd.Dir = "clients"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
