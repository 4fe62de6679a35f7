// SPDX-License-Identifier: GPL-2.0

// Command mk makes and names what ksnif's virtual machines boot and what its
// lint reads. Results go to standard output, progress and errors to standard
// error.
//
//	mk kernel NAME       RELEASE=, IMAGE=, KDIR= and OPTIONS= of a kernel, for a shell's eval
//	mk initramfs NAME    the base archive for a kernel
//	mk source NAME       a folder with the files of a kernel's source that lint needs
//	mk headers32         the build tree of a 32-bit kernel
//	mk fetch [-update]   download everything; -update takes the newest versions
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"ksnif/images"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ksnif:", err)
		os.Exit(1)
	}
}

// run executes one subcommand.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	const usage = "usage: mk kernel NAME | initramfs NAME | source NAME | headers32 | fetch [-update]"
	commands := map[string]struct {
		nargs int
		fn    func(context.Context, *images.Cache, string) (string, error)
	}{
		"kernel":    {1, kernel},
		"initramfs": {1, initramfs},
		"source":    {1, source},
		"headers32": {0, headers32},
		"fetch":     {0, fetch(false)},
	}
	var update bool
	flags := flag.NewFlagSet("mk", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&update, "update", false, "")
	if len(args) == 0 {
		return fmt.Errorf("%s", usage)
	}
	cmd, ok := commands[args[0]]
	if err := flags.Parse(args[1:]); err != nil || !ok || flags.NArg() != cmd.nargs || update && args[0] != "fetch" {
		return fmt.Errorf("%s", usage)
	}
	if update {
		cmd.fn = fetch(true)
	}
	cache, err := images.OpenCache(log)
	if err != nil {
		return err
	}
	text, err := cmd.fn(ctx, cache, flags.Arg(0))
	if err == nil && text != "" {
		_, err = fmt.Fprintln(out, text)
	}
	return err
}

func kernel(ctx context.Context, c *images.Cache, name string) (string, error) {
	k, err := c.Kernel(ctx, name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("RELEASE=%s\nIMAGE=%s\nKDIR=%s\nOPTIONS='%s'", k.Release, k.Image, k.KDIR, strings.Join(k.Options, " ")), nil
}

func initramfs(ctx context.Context, c *images.Cache, name string) (string, error) {
	k, err := c.Kernel(ctx, name)
	if err != nil {
		return "", err
	}
	return c.Initramfs(ctx, k)
}

func source(ctx context.Context, c *images.Cache, name string) (string, error) {
	return c.Source(ctx, name)
}

func headers32(ctx context.Context, c *images.Cache, _ string) (string, error) {
	return c.Headers32(ctx)
}

func fetch(update bool) func(context.Context, *images.Cache, string) (string, error) {
	return func(ctx context.Context, c *images.Cache, _ string) (string, error) {
		return "", c.Fetch(ctx, update)
	}
}
