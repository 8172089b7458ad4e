package server

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chaussette/chaussette/app/builtin"
	"github.com/chaussette/chaussette/server/logs"
)

const long = `Serve an application on a socket that a process manager (Circus, Supervisor, systemd)
has opened and shares between workers, or on one of its own.`

const examples = `  chaussette                                    hello world on http://localhost:8080/
  chaussette --port 9000 --backend waitress bench
  chaussette ./chat.App                         a Go app, built when it has changed
  chaussette --fd $(circus.sockets.web) hello   in circus.ini, with use_sockets = True
  chaussette --fd 0 hello                       in an [fcgi-program:x] of supervisord.conf
  chaussette --host systemd hello               in a service with a .socket unit
  chaussette --host unix:/run/app.sock hello`

// release is the version that is being worked on, for programs that were not installed
// as a module of some version.
const release = "2.0.0-dev"

// Version is the version of this module, and what it was built with.
func Version() string {
	version := release
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
			if m.Path == modulePath && strings.HasPrefix(m.Version, "v") {
				version = strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return fmt.Sprintf("%s (%s %s/%s)", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// programVersion is the version of a program around chaussette, and of that.
func programVersion() string {
	version := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Path != modulePath {
		version = info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" && version == "(devel)" {
				version = setting.Value
			}
		}
	}
	return version + ", chaussette " + Version()
}

const modulePath = "github.com/chaussette/chaussette"

// programName is the name of a program that is its own app.
func programName() string { return filepath.Base(os.Args[0]) }

func writeHelp(cmd *cobra.Command) {
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n", cmd.Long)
	_ = cmd.Usage()
}

// writeUsage writes the options in their groups, what there is to choose from, and examples.
func writeUsage(cmd *cobra.Command, f *flags, named bool) error {
	out := cmd.OutOrStdout()
	if cmd.HasParent() { // new, completion
		fmt.Fprintf(out, "Usage:\n  %s\n", cmd.UseLine())
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(out, "  %s\t%s\n", sub.CommandPath(), sub.Short)
			}
		}
		if own := ownUsages(cmd); own != "" {
			fmt.Fprintf(out, "\nFlags:\n%s", own)
		}
		return nil
	}
	fmt.Fprintf(out, "Usage:\n  %s\n", cmd.Use)
	if named {
		for _, sub := range cmd.Commands() {
			if sub.RunE != nil { // those that cobra adds have a line of their own
				fmt.Fprintf(out, "  %s\n", sub.UseLine())
			}
		}
		fmt.Fprintf(out, "  %s completion bash|zsh|fish|powershell\n", cmd.Name())
		writeApplications(out)
	}
	writeBackends(out)
	for _, g := range f.groups {
		fmt.Fprintf(out, "\n%s:\n%s", g.title, flagUsages(g.set))
	}
	fmt.Fprintf(out, "\nEvery option can be set in the environment as well: --log-level by %s. The command line wins.\n",
		envName("log-level"))
	if cmd.Example != "" {
		fmt.Fprintf(out, "\nExamples:\n%s\n", cmd.Example)
	}
	return nil
}

func writeApplications(out io.Writer) {
	fmt.Fprint(out, "\nApplications:\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, name := range builtin.Names() {
		fmt.Fprintf(t, "  %s\t%s\n", name, builtin.Help(name))
	}
	for _, form := range applicationForms {
		fmt.Fprintf(t, "  %s\t%s\n", form.example, form.help)
	}
	_ = t.Flush()
}

// applicationForms are the names of apps that are not built in.
var applicationForms = []struct{ example, help string }{
	{"./chat.App", "a Go app: what the package in the folder chat exports as App; also example.com/me/chat.App"},
	{"mysite.wsgi.application", "a Python app: what the module mysite.wsgi has as application"},
	{"paste:etc/production.ini#main", "a Python app, by its Paste file"},
}

func writeBackends(out io.Writer) {
	fmt.Fprint(out, "\nBackends:\n")
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, b := range backends {
		fmt.Fprintf(t, "  %s\t%s\n", strings.Join(append([]string{b.Name}, b.Aliases...), ", "), b.Help)
	}
	_ = t.Flush()
}

// flagUsages are the options of a group, each with the variable that sets it.
func flagUsages(set *pflag.FlagSet) string {
	var b strings.Builder
	set.VisitAll(func(f *pflag.Flag) { writeFlag(&b, f, " ["+envName(f.Name)+"]") })
	return b.String()
}

// ownUsages are the flags of a command below the worker's.
func ownUsages(cmd *cobra.Command) string {
	var b strings.Builder
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && !f.Hidden {
			writeFlag(&b, f, "")
		}
	})
	return b.String()
}

func writeFlag(out io.Writer, f *pflag.Flag, behind string) {
	kind, usage := pflag.UnquoteUsage(f)
	fmt.Fprintf(out, "  %s\n", strings.TrimSpace("--"+f.Name+" "+kind))
	if hasDefault(f) {
		usage += " (default " + defaultOf(f) + ")"
	}
	fmt.Fprintf(out, "        %s%s\n", usage, behind)
}

// completeFlags has the shell complete what an option can be.
func completeFlags(cmd *cobra.Command) {
	fixed := func(values ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	}
	var names []string
	for _, b := range backends {
		names = append(append(names, b.Name), b.Aliases...)
	}
	for flag, complete := range map[string]cobra.CompletionFunc{
		"backend":        fixed(names...),
		"address-family": fixed(addressFamilies...),
		"socket-type":    fixed("SOCK_STREAM"),
		"log-level":      fixed(logs.LevelNames()...),
		"log-format":     fixed(logs.Formats()...),
		"slow-client":    fixed("close", "drop"),
		"ws-deflate":     fixed("off", "on", "stateless"),
	} {
		if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic(err) // the option is not defined: a mistake in this file
		}
	}
}

func applicationNames() []string {
	var names []string
	for _, name := range builtin.Names() {
		names = append(names, name+"\t"+builtin.Help(name))
	}
	return names
}
