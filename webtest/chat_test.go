package webtest_test

import (
	"os"
	"os/exec"
	"testing"
)

// The built-in chat, in a real browser.
func TestChat(t *testing.T) {
	for _, program := range []string{"node", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatal(program + " is not installed: make setup does that")
		}
	}
	folder := os.Getenv("SCREENSHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	cmd := exec.Command("node", "chat.js", startProgram(t, "..", "--backend", "socketio", "chat"), folder)
	cmd.Dir = "clients"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
