// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// interval is the value of --watch; 0 means once.
type interval time.Duration

func (i *interval) String() string {
	if *i == 0 {
		return ""
	}
	return time.Duration(*i).String()
}

// Set reads seconds (2, 0.5) or a duration as Go writes it (500ms).
func (i *interval) Set(s string) error {
	const least, most = 100 * time.Millisecond, 24 * time.Hour
	d, err := time.ParseDuration(s)
	if _, e := strconv.ParseFloat(s, 64); e == nil {
		d, err = time.ParseDuration(s + "s")
	}
	if err != nil || d < least || d > most {
		return errors.New("must be seconds, as in 2 or 0.5, from 0.1 to 86400")
	}
	*i = interval(d)
	return nil
}

// Type names the value in the help.
func (i *interval) Type() string { return "interval" }

func watchFlag(cmd *cobra.Command, p *interval) {
	f := cmd.Flags().VarPF(p, "watch", "", "print again every interval (seconds) until ^C")
	f.NoOptDefVal = "1"
}

// watch draws once, or every interval until ctx ends. On a terminal each frame
// takes the place of the one before.
func (a *app) watch(ctx context.Context, every interval, draw func() ([]byte, error)) error {
	frame, err := draw()
	if err != nil || every == 0 {
		a.out.Write(frame)
		return err
	}
	tick := time.NewTicker(time.Duration(every))
	defer tick.Stop()
	redraw := isTerminal(a.Stdout)
	if redraw {
		a.out.Write([]byte("\x1b[2J"))
		defer a.out.Write([]byte{'\n'}) // the shell's prompt is not to follow "^C"
	}
	for ctx.Err() == nil && err == nil {
		if redraw {
			frame = repaint(frame)
		}
		if _, err := a.out.Write(frame); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
			frame, err = draw()
		}
	}
	if ctx.Err() != nil {
		return nil // ^C, maybe while asking
	}
	return err
}

// repaint writes a frame over the one before without a flicker: each line
// clears what is left of the old one, and the end what is below.
func repaint(frame []byte) []byte {
	lines := bytes.ReplaceAll(frame, []byte("\n"), []byte("\x1b[K\n"))
	return append(append([]byte("\x1b[H"), lines...), "\x1b[J"...)
}
