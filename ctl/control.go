// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// control is a command that takes nothing and prints nothing.
type control struct {
	name, short, long string
	do                func(Client, context.Context) error
}

func (a *app) controlCommands() []*cobra.Command {
	const waits = `

It returns when the packets are on disk, and prints on a terminal how many are
still queued if that takes long: on a frozen file system it waits for the thaw.`
	var cmds []*cobra.Command
	for _, c := range []control{
		{
			name: "start", do: Client.Start,
			short: "Start to capture",
			long: `start creates or truncates the capture file, sets all counters to zero and
captures until stop. A start that is refused truncates and resets nothing; only
a disk that does not answer may still empty the file when it comes back.

The file is opened with the rights of whoever runs start, must be a regular file
or not exist yet, and must not be a symbolic link.`,
		},
		{
			name: "stop", do: Client.Stop,
			short: "Stop, and return when the file is complete on disk",
			long: `stop ends the capture, writes what is queued, syncs and closes the file. If a
write failed, stop fails with that error; it is told once, and stays in status
until the next start. To stop what is stopped does nothing.` + waits,
		},
		{
			name: "restart", do: Client.Restart,
			short: "Stop, and start again with an empty file (truncates it)",
			long: `restart is stop followed by start. Like start it TRUNCATES the capture file: to
keep what was captured, stop, move the file away and start. It starts a capture
that has failed anew, too, which forgets the errno in status.` + waits,
		},
		{
			name: "flush", do: Client.Flush,
			short: "Return when every packet captured so far is on disk",
			long: `flush waits until every packet captured before it is written and synced. The
capture goes on.` + waits,
		},
	} {
		cmds = append(cmds, a.controlCommand(c))
	}
	return cmds
}

func (a *app) controlCommand(c control) *cobra.Command {
	return &cobra.Command{
		Use:               c.name,
		Short:             c.short,
		Long:              c.long,
		Example:           "  ksnifctl " + c.name,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, client Client) error {
				done := a.progress(ctx, c.name)
				err := c.do(client, ctx)
				done()
				return a.refusedFlush(ctx, client, a.refusedStart(ctx, client, err))
			})
		},
	}
}

// refusedFlush tells a capture that has failed from one that was not started: starting it would empty its file.
func (a *app) refusedFlush(ctx context.Context, c Client, err error) error {
	if !errors.Is(err, unix.ENOTCONN) {
		return err
	}
	capture, e := c.Get(ctx)
	if e != nil || capture.Errno == 0 {
		return err // the refusal is what counts
	}
	return failedf("", "the capture has failed: %s: see ksnifctl status", errnoWords(capture.Errno))
}

// progress tells on a terminal, once a wait gets long, what it waits for. The
// function it returns ends that and leaves the line empty.
func (a *app) progress(ctx context.Context, command string) (done func()) {
	if !isTerminal(a.Stderr) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		wait := time.NewTimer(a.progressAfter)
		defer wait.Stop()
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		a.showProgress(ctx, command)
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func (a *app) showProgress(ctx context.Context, command string) {
	// Its own connection: the other one is in use by the waiting command.
	c, err := a.Dial()
	if err != nil {
		return
	}
	defer c.Close()
	defer fmt.Fprint(a.Stderr, "\r\x1b[K")
	for {
		if s, err := c.Stats(ctx); err == nil {
			fmt.Fprintf(a.Stderr, "\rksnifctl: %s: still writing (%d packets queued) …\x1b[K", command, s.Queued)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(a.progressEvery):
		}
	}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
