// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

func TestNewWithoutModule(t *testing.T) {
	f := newFake(nil)
	f.absent = true
	_, err := newClient(f.dial)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, err, ErrNotLoaded)
	assert.EqualError(t, err, "ksnif is not loaded (modprobe ksnif)")
	assert.True(t, f.closed, "the socket must not leak")
}

// Each method's request, as genltest sees it.
func TestRequests(t *testing.T) {
	empty := func(*netlink.AttributeEncoder) {}
	tests := []struct {
		name    string
		command uint8
		flags   netlink.HeaderFlags
		attrs   func(*netlink.AttributeEncoder)
		call    func(context.Context, *Client) error
	}{
		{"get", CmdGet, 0, empty, func(ctx context.Context, c *Client) error { _, err := c.Get(ctx); return err }},
		{"set nothing", CmdSet, netlink.Acknowledge, empty, func(ctx context.Context, c *Client) error { return c.Set(ctx, Settings{}) }},
		{"set all", CmdSet, netlink.Acknowledge, func(ae *netlink.AttributeEncoder) {
			ae.String(AttrCaptureDeviceName, "eth0")
			ae.String(AttrCaptureLogfile, "/tmp/x")
			ae.Uint32(AttrCaptureSnaplen, 0)
			ae.Uint64(AttrCaptureQueueSize, 1<<32)
			ae.Uint32(AttrCaptureFamily, 2)
			ae.Uint32(AttrCaptureFormat, 1)
			ae.Uint32(AttrCaptureIO, 3)
			ae.Uint32(AttrCaptureSyncInterval, 5)
		}, func(ctx context.Context, c *Client) error {
			return c.Set(ctx, Settings{
				DeviceName: ptr("eth0"), Family: ptr(IPFamilyIP6), Logfile: ptr("/tmp/x"), Snaplen: ptr(uint32(0)),
				QueueSize: ptr(uint64(1 << 32)), Format: ptr(FormatPcap), IO: ptr(IODiscard), SyncInterval: ptr(uint32(5)),
			})
		}},
		{"start", CmdStart, netlink.Acknowledge, empty, func(ctx context.Context, c *Client) error { return c.Start(ctx) }},
		{"stop", CmdStop, netlink.Acknowledge, empty, func(ctx context.Context, c *Client) error { return c.Stop(ctx) }},
		{"restart", CmdRestart, netlink.Acknowledge, empty, func(ctx context.Context, c *Client) error { return c.Restart(ctx) }},
		{"flush", CmdFlush, netlink.Acknowledge, empty, func(ctx context.Context, c *Client) error { return c.Flush(ctx) }},
		{"stats", CmdStats, 0, empty, func(ctx context.Context, c *Client) error { _, err := c.Stats(ctx); return err }},
		{"stats per CPU", CmdStats, netlink.Dump, empty, func(ctx context.Context, c *Client) error { _, err := c.StatsPerCPU(ctx); return err }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			family := genetlink.Family{ID: fakeFamily, Name: FamilyName, Version: FamilyVersion}
			check := genltest.CheckRequest(fakeFamily, tt.command, netlink.Request|tt.flags,
				func(greq genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
					assert.Equal(t, attributes(tt.attrs), append([]byte{}, greq.Data...))
					assert.Equal(t, uint8(FamilyVersion), greq.Header.Version)
					return []genetlink.Message{{Header: greq.Header}}, nil
				})
			serve := func(greq genetlink.Message, nreq netlink.Message) ([]genetlink.Message, error) {
				if greq.Header.Command == CmdGet && tt.command != CmdGet { // which capture is it?
					return []genetlink.Message{{Header: greq.Header}}, nil
				}
				return check(greq, nreq)
			}
			c, err := newClient(func() (*genetlink.Conn, error) {
				return genltest.Dial(genltest.ServeFamily(family, serve)), nil
			})
			require.NoError(t, err)
			require.NoError(t, tt.call(t.Context(), c))
		})
	}
}

func TestReplies(t *testing.T) {
	unknown := func(ae *netlink.AttributeEncoder) { ae.Bytes(999, []byte{1, 2, 3}) }
	f := newFake(func(req netlink.Message) []netlink.Message {
		if req.Data[0] == CmdGet {
			return reply(req, genlMessage(CmdGet, func(ae *netlink.AttributeEncoder) {
				unknown(ae)
				captureAttributes(ae)
			}))
		}
		stats := func(base uint64) []byte {
			return genlMessage(CmdStats, func(ae *netlink.AttributeEncoder) {
				ae.String(AttrStatsName, "default")
				ae.Uint32(AttrStatsCPU, uint32(base))
				for i := range uint16(AttrStatsErrors - AttrStatsCPU) {
					ae.Uint64(AttrStatsReceived+i, base+uint64(i))
				}
				unknown(ae)
			})
		}
		if req.Header.Flags&netlink.Dump != 0 {
			return dump(req, 0, stats(0), stats(100))
		}
		return reply(req, stats(1<<40))
	})
	c := f.client(t)

	capture, err := c.Get(t.Context())
	require.NoError(t, err)
	assert.Equal(t, wantCapture(), capture)

	stats, err := c.Stats(t.Context())
	require.NoError(t, err)
	const n = 1 << 40
	assert.Equal(t, &Stats{"default", n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9}, stats)

	cpus, err := c.StatsPerCPU(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []CPUStats{{"default", 0, 0, 1, 2, 3, 4}, {"default", 100, 100, 101, 102, 103, 104}}, cpus)
}

func captureAttributes(ae *netlink.AttributeEncoder) {
	ae.String(AttrCaptureName, "default")
	ae.String(AttrCaptureDeviceName, "any")
	ae.Uint32(AttrCaptureFamily, 1)
	ae.String(AttrCaptureLogfile, "/var/log/ksnif.pcapng")
	ae.Uint32(AttrCaptureSnaplen, 96)
	ae.Uint64(AttrCaptureQueueSize, 1<<32)
	ae.Uint32(AttrCaptureFormat, 1)
	ae.Uint32(AttrCaptureIO, 3)
	ae.Uint32(AttrCaptureState, 3)
	ae.Uint32(AttrCaptureErrno, uint32(unix.ENOSPC))
	ae.Uint32(AttrCaptureUnsynced, 1)
	ae.Uint64(AttrCaptureFileSize, 1<<33)
	ae.Uint32(AttrCaptureTorn, 1)
	ae.Uint32(AttrCaptureSyncInterval, 60)
	ae.Uint64(AttrCaptureFlushWanted, 1<<34)
	ae.Uint64(AttrCaptureFlushDone, 1<<34-1)
	ae.Uint32(AttrCaptureRuns, 1<<31)
	ae.Uint32(AttrCaptureIOUsed, 1)
}

func wantCapture() *Capture {
	return &Capture{
		Name: "default", DeviceName: "any", Family: IPFamilyIP, Logfile: "/var/log/ksnif.pcapng", Snaplen: 96,
		QueueSize: 1 << 32, Format: FormatPcap, IO: IODiscard, State: StateFailed, Errno: unix.ENOSPC,
		Unsynced: true, Torn: true, FileSize: 1 << 33, SyncInterval: 60,
		FlushWanted: 1 << 34, FlushDone: 1<<34 - 1, Runs: 1 << 31, IOUsed: IODirect,
	}
}

func TestReplyThatCannotBeRead(t *testing.T) {
	for name, payload := range map[string][]byte{
		"no header":       {},
		"half a header":   {CmdGet, 1},
		"half an attr":    {CmdGet, 1, 0, 0, 8, 0},
		"wrong width":     genlMessage(CmdGet, func(ae *netlink.AttributeEncoder) { ae.Uint8(AttrCaptureState, 1) }),
		"attr beyond end": {CmdGet, 1, 0, 0, 200, 0, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(func(req netlink.Message) []netlink.Message { return reply(req, payload) })
			_, err := f.client(t).Get(t.Context())
			require.ErrorContains(t, err, "get: ")
		})
	}
}

func TestNoReplyButAcknowledgement(t *testing.T) {
	f := newFake(func(req netlink.Message) []netlink.Message { return append(acknowledge(req), acknowledge(req)...) })
	_, err := f.client(t).Get(t.Context())
	require.EqualError(t, err, "get: got 2 replies instead of one")
}

// A dump whose state changed meanwhile is asked for again, but not for ever.
func TestInterruptedDump(t *testing.T) {
	message := genlMessage(CmdStats, func(ae *netlink.AttributeEncoder) { ae.Uint64(AttrStatsReceived, 5) })
	for _, tt := range []struct {
		name        string
		interrupted int
		err         error
		asked       int
	}{
		{"once", 1, nil, 2},
		{"always", 1000, ErrDumpInterrupted, dumpTries},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			f := newFake(func(req netlink.Message) []netlink.Message {
				asked++
				if asked <= tt.interrupted {
					return append(dump(req, netlink.DumpInterrupted, message)[:1], dump(req, 0, message)...)
				}
				return dump(req, 0, message)
			})
			list, err := f.client(t).StatsPerCPU(t.Context())
			require.ErrorIs(t, err, tt.err)
			assert.NotEmpty(t, list)
			assert.Equal(t, tt.asked, asked)
		})
	}
}

// rmmod and modprobe give the family another number.
func TestModuleGoesAndComesBack(t *testing.T) {
	f := newFake(func(req netlink.Message) []netlink.Message { return acknowledge(req) })
	c := f.client(t)
	require.NoError(t, c.Start(t.Context()))
	f.family++
	require.ErrorIs(t, c.Start(t.Context()), ErrNotLoaded)
	require.NoError(t, c.Start(t.Context()))
	f.absent = true
	f.family++
	require.ErrorIs(t, c.Start(t.Context()), ErrNotLoaded)
	require.ErrorIs(t, c.Start(t.Context()), ErrNotLoaded)
}

func TestClientIsSafeForConcurrentUse(t *testing.T) {
	f := newFake(func(req netlink.Message) []netlink.Message {
		return reply(req, genlMessage(CmdGet, captureAttributes))
	})
	c := f.client(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				_, err := c.Get(ctx)
				assert.NoError(t, err)
				cancel()
			}
		})
	}
	wg.Wait()
}

func TestFailedDial(t *testing.T) {
	_, err := newClient(func() (*genetlink.Conn, error) { return nil, errors.New("no socket") })
	require.EqualError(t, err, "connect to generic netlink: no socket")
}
