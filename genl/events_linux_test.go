// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// listen returns a reader whose socket is the returned one.
func listen(t *testing.T, ctx context.Context) (*EventReader, *fakeSocket) {
	c := newFake(nil).client(t)
	f := newFake(nil)
	c.dial = f.dial
	r, err := c.Events(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r, f
}

func event(command uint8, fill func(*netlink.AttributeEncoder)) []netlink.Message {
	return reply(netlink.Message{Header: netlink.Header{Type: fakeFamily}}, genlMessage(command, fill))
}

func TestEvents(t *testing.T) {
	r, f := listen(t, t.Context())
	assert.Equal(t, []uint32{fakeGroup}, f.joined)

	failed := event(uint8(EventFailed), func(ae *netlink.AttributeEncoder) {
		ae.String(AttrCaptureName, "default")
		ae.Uint32(AttrCaptureState, uint32(StateFailed))
		ae.Uint32(AttrCaptureErrno, uint32(unix.EIO))
		ae.Uint32(AttrCaptureUnsynced, 1)
		ae.Uint32(999, 1)
	})
	gone := event(uint8(EventDeviceGone), func(ae *netlink.AttributeEncoder) { ae.String(AttrCaptureDeviceName, "veth0") })
	f.push(event(200, func(*netlink.AttributeEncoder) {})) // of a newer module
	f.push(event(CmdGet, captureAttributes))               // no event
	f.push(event(uint8(EventLost), captureAttributes))     // nor is this
	f.push(append(failed, gone...))
	f.push(os.NewSyscallError("recvmsg", unix.ENOBUFS))
	f.push(gone)

	before := time.Now()
	for _, want := range []*Event{
		{
			Type: EventFailed, Attrs: []string{"name", "state", "errno", "unsynced"},
			Capture: Capture{Name: "default", State: StateFailed, Errno: unix.EIO, Unsynced: true},
		},
		{Type: EventDeviceGone, Attrs: []string{"device_name"}, Capture: Capture{DeviceName: "veth0"}},
		{Type: EventLost},
		{Type: EventDeviceGone, Attrs: []string{"device_name"}, Capture: Capture{DeviceName: "veth0"}},
	} {
		got, err := r.Next()
		require.NoError(t, err)
		assert.WithinRange(t, got.Time, before, time.Now())
		got.Time = time.Time{}
		assert.Equal(t, want, got)
	}
}

func TestEventsEnd(t *testing.T) {
	t.Run("with the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, f := listen(t, ctx)
		time.AfterFunc(20*time.Millisecond, cancel)
		within(t, func() {
			_, err := r.Next()
			assert.Equal(t, context.Canceled, err)
		})
		assert.True(t, f.closed)
		assert.NoError(t, r.Close())
	})
	t.Run("with Close", func(t *testing.T) {
		r, f := listen(t, t.Context())
		time.AfterFunc(20*time.Millisecond, func() { assert.NoError(t, r.Close()) })
		within(t, func() {
			_, err := r.Next()
			assert.Equal(t, os.ErrClosed, err)
		})
		assert.True(t, f.closed)
		assert.NoError(t, r.Close())
	})
}

func TestEventThatCannotBeRead(t *testing.T) {
	r, f := listen(t, t.Context())
	f.push(event(uint8(EventStarted), func(ae *netlink.AttributeEncoder) { ae.Uint8(AttrCaptureState, 1) }))
	_, err := r.Next()
	require.ErrorContains(t, err, "events: started: malformed attributes")
}

func TestEventsAreRefused(t *testing.T) {
	c := newFake(nil).client(t)
	f := newFake(nil)
	c.dial = f.dial

	f.join = os.NewSyscallError("setsockopt", unix.EPERM)
	_, err := c.Events(t.Context())
	require.EqualError(t, err, "events: operation not permitted: "+
		"needs CAP_NET_ADMIN in the user namespace that owns the network namespace")
	require.ErrorIs(t, err, os.ErrPermission)
	assert.True(t, f.closed, "the socket must not leak")

	g := newFake(nil)
	g.absent = true
	c.dial = g.dial
	_, err = c.Events(t.Context())
	require.ErrorIs(t, err, ErrNotLoaded)
	assert.True(t, g.closed, "the socket must not leak")
}
