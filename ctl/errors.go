// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// cmdError is an error in the words the user reads, after the command's name:
// "ksnifctl: COMMAND what: text".
type cmdError struct {
	what string // argument it is about, or empty
	text string
	code int
	err  error
}

func (e *cmdError) Error() string { return e.text }
func (e *cmdError) Unwrap() error { return e.err }

func usagef(what, format string, args ...any) error {
	return &cmdError{what: what, text: fmt.Sprintf(format, args...), code: exitUsage}
}

func failedf(what, format string, args ...any) error {
	return &cmdError{what: what, text: fmt.Sprintf(format, args...), code: exitFailed}
}

// report prints what ended the run, in one line, and returns the exit code.
func (a *app) report(cmd *cobra.Command, err error) int {
	if a.out.err != nil {
		if errors.Is(a.out.err, unix.EPIPE) {
			return exitFailed // the reader has seen enough
		}
		err = failedf("", "cannot write the output: %s", errnoText(a.out.err))
	}
	if err == nil {
		return exitOK
	}
	e := &cmdError{text: explain(cmd.Name(), err), code: exitFailed}
	errors.As(err, &e)
	line := "ksnifctl"
	if cmd.HasParent() {
		line += ": " + cmd.Name()
		if e.what != "" {
			line += " " + e.what
		}
	} else if e.what != "" {
		line += ": " + e.what
	}
	line += ": " + e.text
	if e.code == exitUsage {
		line += " (see " + cmd.CommandPath() + " --help)"
	}
	fmt.Fprintln(a.Stderr, oneLine(line))
	return e.code
}

// output remembers the first error, so that no command has to look at what
// each of its prints, or cobra's, returned.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}

// explain says what went wrong and what to do about it. The module's own text
// comes first; where there is none, or it names no way out, a remedy is added.
func explain(command string, err error) string {
	var kernel *genl.Error
	var unfinished *genl.UnfinishedError
	switch {
	case errors.Is(err, genl.ErrNotLoaded):
		return "ksnif is not loaded: run modprobe ksnif, or insmod kmod/ksnif.ko where it was built"
	case errors.As(err, &unfinished):
		return "interrupted: " + unfinished.GoesOn + ": see ksnifctl status"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case !errors.As(err, &kernel):
		return strings.TrimPrefix(err.Error(), command+": ")
	}
	text := strings.TrimPrefix(kernel.Message, command+": ")
	if text == "" {
		if kernel.Err == unix.EPERM {
			return "needs CAP_NET_ADMIN: run as root"
		}
		text = kernel.Err.Error()
	}
	if help := remedy(command, kernel); help != "" && !namesWayOut(text) {
		text += ": " + help
	}
	return text
}

// namesWayOut tells whether a text of the module already says what to do.
func namesWayOut(text string) bool {
	return strings.Contains(text, "must be") || strings.Contains(text, "use ") || strings.Contains(text, "try again")
}

func remedy(command string, e *genl.Error) string {
	if command == "set" {
		switch e.Err {
		case unix.EBUSY:
			return "run ksnifctl stop first"
		case unix.EINPROGRESS:
			return "try again"
		}
	}
	switch e.Err {
	case unix.EALREADY:
		return "use restart"
	case unix.ENOTCONN:
		return "run ksnifctl start first"
	case unix.EINPROGRESS:
		return "wait for it with ksnifctl stop"
	case unix.ENODEV:
		return "see ip link for the devices there are"
	case unix.ENOSPC, unix.EDQUOT:
		return "free space or set logfile to another disk"
	case unix.EFBIG:
		return "raise the file size limit (ulimit -f)"
	case unix.EIO:
		return "see dmesg for the disk's errors"
	case unix.ENOMEM, unix.ENOBUFS:
		return "free memory or lower queue_size"
	}
	if name, _ := splitName(e); name == "logfile" {
		if e.Err == unix.ENOENT {
			return "create it or set another logfile"
		}
		return "set another logfile"
	}
	return ""
}

// errnoText is the errno's text without Go's "write /dev/stdout: " before it.
func errnoText(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func oneOf(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// quote shows a user's value so that it cannot be mistaken: short, on one
// line, and empty or blank ones visible.
func quote(s string) string {
	const most = 60
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar }
	if s == "" || strings.ContainsFunc(s, odd) {
		return strconv.Quote(s)
	}
	return s
}

// oneLine keeps the promise of one line per error, whatever came in.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
