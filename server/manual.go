package server

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/chaussette/chaussette/app/builtin"
)

// Manual is the chaussette command's manual page, in the Markdown that go-md2man takes.
func Manual(date time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "chaussette 1 %q %q %q\n==================================================\n\n",
		date.Format("January 2006"), "chaussette "+release, "User Commands")
	b.WriteString("# NAME\n\nchaussette - serve an application on a socket that a process manager has opened\n\n")
	b.WriteString("# SYNOPSIS\n\n**chaussette** [*options*] [*application*] [*arguments*...]\n\n")
	b.WriteString("**chaussette build** [**-o** *file*] [**--race**] [*flags of go build*] *application*\n\n")
	b.WriteString("**chaussette new** [**--module** *path*] **chat**|**websocket**|**http** *folder*\n\n")
	b.WriteString("**chaussette completion** **bash**|**zsh**|**fish**|**powershell**\n\n")
	b.WriteString("# DESCRIPTION\n\n" + manualDescription)
	b.WriteString("# APPLICATIONS\n\n" + manualApplications)
	for _, name := range builtin.Names() {
		fmt.Fprintf(&b, "**%s**\n: %s\n\n", name, builtin.Help(name))
	}
	for _, form := range applicationForms {
		fmt.Fprintf(&b, "**%s**\n: %s\n\n", form.example, form.help)
	}
	b.WriteString("# BACKENDS\n\n")
	for _, backend := range backends {
		fmt.Fprintf(&b, "**%s**\n: %s\n\n", strings.Join(append([]string{backend.Name}, backend.Aliases...), "**, **"), backend.Help)
	}
	b.WriteString("# OPTIONS\n\n")
	for _, g := range newFlags().groups {
		fmt.Fprintf(&b, "## %s\n\n", g.title)
		g.set.VisitAll(func(f *pflag.Flag) { writeOption(&b, f) })
	}
	b.WriteString(manualRest)
	b.WriteString("# EXAMPLES\n\n")
	for _, line := range strings.Split(examples, "\n") {
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(line))
	}
	return b.String()
}

func writeOption(b *strings.Builder, f *pflag.Flag) {
	kind, usage := pflag.UnquoteUsage(f)
	fmt.Fprintf(b, "**--%s**", f.Name)
	if kind != "" {
		fmt.Fprintf(b, " *%s*", kind)
	}
	fmt.Fprintf(b, "\n: %s", usage)
	if hasDefault(f) {
		fmt.Fprintf(b, " (default %s)", defaultOf(f))
	}
	b.WriteString("\n\n")
}

// hasDefault tells an option that is something when it is not given.
func hasDefault(f *pflag.Flag) bool {
	return f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]"
}

const manualDescription = `A worker process for Circus, Supervisor, systemd and the like: the manager opens the
socket and starts a number of workers on it; each serves one application. Without a
manager it opens a socket of its own.

`

const manualApplications = `Without an application **hello** is served. The names that these had in Chaussette 1,
**chaussette.util.hello_app** and **chaussette.util.bench_app**, are still good.

A Go app is made into a program, which is executed in the place of this one and kept in
the user's cache; **chaussette build** makes one to be copied elsewhere, and **chaussette
build --cache** the one that is kept, beforehand.

`

const manualRest = `# ENVIRONMENT

Every option can be set in the environment: **--log-level** by **CHAUSSETTE_LOG_LEVEL**,
and so on. The command line wins.

**CHAUSSETTE_CACHE**
: the folder in which the programs of Go apps are kept

**CHAUSSETTE_SOURCE**
: the folder of a checkout of Chaussette, to build Go apps with whose modules require none

**NOTIFY_SOCKET**
: where systemd wants to be told of the worker's state

**LISTEN_FDS**, **LISTEN_PID**, **LISTEN_FDNAMES**
: the sockets that **--host systemd** serves on

# SIGNALS

**SIGTERM**, **SIGINT**
: drain: accept no more, finish the requests that run, and end; a second one ends the worker at once

**SIGHUP**
: drain, and execute the program anew: the same pid, on the same sockets, which stay open all the while

**SIGUSR1**
: open the log files again, after they were rotated

# EXIT STATUS

**0**
: after a drain

**1**
: after a second signal, or an error while serving, which is in the log

**2**
: the command line is wrong

**3**
: the application, the socket or a hook could not be opened

**4**
: the process of a Python application crashed, and **--child-restart** is not given

`

// defaultOf is what an option is when it is not given, as it is written on the command line.
func defaultOf(f *pflag.Flag) string {
	if _, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Trim(f.DefValue, "[]")
	}
	return f.DefValue
}
