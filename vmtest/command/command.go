// SPDX-License-Identifier: GPL-2.0

// Package command is how the host's programs that run VMs begin and end: signals, messages, exit codes.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes besides 0.
const (
	ExitFailed      = 1
	ExitUsage       = 2
	ExitInterrupted = 130
)

// ErrFailed means that the reason was printed already.
var ErrFailed = errors.New("failed")

// UsageError is a wrong use of the program.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Main runs a program until it ends or is told to, and exits.
func Main(root *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := root.ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	os.Exit(ExitCode(root.Name(), err, interrupted))
}

// ExitCode says what went wrong, unless that has been said, and returns the code for it.
func ExitCode(name string, err error, interrupted bool) int {
	var usage UsageError
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, name+": interrupted")
		return ExitInterrupted
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return ExitUsage
	case !errors.Is(err, ErrFailed):
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	return ExitFailed
}
