// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// arena is where several workers fight for one device, the end of a veth pair. It is cap0 in home, which is what is
// captured, but may be renamed, down, away or not there at all.
type arena struct {
	home, away, far *guest.Namespace
}

// arenaMAC is the device's address, whichever it is.
const arenaMAC = "02:00:00:00:00:01"

func newArena(t testing.TB) *arena {
	t.Helper()
	a := &arena{guest.NewNamespace(t, "home"), guest.NewNamespace(t, "away"), guest.NewNamespace(t, "far")}
	for _, ns := range []*guest.Namespace{a.home, a.away, a.far} {
		ns.Run(t, "sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1")
	}
	return a
}

// lost is what ip says where another worker was faster.
var lost = regexp.MustCompile(
	`Cannot find device|does not exist|File exists|No such device|Invalid argument|Name not unique|Device or resource busy`)

// link changes devices of a namespace, in several steps. It does not mind that the device is not what it was.
func (a *arena) link(ns *guest.Namespace, steps ...[]string) error {
	for _, step := range steps {
		out, err := guest.Try("ip", append([]string{"-n", ns.Name, "link"}, step...)...)
		if err != nil && !lost.MatchString(out) {
			return err
		}
	}
	return nil
}

func words(w ...string) []string { return w }

func (a *arena) create() error {
	return errors.Join(a.link(a.home,
		words("add", "cap0", "address", arenaMAC, "type", "veth", "peer", "name", "far0", "netns", a.far.Name),
		words("set", "cap0", "up")), a.link(a.far, words("set", "far0", "up")))
}

func (a *arena) remove() error { return a.link(a.far, words("delete", "far0")) }

// move takes the device to the other namespace, and up there.
func (a *arena) move(from, to *guest.Namespace) error {
	if err := a.link(from, words("set", "cap0", "netns", to.Name)); err != nil {
		return err
	}
	return a.link(to, words("set", "cap0", "up"))
}

func (a *arena) rename(from, to string) error {
	return a.link(a.home, words("set", from, "down"), words("set", from, "name", to), words("set", to, "up"))
}

// fighters are what the workers do, again and again.
func (a *arena) fighters() map[string]func() error {
	both := func(first, second func() error) func() error {
		return func() error {
			if err := first(); err != nil {
				return err
			}
			return second()
		}
	}
	return map[string]func() error{
		"renamer": both(func() error { return a.rename("cap0", "cap1") }, func() error { return a.rename("cap1", "cap0") }),
		"downer": func() error {
			return a.link(a.home, words("set", "cap0", "down"), words("set", "cap0", "up"))
		},
		"remover": both(a.remove, a.create),
		"mover":   both(func() error { return a.move(a.home, a.away) }, func() error { return a.move(a.away, a.home) }),
	}
}

// bindings reads a capture's events up to its end, and checks that its device went and came in turns. It returns how
// often it came back.
func bindings(events *genl.EventReader) (back int, err error) {
	want := genl.EventDeviceGone
	for {
		e, err := events.Next()
		switch {
		case err != nil:
			return 0, err
		case e.Type == genl.EventStarted:
			continue
		case e.Type == genl.EventStopped:
			return back, nil
		case e.Type != want || e.DeviceName != "cap0":
			return 0, fmt.Errorf("event %+v instead of %s", e, want)
		case e.Type == genl.EventDeviceGone:
			want = genl.EventDeviceBack
		default:
			want = genl.EventDeviceGone
			back++
		}
	}
}

// TestTortureDevices has four workers rename, bring down, delete and make, and move the captured device, while packets
// come in. The capture is always with the device of that name that is there.
func TestTortureDevices(t *testing.T) {
	a := newArena(t)
	require.NoError(t, a.create())
	c := newCapture(t, a.home, genl.Settings{DeviceName: ptr("cap0")})
	beside := newCapture(t, a.away, genl.Settings{})
	events := c.listenFor(guest.Size(5*time.Minute, 10*time.Minute))
	c.Start()
	beside.Start()
	var back int
	read := make(chan error, 1)
	go func() {
		var err error
		back, err = bindings(events)
		read <- err
	}()

	crew := newCrew(t)
	for cpu := range 2 {
		newFeeder(t, a.far, "far0", arenaMAC, cpu).feed(crew)
	}
	for name, fight := range a.fighters() {
		crew.Go(name, func(ctx context.Context, r *rand.Rand) error {
			rest(ctx, time.Duration(r.IntN(100))*time.Millisecond)
			return fight()
		})
	}
	crew.Work(guest.Size(30*time.Second, 3*time.Minute))
	crew.Stop()
	churned := c.Stats()
	a.checkComesBack(t, c)

	f := c.StopRead()
	require.NoError(t, <-read, "events")
	t.Logf("%d packets of %d devices, %d times back; %d packets beside", len(f.Packets), len(f.Interfaces), back,
		beside.Stats().Received)
	assert.Greater(t, churned.Written, uint64(100))
	assert.LessOrEqual(t, len(f.Interfaces), 1+back, "devices, and how often one was bound")
	require.Greater(t, len(f.Packets), 150)
	fought, after := f.Packets[:len(f.Packets)-150], f.Packets[len(f.Packets)-150:]
	checkFought(t, f, fought)
	checkSessions(t, after)
	n := len(f.Interfaces)
	require.GreaterOrEqual(t, n, 2)
	for i, want := range []uint64{100, 50} {
		last := &f.Interfaces[n-2+i]
		assert.Equal(t, "cap0", last.Name)
		assert.Equal(t, want, last.Stats.Received)
	}
	f = beside.StopRead()
	checkFought(t, f, f.Packets)
}

// checkComesBack puts the device in order again, and checks that its packets are captured at once: of a new one, and of
// one that was away.
func (a *arena) checkComesBack(t testing.TB, c *capture) {
	t.Helper()
	require.NoError(t, a.remove())
	for _, ns := range []*guest.Namespace{a.home, a.away} {
		for _, dev := range []string{"cap0", "cap1"} {
			out, err := ns.Try("ip", "link", "show", dev)
			require.Error(t, err, "it went with its other end: %s", out)
		}
	}
	require.NoError(t, a.create())
	a.checkCaptured(t, c, 100)
	require.NoError(t, a.move(a.home, a.away))
	require.NoError(t, a.move(a.away, a.home))
	a.checkCaptured(t, c, 50)
}

func (a *arena) checkCaptured(t testing.TB, c *capture, n int) {
	t.Helper()
	// until the link is known to be up, what is sent is thrown away
	eventually(t, "the link is up", func() bool {
		return strings.Contains(a.far.Run(t, "ip", "link", "show", "far0"), "state UP")
	})
	before := c.Stats()
	began := time.Now()
	require.NoError(t, newFeeder(t, a.far, "far0", arenaMAC, 0).burst(n))
	guest.Poll(t, time.Second, "packets are captured", func() bool {
		return c.Stats().Captured == before.Captured+uint64(n)
	})
	t.Logf("%d packets captured after %s", n, time.Since(began))
}

// checkFought checks what a capture of the device has: its names, and each sender's packets in order.
func checkFought(t testing.TB, f *pcapread.File, packets []pcapread.Packet) {
	t.Helper()
	for i := range f.Interfaces {
		if f.Interfaces[i].Stats.Received > 0 {
			require.Contains(t, []string{"cap0", "cap1"}, f.Interfaces[i].Name)
		}
	}
	for src, stream := range bySource(packets) {
		last := uint64(0)
		for i := range stream {
			n, err := number(&stream[i])
			require.NoError(t, err)
			require.Greater(t, n, last, "number of a packet of %s", src)
			last = n
		}
	}
}
