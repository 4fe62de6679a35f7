// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"errors"
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The request is set device_name=eth0 snaplen=300000: attributes at 20 and 32.
func TestRefusals(t *testing.T) {
	tests := []struct {
		name   string
		errno  unix.Errno
		text   string
		offset uint32
		attr   string
		want   string
	}{
		{"text names the attribute", unix.ERANGE, "snaplen: must be 0..262144", 32, "snaplen", "set: snaplen: must be 0..262144"},
		{"core's text does not", unix.EINVAL, "invalid attribute length", 20, "device_name", "set: device_name: invalid attribute length"},
		{"text without offset", unix.EBUSY, "set: the capture is running", 0, "", "set: the capture is running"},
		{"offset without text", unix.EINVAL, "", 32, "snaplen", "set: snaplen: invalid argument"},
		{"offset into an attribute", unix.EINVAL, "x", 33, "", "set: x"},
		{"offset into the header", unix.EINVAL, "x", 16, "", "set: x"},
		{"offset beyond the end", unix.EINVAL, "x", 40, "", "set: x"},
		{"huge offset", unix.EINVAL, "x", 1 << 31, "", "set: x"},
		{"nothing", unix.EOPNOTSUPP, "", 0, "", "set: operation not supported"},
		{"no privilege", unix.EPERM, "", 0, "", "set: operation not permitted: needs CAP_NET_ADMIN in the initial user namespace"},
		{"no privilege for the file", unix.EPERM, "logfile: is append only", 0, "", "set: logfile: is append only"},
		{"missing directory", unix.ENOENT, "logfile: no such directory", 0, "", "set: logfile: no such directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(func(req netlink.Message) []netlink.Message { return refuse(req, tt.errno, tt.text, tt.offset) })
			err := f.client(t).Set(t.Context(), Settings{DeviceName: ptr("eth0"), Snaplen: ptr(uint32(300000))})
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, &Error{Command: "set", Attr: tt.attr, Message: tt.text, Err: tt.errno}, e)
			assert.EqualError(t, err, tt.want)
			assert.ErrorIs(t, err, tt.errno)
			assert.Equal(t, tt.errno == unix.EPERM, errors.Is(err, os.ErrPermission))
		})
	}
}

func TestAttrAt(t *testing.T) {
	name := attributes(func(ae *netlink.AttributeEncoder) { ae.String(AttrStatsName, "x") })
	header := []byte{CmdStats, 1, 0, 0}
	tests := []struct {
		name    string
		command string
		payload []byte
		offset  int
		want    string
	}{
		{"set stats", "stats", append(header, name...), 20, "name"},
		{"names of set stats", "stats", append(header, 4, 0, AttrStatsCPU, 0), 20, "cpu"},
		{"names of set capture", "get", append(header, 4, 0, AttrStatsCPU, 0), 20, "device_name"},
		{"flags in the type", "get", append(header, 4, 0, AttrCaptureFamily, 0x80), 20, "family"},
		{"unknown number", "get", append(header, 4, 0, 200, 0), 20, ""},
		{"length zero", "get", append(header, 0, 0, 1, 0, 4, 0, 1, 0), 24, ""},
		{"no payload", "get", nil, 20, ""},
		{"negative", "get", append(header, name...), -1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, attrAt(tt.command, tt.payload, tt.offset))
		})
	}
}

// A failed system call is no answer of the kernel's side of the family.
func TestSystemCallErrorIsNoRefusal(t *testing.T) {
	var f *fakeSocket
	f = newFake(func(netlink.Message) []netlink.Message {
		f.push(os.NewSyscallError("recvmsg", unix.ENOBUFS))
		return nil
	})
	err := f.client(t).Start(t.Context())
	require.ErrorIs(t, err, unix.ENOBUFS)
	var e *Error
	assert.NotErrorAs(t, err, &e)
	assert.ErrorContains(t, err, "start: ")
}
