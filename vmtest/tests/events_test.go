// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// until reads events up to the one that a set of this snaplen brings, and returns those before it.
func until(t *testing.T, p *place, r *genl.EventReader, snaplen uint32) []*genl.Event {
	t.Helper()
	p.Set(genl.Settings{Snaplen: &snaplen})
	var before []*genl.Event
	for {
		e := next(t, r)
		assert.WithinDuration(t, time.Now(), e.Time, guest.Limit(20*time.Second))
		e.Time = time.Time{}
		if e.Type == genl.EventSettingsChanged && e.Snaplen == snaplen {
			return before
		}
		before = append(before, e)
	}
}

var (
	stateAttrs    = []string{"name", "state", "errno", "unsynced", "torn"}
	deviceAttrs   = []string{"name", "device_name"}
	settingsAttrs = []string{"name", "device_name", "family", "snaplen", "queue_size", "format", "io", "sync_interval"}
)

func stateEvent(typ genl.EventType, state genl.State, errno unix.Errno) *genl.Event {
	return &genl.Event{Type: typ, Attrs: stateAttrs, Capture: genl.Capture{Name: "default", State: state, Errno: errno}}
}

// Every kind of event comes once for what causes it, with the attributes that the spec lists and no others.
func TestEvents(t *testing.T) {
	p := newPlaceIn(t, mountTmpfs(t, "size=64k"))
	guest.Run(t, "modprobe", "dummy")
	p.NS.Run(t, "ip", "link", "add", "cap0", "type", "dummy")
	r := p.listen()
	raw := p.listenRaw()

	p.Set(genl.Settings{
		DeviceName: ptr("cap0"), Family: ptr(genl.IPFamilyIP6), Snaplen: ptr(uint32(0)), QueueSize: ptr(uint64(1 << 20)),
		Format: ptr(genl.FormatPcapng), Logfile: ptr(p.path("events")),
	})
	p.Start()
	p.NS.Run(t, "ip", "link", "delete", "cap0")
	p.NS.Run(t, "ip", "link", "add", "cap0", "type", "dummy")
	p.NS.Run(t, "ip", "link", "set", "cap0", "name", "cap1") // keeps the binding: no event
	p.NS.Run(t, "ip", "link", "set", "cap1", "name", "cap0")
	p.Restart()
	p.Stop()
	p.Stop() // nothing happens: no event
	p.Set(genl.Settings{DeviceName: ptr("lo"), Family: ptr(genl.IPFamilyInet), Snaplen: ptr(uint32(1500)), Format: ptr(genl.FormatPcap)})
	p.Start()
	p.Flush() // no event
	p.send(200, 1000)
	guest.Poll(t, 10*time.Second, "the capture fails", func() bool { return p.Get().State == genl.StateFailed })
	p.Set(genl.Settings{IO: ptr(genl.IODiscard)})

	settings := func(c genl.Capture) *genl.Event {
		c.Name = "default"
		return &genl.Event{Type: genl.EventSettingsChanged, Attrs: settingsAttrs, Capture: c}
	}
	device := func(typ genl.EventType) *genl.Event {
		return &genl.Event{Type: typ, Attrs: deviceAttrs, Capture: genl.Capture{Name: "default", DeviceName: "cap0"}}
	}
	started, stopped := stateEvent(genl.EventStarted, genl.StateRunning, 0), stateEvent(genl.EventStopped, genl.StateStopped, 0)
	want := []*genl.Event{
		settings(genl.Capture{DeviceName: "cap0", Family: genl.IPFamilyIP6, Snaplen: genl.SnaplenMax, QueueSize: 1 << 20}),
		started,
		device(genl.EventDeviceGone),
		device(genl.EventDeviceBack),
		stopped, started,
		stopped,
		settings(genl.Capture{DeviceName: "lo", Snaplen: 1500, QueueSize: 1 << 20, Format: genl.FormatPcap}),
		started,
		stateEvent(genl.EventFailed, genl.StateFailed, unix.ENOSPC),
		settings(genl.Capture{DeviceName: "lo", Snaplen: 1500, QueueSize: 1 << 20, Format: genl.FormatPcap, IO: genl.IODiscard}),
	}
	require.Equal(t, want, until(t, p, r, 777))
	noPath(t, raw, len(want)+1)
}

// listenRaw is a member of the group that sees messages as they are.
func (p *place) listenRaw() *genetlink.Conn {
	p.T.Helper()
	var g *genetlink.Conn
	p.do(func() (err error) {
		if g, err = genetlink.Dial(nil); err != nil {
			return err
		}
		return g.JoinGroup(p.raw.family.Groups[0].ID)
	})
	p.T.Cleanup(func() { _ = g.Close() })
	return g
}

// noPath reads n messages: who listens need not be allowed to know files, so none names one.
func noPath(t *testing.T, raw *genetlink.Conn, n int) {
	t.Helper()
	require.NoError(t, raw.SetReadDeadline(time.Now().Add(guest.Limit(10*time.Second))))
	for seen := 0; seen < n; {
		messages, _, err := raw.Receive()
		require.NoError(t, err)
		for _, m := range messages {
			seen++
			assert.NotContains(t, string(m.Data), "/", "event %d", m.Header.Command)
			assert.NotContains(t, string(m.Data), "events", "event %d", m.Header.Command)
		}
	}
}

// An event stays in the namespace of its capture.
func TestEventsOfANamespace(t *testing.T) {
	a, b := newPlace(t), newPlace(t)
	inA, inB := a.listen(), b.listen()
	inTest, err := guest.Client(t).Events(guest.Context(t, time.Minute))
	require.NoError(t, err)
	defer inTest.Close()
	a.captured(1)
	a.Stop()
	want := []*genl.Event{stateEvent(genl.EventStarted, genl.StateRunning, 0), stateEvent(genl.EventStopped, genl.StateStopped, 0)}
	assert.Equal(t, want, until(t, a, inA, 300))
	assert.Empty(t, until(t, b, inB, 301), "in the other namespace")
	own := &place{capture: newCapture(t, nil, genl.Settings{})}
	ownEvents := until(t, own, inTest, 302)
	require.Len(t, ownEvents, 1, "in the test's own namespace")
	assert.Equal(t, genl.EventSettingsChanged, ownEvents[0].Type, "of newCapture")
}

// A reader that is too slow is told that it missed something, and goes on.
func TestSlowEventReader(t *testing.T) {
	const sets = 2000
	p := newPlace(t)
	r := p.listen()
	for i := range uint32(sets) {
		a, err := p.raw.command(genl.CmdSet, attrU32(genl.AttrCaptureSnaplen, 1000+i))
		require.NoError(t, err)
		require.Zero(t, a.Errno)
	}

	var mu sync.Mutex
	var events []*genl.Event
	go func() {
		for {
			e, err := r.Next()
			if err != nil {
				return
			}
			mu.Lock()
			events = append(events, e)
			mu.Unlock()
		}
	}()
	last := uint32(10_000)
	guest.Poll(t, 20*time.Second, "an event gets through again", func() bool {
		last++
		p.Set(genl.Settings{Snaplen: &last})
		time.Sleep(10 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		return len(events) > 0 && events[len(events)-1].Snaplen == last
	})
	mu.Lock()
	defer mu.Unlock()
	lost, snaplen := 0, uint32(0)
	for _, e := range events {
		if e.Type == genl.EventLost {
			lost++
			continue
		}
		require.Equal(t, genl.EventSettingsChanged, e.Type)
		require.Greater(t, e.Snaplen, snaplen, "order")
		snaplen = e.Snaplen
	}
	assert.Equal(t, 1, lost, "losses told")
	assert.Less(t, len(events), sets, "all events got through: the reader was not slow")
	assert.Greater(t, len(events), 10)
}
