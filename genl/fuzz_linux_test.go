// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// addPayloads seeds a target that reads attributes.
func addPayloads(f *testing.F) {
	f.Add(attributes(captureAttributes))
	f.Add(attributes(func(ae *netlink.AttributeEncoder) {
		ae.String(AttrStatsName, "default")
		ae.Uint32(AttrStatsCPU, 3)
		ae.Uint64(AttrStatsReceived, 1<<40)
	}))
	f.Add([]byte{})
	f.Add([]byte{4, 0, 2, 0})                   // no room for a string's end
	f.Add([]byte{0, 0, 0, 0, 255, 255, 1, 0})   // a length below the header's
	f.Add([]byte{8, 0, 5, 128, 1, 0, 0, 0})     // nested
	f.Add([]byte{8, 0, 99, 0, 1, 0, 0, 0})      // of a newer module
	f.Add([]byte{5, 0, 1, 0, 'x', 0, 0, 0, 17}) // a byte behind the last
}

// FuzzDecodeCapture: another reader finds the attributes that are named as present, and what was read is the same
// when it is sent and read again.
func FuzzDecodeCapture(f *testing.F) {
	addPayloads(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		c, present, err := decodeCapture(payload)
		if err != nil {
			assert.Nil(t, c)
			assert.ErrorContains(t, err, "malformed attributes")
			return
		}
		if attrs, ok := otherReader(payload); ok {
			names := []string{}
			for _, a := range attrs {
				if n := int(a.Attr.Type & attrTypeMask); n > 0 && n < len(captureAttrs) {
					names = append(names, captureAttrs[n])
				}
			}
			assert.Equal(t, names, present)
		}
		again, _, err := decodeCapture(attributes(func(ae *netlink.AttributeEncoder) { encodeCapture(ae, c) }))
		require.NoError(t, err)
		assert.Equal(t, c, again)
	})
}

// otherReader reads attributes with another library. It can do so only where the last one is padded.
func otherReader(payload []byte) ([]syscall.NetlinkRouteAttr, bool) {
	if len(payload)%4 != 0 {
		return nil, false
	}
	list, err := nl.ParseRouteAttr(payload)
	return list, err == nil
}

// encodeCapture sends all of c, as the module does.
func encodeCapture(ae *netlink.AttributeEncoder, c *Capture) {
	flag := map[bool]uint32{true: 1}
	ae.String(AttrCaptureName, c.Name)
	ae.String(AttrCaptureDeviceName, c.DeviceName)
	ae.Uint32(AttrCaptureFamily, uint32(c.Family))
	ae.String(AttrCaptureLogfile, c.Logfile)
	ae.Uint32(AttrCaptureSnaplen, c.Snaplen)
	ae.Uint64(AttrCaptureQueueSize, c.QueueSize)
	ae.Uint32(AttrCaptureFormat, uint32(c.Format))
	ae.Uint32(AttrCaptureIO, uint32(c.IO))
	ae.Uint32(AttrCaptureState, uint32(c.State))
	ae.Uint32(AttrCaptureErrno, uint32(c.Errno))
	ae.Uint32(AttrCaptureUnsynced, flag[c.Unsynced])
	ae.Uint32(AttrCaptureTorn, flag[c.Torn])
	ae.Uint64(AttrCaptureFileSize, c.FileSize)
	ae.Uint32(AttrCaptureSyncInterval, c.SyncInterval)
	ae.Uint64(AttrCaptureFlushWanted, c.FlushWanted)
	ae.Uint64(AttrCaptureFlushDone, c.FlushDone)
	ae.Uint32(AttrCaptureRuns, c.Runs)
	ae.Uint32(AttrCaptureIOUsed, uint32(c.IOUsed))
}

// FuzzDecodeStats: a dump's message and a single one say the same, and what was read survives another round.
func FuzzDecodeStats(f *testing.F) {
	addPayloads(f)
	f.Fuzz(func(t *testing.T, payload []byte) {
		s, cpu, err := decodeStats(payload)
		one, cpuErr := decodeCPUStats(payload)
		require.Equal(t, err == nil, cpuErr == nil)
		if err != nil {
			assert.Nil(t, s)
			assert.Nil(t, one)
			return
		}
		assert.Equal(t, &CPUStats{
			Name: s.Name, CPU: cpu, Received: s.Received, Filtered: s.Filtered, Captured: s.Captured,
			DroppedQueueFull: s.DroppedQueueFull, DroppedNoMemory: s.DroppedNoMemory,
		}, one)
		again, cpuAgain, err := decodeStats(attributes(func(ae *netlink.AttributeEncoder) { encodeStats(ae, s, cpu) }))
		require.NoError(t, err)
		assert.Equal(t, s, again)
		assert.Equal(t, cpu, cpuAgain)
	})
}

func encodeStats(ae *netlink.AttributeEncoder, s *Stats, cpu uint32) {
	ae.String(AttrStatsName, s.Name)
	ae.Uint32(AttrStatsCPU, cpu)
	ae.Uint64(AttrStatsReceived, s.Received)
	ae.Uint64(AttrStatsFiltered, s.Filtered)
	ae.Uint64(AttrStatsCaptured, s.Captured)
	ae.Uint64(AttrStatsDroppedQueueFull, s.DroppedQueueFull)
	ae.Uint64(AttrStatsDroppedNoMemory, s.DroppedNoMemory)
	ae.Uint64(AttrStatsQueued, s.Queued)
	ae.Uint64(AttrStatsWritten, s.Written)
	ae.Uint64(AttrStatsDroppedWrite, s.DroppedWrite)
	ae.Uint64(AttrStatsDiscarded, s.Discarded)
	ae.Uint64(AttrStatsErrors, s.Errors)
}

// FuzzEvent: a kind that the spec has is an event or an error, any other is passed over.
func FuzzEvent(f *testing.F) {
	f.Add(uint8(EventStarted), attributes(captureAttributes))
	f.Add(uint8(EventLost), []byte{})
	f.Add(uint8(CmdGet), []byte{4, 0, 2, 0})
	f.Fuzz(func(t *testing.T, command uint8, payload []byte) {
		e, err := decodeEvent(genetlink.Message{Header: genetlink.Header{Command: command}, Data: payload})
		_, nameErr := ParseEventType(EventType(command).String())
		known := nameErr == nil && EventType(command) != EventLost
		require.Equal(t, known, e != nil || err != nil)
		require.False(t, e != nil && err != nil, "an event and an error")
		if e == nil {
			return
		}
		assert.Equal(t, EventType(command), e.Type)
		c, present, err := decodeCapture(payload)
		require.NoError(t, err)
		assert.Equal(t, *c, e.Capture)
		assert.Equal(t, present, e.Attrs)
	})
}

// FuzzSettings: what is sent is what was asked for; what cannot be sent whole is refused.
func FuzzSettings(f *testing.F) {
	f.Add("eth0", "/var/log/ksnif.pcapng", uint32(96), uint64(16<<20), uint32(1), uint32(0), uint32(3), uint32(0))
	f.Add("", strings.Repeat("x", 70_000), uint32(0), uint64(0), uint32(7), uint32(7), uint32(7), uint32(60))
	f.Add("a\x00b", "/\xff\n", ^uint32(0), ^uint64(0), uint32(0), uint32(1), uint32(2), ^uint32(0))
	f.Fuzz(func(t *testing.T, device, logfile string, snaplen uint32, queue uint64, family, format, io, sync uint32) {
		want := Capture{
			DeviceName: device, Logfile: logfile, Snaplen: snaplen, QueueSize: queue,
			Family: IPFamily(family), Format: Format(format), IO: IO(io), SyncInterval: sync,
		}
		b, err := encodeSettings(Settings{
			DeviceName: &want.DeviceName, Logfile: &want.Logfile, Snaplen: &want.Snaplen, QueueSize: &want.QueueSize,
			Family: &want.Family, Format: &want.Format, IO: &want.IO, SyncInterval: &want.SyncInterval,
		})
		const longest = 1<<16 - 1 - attrHeaderLen - 1
		if strings.ContainsRune(device+logfile, 0) || max(len(device), len(logfile)) > longest {
			var refused *Error
			require.ErrorAs(t, err, &refused)
			assert.Contains(t, []error{unix.EINVAL, unix.ERANGE}, refused.Err)
			return
		}
		require.NoError(t, err)
		got, present, err := decodeCapture(b)
		require.NoError(t, err)
		assert.Equal(t, &want, got)
		slices.Sort(present)
		assert.Equal(t, []string{"device_name", "family", "format", "io", "logfile", "queue_size", "snaplen", "sync_interval"}, present)
	})
}

// FuzzRefusal: the error names an attribute exactly where another reader finds one to begin, keeps the errno, and
// says command, attribute and text once.
func FuzzRefusal(f *testing.F) {
	f.Add(attributes(captureAttributes), 20, "snaplen: must be 0..262144\x00", uint16(unix.ERANGE))
	f.Add(attributes(captureAttributes), 0, "", uint16(unix.EPERM))
	f.Add([]byte{4, 0, 2, 0, 0, 0, 0, 0}, 24, "set: x", uint16(unix.EBUSY))
	f.Fuzz(func(t *testing.T, attrs []byte, offset int, text string, errno uint16) {
		payload := append([]byte{CmdSet, 1, 0, 0}, attrs...)
		err := refusal(&netlink.OpError{Err: unix.Errno(errno), Message: text, Offset: offset}, "set", payload)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, unix.Errno(errno))
		assert.Equal(t, strings.TrimRight(text, "\x00"), e.Message)
		if e.Message != "" {
			assert.Equal(t, 1, strings.Count(err.Error(), e.Message)-strings.Count(strings.TrimSuffix(err.Error(), e.Message), e.Message))
			assert.True(t, strings.HasSuffix(err.Error(), e.Message))
		}
		assert.True(t, strings.HasPrefix(err.Error(), "set: ") || strings.HasPrefix(e.Message, "set: "))
		if list, ok := otherReader(attrs); ok {
			assert.Equal(t, startsAt(list, offset-headerLen-genlHeaderLen), e.Attr)
		}
	})
}

// startsAt names the attribute that starts at a byte of the list.
func startsAt(list []syscall.NetlinkRouteAttr, want int) string {
	at := 0
	for _, a := range list {
		if n := int(a.Attr.Type & attrTypeMask); at == want && n < len(captureAttrs) {
			return captureAttrs[n]
		}
		at += (int(a.Attr.Len) + 3) &^ 3
	}
	return ""
}
