package std_test

import (
	"testing"

	"go.uber.org/goleak"
)

// net/http lets a connection that it has ended linger for half a second, on a goroutine that
// nothing ends before.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}
