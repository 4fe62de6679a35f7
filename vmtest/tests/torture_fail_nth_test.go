// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// failRow is something asked of a capture again and again, with each of its allocations failing in turn.
type failRow struct {
	name   string
	first  bool // of a capture that has never been started
	starts bool // it ends with a start, whatever the state before
	lookup bool // procfs looks for the file, and finds none where it has no memory
	before genl.State
	after  genl.State          // when it was done
	change func(*genl.Capture) // what else is then
	call   caller
}

// TestTortureFailNth has each allocation fail that a command or a procfs file comes to: the answer is that there is no
// memory, and nothing has changed; or the kernel could do without, and it was done.
func TestTortureFailNth(t *testing.T) {
	guest.NeedsFaults(t)
	failAnyAllocation(t)
	p := newPlaceIn(t, tmpfs(t, "16m")) // the file system that finds no memory is not what is tested
	for _, row := range p.failRows() {
		t.Run(row.name, func(t *testing.T) { row.run(p.at(t)) })
	}
	for _, row := range []string{"netlink", "procfs"} {
		t.Run("first start/"+row, func(t *testing.T) {
			fresh := newPlaceIn(t, tmpfs(t, "16m"))
			require.NoError(t, os.WriteFile(fresh.File, []byte("not to be lost"), 0o600))
			call := byControl("start")
			if row == "netlink" {
				call = fresh.byNetlink("start", netlink.Request|netlink.Acknowledge)
			}
			(&failRow{first: true, starts: true, before: genl.StateStopped, after: genl.StateRunning, call: call}).run(fresh)
		})
	}
}

func (p *place) failRows() []failRow {
	const stopped, running = genl.StateStopped, genl.StateRunning
	ask := netlink.Request | netlink.Acknowledge
	rows := []failRow{
		{name: "get", before: running, after: running, call: p.byNetlink("get", ask)},
		{name: "stats", before: running, after: running, call: p.byNetlink("stats", ask)},
		{name: "dump", before: running, after: running, call: p.byNetlink("stats", dumpFlags)},
		{name: "read status", before: running, after: running, call: readStatus()},
		{name: "open status", lookup: true, before: stopped, after: stopped, call: openFile("status", unix.O_RDONLY)},
		{name: "open control", lookup: true, before: stopped, after: stopped, call: openFile("control", unix.O_WRONLY)},
	}
	lines := []failRow{
		{name: "start", starts: true, before: stopped, after: running},
		{name: "stop", before: running, after: stopped},
		{name: "restart", starts: true, before: running, after: running},
		{name: "restart", starts: true, before: stopped, after: running},
		{name: "flush", before: running, after: running, change: func(c *genl.Capture) { c.FlushWanted++; c.FlushDone++ }},
		{name: "sync_interval 7", before: stopped, after: stopped, change: func(c *genl.Capture) { c.SyncInterval = 7 }},
		{name: "snaplen 200", before: running, after: running, change: func(c *genl.Capture) { c.Snaplen = 200 }},
	}
	for line, change := range map[string]func(*genl.Capture){
		"device_name any":           func(c *genl.Capture) { c.DeviceName = "any" },
		"family ip6":                func(c *genl.Capture) { c.Family = genl.IPFamilyIP6 },
		"logfile " + p.path("next"): func(c *genl.Capture) { c.Logfile = p.path("next") },
		"snaplen 300":               func(c *genl.Capture) { c.Snaplen = 300 },
		"queue_size 262144":         func(c *genl.Capture) { c.QueueSize = 262144 },
		"format pcapng":             func(c *genl.Capture) { c.Format = genl.FormatPcapng },
		"io discard":                func(c *genl.Capture) { c.IO = genl.IODiscard },
	} {
		lines = append(lines, failRow{name: line, before: stopped, after: stopped, change: change})
	}
	for _, r := range lines {
		line := r.name
		r.name = "netlink/" + line + " while " + r.before.String()
		r.call = p.byNetlink(line, ask)
		rows = append(rows, r)
		r.name = "procfs/" + line + " while " + r.before.String()
		r.call = byControl(line)
		rows = append(rows, r)
	}
	return rows
}

// run goes on until no allocation is left to fail.
func (r *failRow) run(p *place) {
	p.T.Helper()
	settings := guest.Settings(p.Get())
	for n, fired := 1, true; fired; n++ {
		r.ready(p)
		before := p.snapshot()
		var err error
		fired, err = p.failNth(n, r.call)
		switch {
		case err == nil:
			r.checkDone(p, before)
		case !fired:
			require.NoError(p.T, err, "with nothing failing")
		case errors.Is(err, errLost):
			r.checkEither(p, before)
		default:
			r.checkRefused(p, before, err, n)
		}
		// a fresh capture would have all that start makes but once
		if r.first && p.Get().State == genl.StateStopped {
			continue
		}
		p.idle()
		p.Set(settings)
		if r.starts || !fired { // the others leave nothing behind that the next one would not meet
			p.works()
		}
		if !fired {
			p.T.Logf("%d allocations", n-1)
		}
	}
}

// ready brings the capture to the row's state.
func (r *failRow) ready(p *place) {
	p.T.Helper()
	if r.before == genl.StateRunning {
		p.captured(5)
	}
	require.Equal(p.T, r.before, p.Get().State)
}

// works checks that a stopped capture does what it should.
func (p *place) works() {
	p.T.Helper()
	p.Start()
	p.send(10, 100)
	require.Len(p.T, p.StopRead().Packets, 10)
}

// want is what the capture is when it was done.
func (r *failRow) want(before snapshot) snapshot {
	before.Capture.State = r.after
	if r.change != nil {
		r.change(&before.Capture)
	}
	return before
}

func (r *failRow) checkDone(p *place, before snapshot) {
	p.T.Helper()
	if r.starts {
		p.checkStarted(before)
		return
	}
	p.unchanged(r.want(before))
}

// checkEither is for an answer that was lost.
func (r *failRow) checkEither(p *place, before snapshot) {
	p.T.Helper()
	if !assert.ObjectsAreEqual(before, p.snapshot()) {
		r.checkDone(p, before)
	}
}

// checkRefused checks the errno, and that nothing has changed but what restart says it may: it stops first.
func (r *failRow) checkRefused(p *place, before snapshot, err error, n int) {
	p.T.Helper()
	// where the socket itself has no memory it says so in its own way
	if !errors.Is(err, unix.ENOBUFS) && !(r.lookup && errors.Is(err, unix.ENOENT)) {
		require.ErrorIs(p.T, err, unix.ENOMEM, "allocation %d", n)
	}
	if r.starts && p.Get().State == genl.StateStopped {
		before.Capture.State = genl.StateStopped
	}
	p.unchanged(before)
}
