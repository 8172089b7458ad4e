package listener

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ErrNoSystemd: the address was "systemd" or "systemd:NAME", and systemd has passed no
// socket, or none of that name.
var ErrNoSystemd = errors.New("no socket from systemd")

// firstSystemdFD is SD_LISTEN_FDS_START.
const firstSystemdFD = 3

// openSystemd opens what systemd passes, as sd_listen_fds(3) describes it: LISTEN_FDS
// descriptors from 3 on, meant for the process LISTEN_PID, with LISTEN_FDNAMES between
// colons. The environment stays as it is; the number in LISTEN_PID is no child's.
func openSystemd(asked, name string, o Options) (Listeners, error) {
	fail := func(format string, args ...any) (Listeners, error) {
		return nil, fmt.Errorf("%w: %s", ErrNoSystemd, fmt.Sprintf(format, args...))
	}
	pid, ok := os.LookupEnv("LISTEN_PID")
	if !ok {
		return fail("LISTEN_PID is not set; is there a .socket unit for this service?")
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return fail("LISTEN_PID is %s and this process is %d; a shell between the two wants an exec", pid, os.Getpid())
	}
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || count < 1 {
		return fail("LISTEN_FDS is %q", os.Getenv("LISTEN_FDS"))
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	if name != "" && !slices.Contains(names, name) {
		return fail("LISTEN_FDNAMES is %q, which has no %q", os.Getenv("LISTEN_FDNAMES"), name)
	}
	var ls Listeners
	for i := range count {
		var own string
		if i < len(names) {
			own = names[i]
		}
		if name != "" && name != own {
			continue
		}
		l, err := openFD(firstSystemdFD+i, own, asked, o)
		if err != nil {
			ls.Close()
			return nil, err
		}
		ls = append(ls, l)
	}
	if len(ls) == 0 {
		return fail("LISTEN_FDNAMES is %q and LISTEN_FDS is %d", os.Getenv("LISTEN_FDNAMES"), count)
	}
	return ls, nil
}
