// SPDX-License-Identifier: GPL-2.0

// Package ctl is the command line of ksnif: commands, flags, output and exit
// codes. Everything else it asks package genl.
package ctl

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ksnif/genl"
)

// Exit codes of Main.
const (
	exitOK     = 0 // done; also: a watch ended by ^C
	exitFailed = 1 // refused, not loaded, no privilege, I/O
	exitUsage  = 2 // wrong usage
)

// Client is what the commands need of a genl.Client.
type Client interface {
	Close() error
	Get(ctx context.Context) (*genl.Capture, error)
	Set(ctx context.Context, s genl.Settings) error
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Restart(ctx context.Context) error
	Flush(ctx context.Context) error
	Stats(ctx context.Context) (*genl.Stats, error)
	StatsPerCPU(ctx context.Context) ([]genl.CPUStats, error)
	Events(ctx context.Context) (EventReader, error)
}

// EventReader is what the commands need of a genl.EventReader.
type EventReader interface {
	Next() (*genl.Event, error)
	Close() error
}

// module is the real Client.
type module struct {
	*genl.Client
}

func (m module) Events(ctx context.Context) (EventReader, error) {
	r, err := m.Client.Events(ctx)
	if err != nil {
		return nil, err // not r: a nil pointer in an interface is not nil
	}
	return r, nil
}

func dial() (Client, error) {
	c, err := genl.New()
	if err != nil {
		return nil, err
	}
	return module{c}, nil
}

// Env is what a run takes from its process.
type Env struct {
	Args    []string               // arguments without the program's name
	Stdout  io.Writer              // results
	Stderr  io.Writer              // errors and progress
	Dial    func() (Client, error) // reaches the module
	Version string                 // version of the tool
	Sysfs   string                 // where sysfs is mounted
}

// System is the environment of a real process.
func System(args []string, version string) Env {
	return Env{
		Args:    args,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Dial:    dial,
		Version: version,
		Sysfs:   "/sys",
	}
}

// app is one run of the tool.
type app struct {
	Env
	out           *output
	progressAfter time.Duration // silence before a wait shows progress
	progressEvery time.Duration
}

// Main runs the command that env.Args name and returns the exit code. SIGINT
// and SIGTERM end it; a second one kills.
func Main(ctx context.Context, env Env) int {
	a := &app{Env: env, progressAfter: 2 * time.Second, progressEvery: time.Second}
	return a.run(ctx)
}

func (a *app) run(ctx context.Context) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	a.out = &output{w: a.Stdout}
	root := a.root()
	// cobra takes nil for "use os.Args".
	root.SetArgs(append([]string{}, a.Args...))
	root.SetOut(a.out)
	root.SetErr(a.Stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return a.report(cmd, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "ksnifctl",
		Short: "Control ksnif, the packet capture inside the kernel",
		Long: `ksnifctl controls ksnif, a kernel module that captures the IPv4 and IPv6
packets which this network namespace receives and writes them to a capture file.

What reads or changes the capture needs CAP_NET_ADMIN in the initial user
namespace: run as root.

Exit status:

- 0: done; also when ^C ends a watch or events
- 1: refused by the module, module not loaded, no privilege, input or output error
- 2: wrong usage`,
		Example: `  ksnifctl set device_name eth0 snaplen 96
  ksnifctl start
  ksnifctl stats --watch
  ksnifctl stop`,
		Version:                    a.Version,
		Args:                       knownCommand,
		RunE:                       noCommand,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	// "ksnifctl strat --json" is an unknown command, not an unknown flag.
	root.Flags().SetInterspersed(false)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var bad *pflag.InvalidValueError
		if errors.As(err, &bad) && bad.GetFlag().Value.Type() == "bool" { // or it speaks of Go's parser
			return usagef("--"+bad.GetFlag().Name, "takes no value")
		}
		return usagef("", "%v", err)
	})
	root.AddCommand(a.getCommand(), a.setCommand())
	root.AddCommand(a.controlCommands()...)
	root.AddCommand(a.statsCommand(), a.statusCommand(), a.eventsCommand(),
		a.versionCommand(), a.completionCommand(), a.manCommand())
	root.SetHelpCommand(helpCommand())
	root.InitDefaultVersionFlag() // cobra adds it where a command runs: too late for help and the manual
	return root
}

// with dials the module for the time of fn.
func (a *app) with(cmd *cobra.Command, fn func(ctx context.Context, c Client) error) error {
	c, err := a.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return fn(cmd.Context(), c)
}
