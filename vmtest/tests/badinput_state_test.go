// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// cell is one of the table of states and commands.
type cell struct {
	state   genl.State
	command string
	errno   unix.Errno
	text    string
	after   genl.State
}

func cells() []cell {
	const (
		stopped, running = genl.StateStopped, genl.StateRunning
		stopping, failed = genl.StateStopping, genl.StateFailed
		notRunning       = "flush: no capture is running"
		cannotWhile      = "io: cannot change while running"
		textStopping     = "set: the capture is stopping: settings cannot change"
		alreadyRunning   = "start: already running: use restart"
		stillStopping    = "start: still stopping: try again"
	)
	return []cell{
		{stopped, "start", 0, "", running},
		{stopped, "stop", 0, "", stopped},
		{stopped, "restart", 0, "", running},
		{stopped, "flush", unix.ENOTCONN, notRunning, stopped},
		{stopped, "snaplen 200", 0, "", stopped},
		{stopped, "io discard", 0, "", stopped},

		{running, "start", unix.EALREADY, alreadyRunning, running},
		{running, "stop", 0, "", stopped},
		{running, "restart", 0, "", running},
		{running, "flush", 0, "", running},
		{running, "snaplen 200", 0, "", running},
		{running, "io discard", unix.EBUSY, cannotWhile, running},

		{stopping, "start", unix.EINPROGRESS, stillStopping, stopping},
		{stopping, "stop", unix.EINPROGRESS, textStill, stopping},
		{stopping, "restart", unix.EINPROGRESS, textStill, stopping},
		{stopping, "flush", unix.EINPROGRESS, textStill, stopping},
		{stopping, "snaplen 200", unix.EBUSY, textStopping, stopping},
		{stopping, "io discard", unix.EBUSY, textStopping, stopping},

		{failed, "start", 0, "", running},
		{failed, "stop", unix.ENOSPC, textCutShort, stopped},
		{failed, "restart", 0, "", running},
		{failed, "flush", unix.ENOTCONN, notRunning, failed},
		{failed, "snaplen 200", 0, "", failed},
		{failed, "io discard", 0, "", failed},
	}
}

// check does what the cell says and looks at what came of it.
func (c cell) check(p *place, via channel) {
	p.T.Helper()
	before := p.snapshot()
	require.Equal(p.T, c.state, before.Capture.State)
	began := time.Now()
	errno, text := via.do(p, c.command)
	if c.text == textStill { // the module waits for two seconds, and no longer: netlink is held
		waited := time.Since(began)
		assert.Greater(p.T, waited, 1500*time.Millisecond) // a VM's ticks may run ahead of its clock
		assert.Less(p.T, waited, 2*time.Second+guest.Limit(time.Second))
	}
	require.Equal(p.T, c.errno, errno, "errno")
	require.Equal(p.T, c.text, text, "text")
	after := p.snapshot()
	require.Equal(p.T, c.after, after.Capture.State, "state afterwards")
	switch {
	case c.errno != 0 && c.state == c.after:
		require.Equal(p.T, before, after, "a refusal changed something")
	case c.after != c.state && c.after == genl.StateRunning, c.command == "restart":
		p.checkStarted(before)
	case c.after == genl.StateStopped && c.command == "stop":
		assert.Equal(p.T, before.Stats, after.Stats, "counters after stop")
	case c.command == "flush":
		before.Capture.FlushWanted++
		before.Capture.FlushDone++
		require.Equal(p.T, before, after)
	case c.command == "snaplen 200":
		before.Capture.Snaplen = 200
		require.Equal(p.T, before, after)
	case c.command == "io discard":
		before.Capture.IO = genl.IODiscard
		require.Equal(p.T, before, after)
	default:
		require.Equal(p.T, before, after)
	}
}

// checkStarted checks what a start does: the file is emptied, the counters begin at zero, the settings stay.
func (p *place) checkStarted(before snapshot) {
	p.T.Helper()
	const pcapHeader = 24
	p.Flush()
	after := p.snapshot()
	assert.Equal(p.T, genl.Stats{Name: "default"}, after.Stats, "counters after start")
	assert.EqualValues(p.T, pcapHeader, after.Files[p.File].Size, "size of the file after start")
	assert.Equal(p.T, before.Files[p.File].Inode, after.Files[p.File].Inode, "the file is truncated, not replaced")
	want := before.Capture
	want.State, want.Errno, want.FileSize = genl.StateRunning, 0, pcapHeader
	want.FlushWanted, want.FlushDone, want.Runs = 1, 1, want.Runs+1
	assert.Equal(p.T, want, after.Capture)
}

func runCells(t *testing.T, state genl.State, via channel, ready func(t *testing.T) *place) {
	t.Helper()
	n := 0
	for _, c := range cells() {
		if c.state != state {
			continue
		}
		n++
		t.Run(state.String()+"/"+c.command, func(t *testing.T) { c.check(ready(t), via) })
	}
	require.Equal(t, 6, n, "cells in state %s", state)
}

// TestStateTableNetlink and TestStateTableProcfs go through every cell of the table.
func TestStateTableNetlink(t *testing.T) { stateTable(t, channels()[0]) }

func TestStateTableProcfs(t *testing.T) { stateTable(t, channels()[1]) }

func stateTable(t *testing.T, via channel) {
	p := newPlace(t)
	p.captured(5)
	p.Stop()
	again := func(t *testing.T) *place {
		q := p.at(t)
		q.idle()
		q.Set(genl.Settings{Snaplen: ptr(uint32(128)), IO: ptr(genl.IOBuffered)})
		return q
	}
	runCells(t, genl.StateStopped, via, again)
	runCells(t, genl.StateRunning, via, func(t *testing.T) *place {
		q := again(t)
		q.captured(7)
		return q
	})

	full := newPlaceIn(t, mountTmpfs(t, "size=64k"))
	runCells(t, genl.StateFailed, via, func(t *testing.T) *place {
		q := full.at(t)
		q.idle()
		q.Set(genl.Settings{IO: ptr(genl.IOBuffered)})
		q.failed()
		return q
	})
}

// TestStateTableStopping has the cells of the state that lasts only as long as the disk is slow.
func TestStateTableStopping(t *testing.T) {
	p := newPlaceIn(t, mountExt4(t))
	thaw := p.stopping()
	for _, via := range channels() {
		t.Run(via.name, func(t *testing.T) {
			runCells(t, genl.StateStopping, via, func(t *testing.T) *place { return p.at(t) })
		})
	}
	thaw()
	guest.Poll(t, 10*time.Second, "the capture stops after the thaw", func() bool { return p.Get().State == genl.StateStopped })
	assert.EqualValues(t, 10, p.Stats().Written)
	checkEquations(t, p.Stats())
}

// The error that ended a capture is told by one stop, and forgotten by the next start.
func TestFailureIsToldOnce(t *testing.T) {
	p := newPlaceIn(t, mountTmpfs(t, "size=64k"))
	p.failed()
	before := p.Stats()
	errno, _ := p.netlink("stop")
	assert.Equal(t, unix.ENOSPC, errno)
	errno, _ = p.netlink("stop")
	assert.Zero(t, errno, "a second stop")
	assert.Equal(t, before, p.Stats(), "counters are kept")
	assert.Equal(t, unix.ENOSPC, p.Get().Errno)
	p.Start()
	assert.Zero(t, p.Get().Errno)
}
