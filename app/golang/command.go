package golang

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/chaussette/chaussette/app"
)

// Commands are the subcommands of chaussette that are about Go apps.
func Commands() []*cobra.Command { return []*cobra.Command{buildCommand(), newCommand()} }

// goFlags are the flags of go build that chaussette build passes on.
var goFlags = []struct {
	name, value, help string // value names what it takes; empty: it is on or off
}{
	{"tags", "list", "build tags, with commas between them"},
	{"ldflags", "flags", "for the linker: -ldflags=-s leaves the symbols out"},
	{"gcflags", "flags", "for the compiler"},
	{"asmflags", "flags", "for the assembler"},
	{"buildmode", "mode", "exe or pie"},
	{"buildvcs", "when", "stamp the version: auto (the default), true or false"},
	{"pgo", "file", "profile to optimise by; auto is default.pgo"},
	{"p", "n", "how many compilers run at once"},
	{"toolexec", "command", "program to run the compiler by"},
	{"installsuffix", "suffix", "of the package folder"},
	{"covermode", "mode", "with -cover: set, count or atomic"},
	{"coverpkg", "patterns", "with -cover: the packages it is about"},
	{"a", "", "compile all anew"},
	{"v", "", "name the packages that are compiled"},
	{"x", "", "show the commands that are run"},
	{"work", "", "keep and name the compiler's temporary folder"},
	{"cover", "", "count what is executed"},
	{"msan", "", "add the memory sanitizer"},
	{"asan", "", "add the address sanitizer"},
	{"trimpath", "", "leave the file system's paths out (the default)"},
	{"modcacherw", "", "leave new folders of the module cache writable"},
}

// takenFlags are those that chaussette itself needs, or that would make no program.
var takenFlags = []string{"overlay", "modfile", "mod", "C", "n", "compiler", "linkshared"}

const buildLong = `Make one program of a Go app and of chaussette, with every option of the command: static
(CGO_ENABLED=0, unless the environment says otherwise), with the version of the app's
module, and the same to the byte wherever it is made. GOOS and GOARCH name another machine.`

// usageError is a command line that is wrong.
type usageError struct{ error }

// ExitStatus implements what package server asks errors of other packages.
func (usageError) ExitStatus() int { return 2 }

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "build [-o FILE] [--race] [flags of go build] APP",
		Short: "Make one static program of a Go app",
		Long:  buildLong,
		// The flags of go build have one dash.
		DisableFlagParsing:    true,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeBuild,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := parseBuild(args)
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\n\nUsage:\n  %s\n\n%s", cmd.Long, cmd.UseLine(), buildUsage())
				return nil
			}
			if err != nil {
				return usageError{err}
			}
			return r.run(cmd)
		},
	}
}

// buildRequest is what the command line of chaussette build asks for.
type buildRequest struct {
	app   string
	cache bool
	file  FileOptions
}

func (r *buildRequest) flagSet() *flag.FlagSet {
	set := flag.NewFlagSet("chaussette build", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.StringVar(&r.file.Output, "o", "", "")
	set.BoolVar(&r.file.Race, "race", false, "")
	set.BoolVar(&r.cache, "cache", false, "")
	for _, f := range goFlags {
		pass := func(value string) error {
			r.file.Flags = append(r.file.Flags, "-"+f.name+"="+value)
			return nil
		}
		if f.value == "" {
			set.BoolFunc(f.name, "", pass)
		} else {
			set.Func(f.name, "", pass)
		}
	}
	for _, name := range takenFlags {
		set.BoolFunc(name, "", func(string) error { return errors.New("chaussette build sets it itself, or has no use for it") })
	}
	return set
}

func parseBuild(args []string) (*buildRequest, error) {
	r := &buildRequest{}
	set := r.flagSet()
	// Flags may follow the app.
	var words []string
	for len(args) > 0 {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if args = set.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if len(words) != 1 {
		return nil, fmt.Errorf("chaussette build makes one app's program, as in chaussette build ./chat.App; there are %d", len(words))
	}
	if r.cache && (r.file.Output != "" || r.file.Race || len(r.file.Flags) > 0) {
		return nil, errors.New("--cache makes what chaussette APP would: there is nothing else to choose (GOFLAGS is heeded)")
	}
	n, err := app.Parse(words[0])
	if err != nil {
		return nil, err
	}
	if n.Kind != app.Go {
		return nil, fmt.Errorf("%s is no Go app, which alone can be built: ./chat.App is App in the folder ./chat", words[0])
	}
	r.app = n.Path
	return r, nil
}

func (r *buildRequest) run(cmd *cobra.Command) error {
	ctx, release := signal.NotifyContext(context.WithoutCancel(contextOf(cmd)), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	var err error
	if r.cache {
		_, err = Build(ctx, r.app, slog.New(slog.DiscardHandler))
	} else {
		r.file.Stderr = cmd.ErrOrStderr()
		_, err = BuildFile(ctx, r.app, &r.file)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return &app.LoadError{Name: app.Name{Kind: app.Go, Path: r.app}, Err: err}
	}
	return nil
}

func contextOf(cmd *cobra.Command) context.Context {
	if ctx := cmd.Context(); ctx != nil {
		return ctx
	}
	return context.Background()
}

func buildUsage() string {
	var b strings.Builder
	line := func(flag, help string) { fmt.Fprintf(&b, "  %s\n        %s\n", strings.TrimSpace(flag), help) }
	b.WriteString("Flags:\n")
	line("-o FILE", "file to make, or folder for it; here, with the package's name, by default")
	line("--race", "add the race detector; the program is not static then")
	line("--cache", "make the program that chaussette APP executes, and leave it in the cache")
	b.WriteString("\nFlags of go build:\n")
	for _, f := range goFlags {
		line("-"+f.name+" "+f.value, f.help)
	}
	return b.String()
}

// completeBuild completes flags, and the folders of apps.
func completeBuild(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	if strings.HasPrefix(begun, "-") {
		var names []string
		new(buildRequest).flagSet().VisitAll(func(f *flag.Flag) {
			if !slices.Contains(takenFlags, f.Name) {
				names = append(names, "-"+f.Name)
			}
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func newCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		DisableFlagsInUseLine: true,
		Use:                   "new [--module PATH] " + strings.Join(kindNames(), "|") + " DIR",
		Short:                 "Begin a project: an app, its tests, and files for process managers",
		Long: `Make a folder with a small app that is ready to run, its tests, configurations for Circus,
Supervisor and systemd, and a Dockerfile.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("chaussette new takes a kind of app (%s) and a folder", strings.Join(kindNames(), ", "))}
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				var kinds []string
				for _, k := range Kinds {
					kinds = append(kinds, k.Name+"\t"+k.Help)
				}
				return kinds, cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, release := signal.NotifyContext(contextOf(cmd), syscall.SIGTERM, syscall.SIGINT)
			defer release()
			p := &Project{Kind: args[0], Folder: args[1], Module: path}
			if err := p.Create(ctx); err != nil {
				return err
			}
			backend := Kinds[slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == p.Kind })].Backend
			fmt.Fprintf(cmd.OutOrStdout(), "%s is ready:\n\n    cd %[1]s\n    chaussette --backend %s ./.App\n    go test ./...\n",
				filepath.Clean(args[1]), backend)
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "module", "", "`path` of the module; the folder's name by default")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	return cmd
}
