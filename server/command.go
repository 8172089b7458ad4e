package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chaussette/chaussette/app"
	"github.com/chaussette/chaussette/server/logs"
)

// Opener opens the application that the command line names: app.Open.
type Opener func(ctx context.Context, name string, o *app.Options) (app.App, error)

// Builder makes the program of the Go app that a path and a name, ./chat.App, name:
// golang.Build.
type Builder func(ctx context.Context, name string, log *slog.Logger) (*app.Program, error)

// Main serves a as the chaussette command serves an app, with every option of its command
// line, and exits.
func Main(a http.Handler) {
	open := func(context.Context, string, *app.Options) (app.App, error) { return a, nil }
	os.Exit(execute(command(newFlags(), open, nil, false)))
}

// MainOf is Main for the app that m makes: any that package app has a Maker for. name is
// what the log calls it. An error of m ends the program with exit status 3.
func MainOf(name string, m app.Maker) {
	f := newFlags()
	f.config.Application = name
	os.Exit(execute(command(f, opener(name, m), nil, false)))
}

// Exec runs the chaussette command with the process's arguments, and exits. What the
// first argument names, open opens; or build makes a program of it, which is executed in
// its place. commands are its subcommands.
func Exec(open Opener, build Builder, commands ...*cobra.Command) {
	os.Exit(execute(Command(open, build, commands...)))
}

// Command is the chaussette command.
func Command(open Opener, build Builder, commands ...*cobra.Command) *cobra.Command {
	cmd := command(newFlags(), open, build, true)
	cmd.AddCommand(commands...)
	return cmd
}

func execute(cmd *cobra.Command) int {
	err := cmd.Execute()
	status := ExitStatus(err)
	switch {
	case err == nil:
	case status == exitUsage:
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\nTry '%s --help'.\n", cmd.Name(), err, cmd.Name())
	case !isLogged(err):
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", cmd.Name(), err)
	}
	return status
}

// loggedError is an error that the log has.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }

func isLogged(err error) bool {
	var logged loggedError
	return errors.As(err, &logged)
}

// command makes the command: the one that opens apps by name, or that of a program which
// is its own app.
func command(f *flags, open Opener, build Builder, named bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:           "chaussette [options] [application] [arguments...]",
		Short:         "Serve an application on a socket that a process manager has opened",
		Long:          long,
		Example:       examples,
		Version:       Version(),
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return applicationNames(), cobra.ShellCompDirectiveDefault
		},
	}
	if !named {
		name := programName()
		cmd.Use, cmd.Long, cmd.Example = name+" [options]", "Serve this application.", ""
		cmd.Version = programVersion()
		cmd.Short, cmd.Args, cmd.ValidArgsFunction = "Serve this application", cobra.NoArgs, nil
	}
	for _, g := range f.groups {
		cmd.Flags().AddFlagSet(g.set)
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolP("help", "h", false, "show this help")
	cmd.Flags().Bool("version", false, "show the version")
	cmd.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &UsageError{err} })
	cmd.SetUsageFunc(func(cmd *cobra.Command) error { return writeUsage(cmd, f, named) })
	cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { writeHelp(cmd) })
	completeFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := fromEnv(cmd.Flags()); err != nil {
			return &UsageError{err}
		}
		if err := f.finish(cmd.Flags()); err != nil {
			return &UsageError{err}
		}
		return serve(cmd, f, open, build, args)
	}
	return cmd
}

// serve is what the command does when its options are right.
func serve(cmd *cobra.Command, f *flags, open Opener, build Builder, args []string) error {
	c := f.config
	// Before anything is opened: a mistyped name must not cost more than its message.
	if _, err := LookupBackend(c.Backend); err != nil {
		return err
	}
	closeLogs, err := f.openLogs(&c)
	if err != nil {
		return &OpenError{"the log", err}
	}
	defer closeLogs()

	name, options := "", &f.app
	if len(args) > 0 {
		name, options.Arguments = args[0], args[1:]
	}
	c.HookEnv = append(environment(cmd.Flags()), envName("application")+"="+name,
		envName("arguments")+"="+strings.Join(options.Arguments, " "))

	f.forPython(&c, name, cmd.Flags())
	if f.launched != nil {
		f.launched.configure(&c, name)
	}
	if n, parseErr := app.Parse(name); parseErr == nil && n.Kind == app.Go && build != nil {
		err = launch(cmd.Context(), c, n, build)
	} else {
		err = run(cmd.Context(), c, func(ctx context.Context) (app.App, error) { return open(ctx, name, options) })
	}
	if err != nil && ExitStatus(err) != exitUsage {
		c.Log.Log(context.Background(), logs.LevelCritical, err.Error(), "exit-status", ExitStatus(err))
		return loggedError{err}
	}
	return err
}

func run(ctx context.Context, c Config, open func(context.Context) (app.App, error)) error {
	if ctx == nil {
		ctx = context.Background()
	}
	a, err := open(ctx)
	if err != nil {
		return err
	}
	w, err := New(a, c)
	if err != nil {
		return err
	}
	return w.Run(ctx)
}

// openLogs opens the log and the access log, and puts them into c.
func (f *flags) openLogs(c *Config) (closeAll func(), err error) {
	level, err := logs.ParseLevel(f.logLevel)
	if err != nil {
		return nil, err
	}
	files := map[string]*logs.File{} // by path: one file, one descriptor
	open := func(path string) (io.Writer, error) {
		if file, ok := files[path]; ok {
			return file, nil
		}
		file, err := logs.OpenFile(path)
		if err == nil {
			files[path] = file
		}
		return file, err
	}
	closeAll = func() {
		for _, file := range files {
			_ = file.Close()
		}
	}
	output, err := open(f.logOutput)
	if err != nil {
		return nil, err
	}
	c.Log = slog.New(logs.NewHandler(output, logs.Format(f.logFormat), level))
	slog.SetDefault(c.Log) // what libraries and the app log goes there as well
	if f.accessLog != "" {
		access, err := open(f.accessLog)
		if err != nil {
			closeAll()
			return nil, err
		}
		c.AccessLog = slog.New(logs.NewHandler(access, logs.Format(f.logFormat), slog.LevelInfo))
	}
	c.ReopenLogs = func() error {
		var errs []error
		for _, file := range files {
			errs = append(errs, file.Reopen())
		}
		return errors.Join(errs...)
	}
	return closeAll, nil
}
