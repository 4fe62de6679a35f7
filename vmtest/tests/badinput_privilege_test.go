// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// Everybody who lacks CAP_NET_ADMIN in the initial user namespace is refused every command, whatever else they may
// do, and nothing changes. Listening to events takes it in the user namespace that owns the network namespace.
func TestPrivileges(t *testing.T) {
	netAdmin := []uint{unix.CAP_NET_ADMIN}
	p := newPlace(t)
	p.captured(5)
	silent := p.silent()
	before := p.snapshot()
	for _, row := range []struct {
		name     string
		try      func(t *testing.T) *tries
		join     unix.Errno
		openStat unix.Errno
		openCtl  unix.Errno
	}{
		{"uid 1000", as(p, person{uid: anyUser}), unix.EPERM, unix.EACCES, unix.EACCES},
		{"uid 1000 that may open all files", as(p, person{uid: anyUser, caps: []uint{unix.CAP_DAC_OVERRIDE}}), unix.EPERM, 0, unix.EPERM},
		{"uid 1000 with all but CAP_NET_ADMIN", as(p, person{uid: anyUser, but: netAdmin}), unix.EPERM, 0, unix.EPERM},
		{"root without CAP_NET_ADMIN", as(p, person{but: netAdmin}), unix.EPERM, 0, unix.EPERM},
		{
			"root of a user namespace",
			func(t *testing.T) *tries { return namespaceRoot(t, p, false) }, unix.EPERM, 0, unix.EPERM,
		},
		{
			"root of a user namespace with a network namespace",
			func(t *testing.T) *tries { return namespaceRoot(t, p, true) }, 0, 0, unix.EPERM,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := row.try(t)
			require.Len(t, got.Requests, len(requestNames)+1)
			for name, a := range got.Requests {
				assert.Equal(t, answer{Errno: unix.EPERM}, a, name)
			}
			assert.Equal(t, row.join, got.Join, "join events")
			assert.Equal(t, row.openStat, got.Open["status"], "open status")
			assert.Equal(t, row.openCtl, got.Open["control"], "open control")
			for name, errno := range got.Use {
				assert.Equal(t, unix.EPERM, errno, "use "+name)
			}
			p.at(t).unchanged(before)
		})
	}
	silent()
}

func as(p *place, w person) func(t *testing.T) *tries {
	return func(t *testing.T) *tries {
		t.Helper()
		var all *tries
		require.NoError(t, w.do(p, func() (err error) { all, err = tryAll(); return err }))
		return all
	}
}

// The capability is enough: no user id is asked for.
func TestPrivilegeIsEnough(t *testing.T) {
	p := newPlace(t)
	w := person{uid: anyUser, caps: []uint{unix.CAP_NET_ADMIN}}
	require.NoError(t, w.do(p, func() error {
		if errno, err := tryJoin(); err != nil || errno != 0 {
			return errors.Join(err, errno)
		}
		c, err := genl.New()
		if err != nil {
			return err
		}
		defer c.Close()
		return c.Set(p.ctx(), genl.Settings{Snaplen: ptr(uint32(96))})
	}))
	assert.EqualValues(t, 96, p.Get().Snaplen)
}

// An open socket or file that is handed on gives nothing away: both who opened it and who uses it need the privilege.
func TestPrivilegeOfOpenerAndUser(t *testing.T) {
	p := newPlace(t)
	p.captured(5)
	before := p.snapshot()
	nobody := person{uid: anyUser, caps: []uint{unix.CAP_DAC_OVERRIDE}}
	root := person{but: []uint{}}

	for _, row := range []struct {
		name         string
		opener, user person
	}{{"opened by root, used by uid 1000", root, nobody}, {"opened by uid 1000, used by root", nobody, root}} {
		t.Run("socket "+row.name, func(t *testing.T) {
			var fd int
			require.NoError(t, row.opener.do(p, func() (err error) { fd, err = plainSocket(); return err }))
			defer unix.Close(fd)
			for c, name := range requestNames {
				var errno unix.Errno
				require.NoError(t, row.user.do(p, func() (err error) { errno, err = plainRequest(fd, p.raw, c); return err }))
				assert.Equal(t, unix.EPERM, errno, name)
			}
			p.at(t).unchanged(before)
		})
		for name, flags := range map[string]int{"status": os.O_RDONLY, "control": os.O_WRONLY} {
			t.Run(name+" "+row.name, func(t *testing.T) {
				var f *os.File
				err := row.opener.do(p, func() (err error) { f, err = os.OpenFile(procFile(name), flags, 0); return err })
				if name == "control" && row.opener.uid != 0 {
					require.ErrorIs(t, err, unix.EPERM)
					return
				}
				require.NoError(t, err)
				defer f.Close()
				var errno unix.Errno
				require.NoError(t, row.user.do(p, func() (err error) { errno, err = useProc(f, name); return err }))
				assert.Equal(t, unix.EPERM, errno)
				p.at(t).unchanged(before)
			})
		}
	}
	// The same steps work where both have the privilege.
	require.NoError(t, root.do(p, func() error {
		fd, err := plainSocket()
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		errno, err := plainRequest(fd, p.raw, genl.CmdFlush)
		return errors.Join(err, okOr(errno))
	}))
	require.NoError(t, root.do(p, func() error {
		f, err := os.OpenFile(procFile("control"), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		errno, err := useProc(f, "control")
		return errors.Join(err, okOr(errno))
	}))
	assert.EqualValues(t, 4000, p.Get().Snaplen)
}

// plainSocket is a socket that can be written to like a file, as somebody would who was tricked into it. To name the
// kernel's address with a message, as programs that mean it do, is taken for intent: then the sender alone counts.
func plainSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return -1, err
	}
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30})
}

// plainRequest writes a request without attributes and returns its errno.
func plainRequest(fd int, raw *rawConn, command uint8) (unix.Errno, error) {
	m := netlink.Message{
		Header: netlink.Header{
			Length: 20, Type: netlink.HeaderType(raw.family.ID), Flags: netlink.Request | netlink.Acknowledge,
		},
		Data: header(command),
	}
	b, err := m.MarshalBinary()
	if err != nil {
		return 0, err
	}
	if _, err := unix.Write(fd, b); err != nil {
		return 0, err
	}
	b = make([]byte, 64<<10)
	n, err := unix.Read(fd, b)
	if err != nil {
		return 0, err
	}
	var reply netlink.Message
	if err := reply.UnmarshalBinary(b[:n]); err != nil {
		return 0, err
	}
	if reply.Header.Type != netlink.Error || len(reply.Data) < 4 {
		return 0, fmt.Errorf("no verdict: %+v", reply.Header)
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(reply.Data))), nil
}

func okOr(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
