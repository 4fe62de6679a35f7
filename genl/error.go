// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"errors"
	"os"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ErrDumpInterrupted means that the kernel's state changed while it was being
// dumped, time and again; the data returned with it may be inconsistent.
var ErrDumpInterrupted = errors.New("the state changed while it was read: try again")

// ErrStartedAgain means that the capture that a command was for has ended, and
// the next one was started before the command was told how.
var ErrStartedAgain = errors.New("the capture ended, how is not known, as it was started again meanwhile")

// ErrNotLoaded means that the module is neither loaded nor could be loaded. It
// is os.ErrNotExist to errors.Is.
var ErrNotLoaded error = notLoaded{}

type notLoaded struct{}

func (notLoaded) Error() string { return "ksnif is not loaded (modprobe ksnif)" }

func (notLoaded) Is(target error) bool { return target == os.ErrNotExist }

// Error is the kernel's refusal of a command.
type Error struct {
	// Command is the command's name in the spec, such as "set".
	Command string
	// Attr names the attribute at fault, if the kernel pointed to one.
	Attr string
	// Message is the kernel's text, such as "snaplen: must be 0..262144". Most
	// texts name the attribute themselves.
	Message string
	Err     unix.Errno
}

// Error returns the command, the attribute and the kernel's text, each once.
func (e *Error) Error() string {
	text := e.Message
	if text == "" {
		text = e.Err.Error() + e.remedy()
	}
	for _, prefix := range []string{e.Attr, e.Command} {
		if prefix != "" && !strings.HasPrefix(text, prefix+": ") {
			text = prefix + ": " + text
		}
	}
	return text
}

// remedy says what a bare errno means here.
func (e *Error) remedy() string {
	switch {
	case e.Err != unix.EPERM:
		return ""
	case e.Command == eventsCommand:
		return ": needs CAP_NET_ADMIN in the user namespace that owns the network namespace"
	default:
		return ": needs CAP_NET_ADMIN in the initial user namespace"
	}
}

// Unwrap returns the errno, so that errors.Is works on it.
func (e *Error) Unwrap() error { return e.Err }

// UnfinishedError says that a command was given up while the kernel still
// worked on it.
type UnfinishedError struct {
	Command string
	GoesOn  string // what the kernel does now
	Err     error  // the context's
}

// Error says what goes on.
func (e *UnfinishedError) Error() string {
	return e.Command + ": interrupted: " + e.GoesOn
}

// Unwrap returns the context's error.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// eventsCommand stands for the command in errors of joining the group.
const eventsCommand = "events"

const (
	headerLen     = 16 // of struct nlmsghdr
	genlHeaderLen = 4  // of struct genlmsghdr
	attrHeaderLen = 4  // of struct nlattr
)

// refusal turns an error of the netlink package into an *Error if the kernel
// answered with an errno. The request's payload tells which attribute the offset means.
func refusal(err error, command string, payload []byte) error {
	var op *netlink.OpError
	if !errors.As(err, &op) {
		return err
	}
	errno, ok := op.Err.(unix.Errno)
	if !ok { // such as a failed system call, an *os.SyscallError
		return err
	}
	return &Error{
		Command: command,
		Attr:    attrAt(command, payload, op.Offset),
		Message: strings.TrimRight(op.Message, "\x00"),
		Err:     errno,
	}
}

// attrAt names the attribute at the offset, which counts from the start of the
// request's netlink header. Zero, and whatever meets no attribute of the
// request, gives "".
func attrAt(command string, payload []byte, offset int) string {
	want := offset - headerLen
	names := captureAttrs
	if command == commandNames[CmdStats] {
		names = statsAttrs
	}
	for at := genlHeaderLen; at+attrHeaderLen <= len(payload); {
		length := int(nativeUint16(payload[at:]))
		if length < attrHeaderLen {
			break
		}
		if at == want {
			number := int(nativeUint16(payload[at+2:]) & attrTypeMask)
			if number < len(names) {
				return names[number]
			}
			break
		}
		at += (length + 3) &^ 3
	}
	return ""
}
