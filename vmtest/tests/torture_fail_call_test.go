// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
)

// errLost says that the kernel found no memory for its answer: whether it did what was asked, only a look can tell.
var errLost = errors.New("the answer was lost")

// oneCall is a system call that asks something of the module, made ready in all but itself.
type oneCall struct {
	do     func()       // nothing but the system call
	answer func() error // nil, an errno or errLost
	close  func()
}

// caller makes a call ready: in the network namespace, and on the thread, that it is for.
type caller func() (*oneCall, error)

// byNetlink asks over a socket of its own: an answer that was lost would stand in the next one's way.
func (p *place) byNetlink(line string, flags netlink.HeaderFlags) caller {
	p.T.Helper()
	command, attrs := request(p.T, line)
	m := netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(p.raw.family.ID), Flags: flags, Sequence: 1},
		Data:   header(command),
	}
	for _, a := range attrs {
		m.Data = append(m.Data, a...)
	}
	m.Header.Length = uint32(unix.NLMSG_HDRLEN + len(m.Data))
	b, err := m.MarshalBinary()
	require.NoError(p.T, err)
	return func() (*oneCall, error) {
		fd, err := netlinkSocket()
		if err != nil {
			return nil, err
		}
		var sent error
		return &oneCall{
			do: func() { sent = unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}) },
			answer: func() error {
				if sent != nil {
					return sent
				}
				return netlinkAnswer(fd)
			},
			close: func() { unix.Close(fd) },
		}, nil
	}
}

func netlinkSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	wait := unix.NsecToTimeval(guest.Limit(10 * time.Second).Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return -1, fmt.Errorf("receive timeout: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return -1, fmt.Errorf("bind: %w", err)
	}
	return fd, nil
}

// netlinkAnswer reads up to the acknowledgement or the end of the dump.
func netlinkAnswer(fd int) error {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.ENOBUFS) {
			return errLost
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		for _, m := range messages {
			if t := m.Header.Type; t != unix.NLMSG_ERROR && t != unix.NLMSG_DONE {
				continue
			}
			if errno := -int32(binary.NativeEndian.Uint32(m.Data)); errno > 0 {
				return unix.Errno(errno)
			}
			return nil
		}
	}
}

// byControl writes a line to the control file.
func byControl(line string) caller {
	return onFile("control", unix.O_WRONLY, func(fd int) error {
		_, err := unix.Write(fd, []byte(line))
		return err
	})
}

// readStatus reads the status file, which has been opened.
func readStatus() caller {
	buf := make([]byte, 1<<16)
	return onFile("status", unix.O_RDONLY, func(fd int) error {
		_, err := unix.Read(fd, buf)
		return err
	})
}

func onFile(name string, flags int, do func(fd int) error) caller {
	return func() (*oneCall, error) {
		fd, err := unix.Open(procFile(name), flags|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var done error
		return &oneCall{
			do:     func() { done = do(fd) },
			answer: func() error { return done },
			close:  func() { unix.Close(fd) },
		}, nil
	}
}

// openFile opens one of the two files.
func openFile(name string, flags int) caller {
	return func() (*oneCall, error) {
		var fd int
		var err error
		return &oneCall{
			do:     func() { fd, err = unix.Open(procFile(name), flags|unix.O_CLOEXEC, 0) },
			answer: func() error { return err },
			close: func() {
				if err == nil {
					unix.Close(fd)
				}
			},
		}, nil
	}
}

// failNth makes the call with its n-th allocation failing. Fired says whether it came to an n-th.
func (p *place) failNth(n int, make caller) (fired bool, answer error) {
	p.T.Helper()
	p.do(func() error {
		c, err := make()
		if err != nil {
			return err
		}
		defer c.close()
		fired, err = guest.FailNth(n, c.do)
		answer = c.answer()
		return err
	})
	return fired, answer
}

// failAnyAllocation lets fail-nth count all allocations but those of the kernel's own detectors, which do without.
func failAnyAllocation(t testing.TB) {
	t.Helper()
	guest.AllowKernelLog(t, `^\s*(warn_alloc|pcpu_alloc|__register_sysctl_table)(\.\w+)*\+0x`, "no memory was made to be found")
	guest.AllowKernelLog(t, `^kobject_add_internal failed for .* \(error: -12 `, "the same")
	slab := guest.NewFault(t, "failslab")
	slab.SpareDetectors()
	slab.Set("ignore-gfp-wait", "N")
	pages := guest.NewFault(t, "fail_page_alloc")
	pages.Set("ignore-gfp-wait", "N")
	pages.Set("min-order", 0)
}
