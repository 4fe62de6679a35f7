// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// hookFault is a way in which the hook finds no memory.
type hookFault struct {
	name    string
	fault   string
	percent int
	packets int
	size    int // of the packets
	io      genl.IO
	set     func(f *guest.Fault)
	exact   bool // each that fails is a packet's record
}

func hookFaults() []hookFault {
	return []hookFault{{
		// of a device captured by name, the hook asks for nothing else
		name: "records", fault: "failslab", percent: 10, packets: 70_000, io: genl.IODiscard, exact: true,
		set: (*guest.Fault).SpareDetectors,
	}, {
		name: "records in the file", fault: "failslab", percent: 10, packets: 10_000, exact: true,
		set: (*guest.Fault).SpareDetectors,
	}, {
		// one page is room for many records, and the allocator may find it elsewhere
		name: "pages for records", fault: "fail_page_alloc", percent: 50, packets: 10_000,
		set: func(f *guest.Fault) { f.Set("min-order", 0) },
	}, {
		// such a record is eight pages of its own; only the records are so large
		name: "records of pages", fault: "fail_page_alloc", percent: 10, packets: 10_000, size: 17_000, io: genl.IODiscard, exact: true,
		set: func(f *guest.Fault) { f.Set("min-order", 3) },
	}, {
		name: "function", fault: "fail_function", percent: 10, packets: 10_000, exact: true,
		set: func(f *guest.Fault) { f.Inject("ksnif_record_alloc", unix.ENOMEM) },
	}}
}

// TestTortureFailHook has allocations of the hook fail, for more than 100,000 packets, and asks where every packet went.
// What failed is counted by the kernel, too.
func TestTortureFailHook(t *testing.T) {
	guest.NeedsFaults(t)
	if guest.Config() == "ring" {
		t.Skip("needs the list queue: a ring takes no memory in the hook")
	}
	for _, h := range hookFaults() {
		t.Run(h.name, h.run)
	}
}

const (
	packetsBehind  = 10
	failQueueBytes = 1 << 20 // less than what fails: room that is not given back would not be there in the end
)

func (h *hookFault) run(t *testing.T) {
	fault := guest.NewFault(t, h.fault)
	h.set(fault)
	fault.Within(guest.Symbol(t, "hook_pcapng"))
	// So far the stack of each allocation in the kernel is read, for most of them in vain.
	fault.Set("stacktrace-depth", 16)
	quietDummy(t, nil, "fail0")
	guest.Run(t, "ip", "link", "set", "fail0", "mtu", "65000")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("fail0"), IO: &h.io, QueueSize: ptr[uint64](failQueueBytes)})
	c.Start()
	fault.Arm(h.percent, h.packets)
	sent := startFlood(t, nil, "fail0", floodSpec{Count: h.packets, Size: h.size}).Wait()
	failed := h.packets - fault.Disarm()
	require.EqualValues(t, h.packets, sent)
	eventually(t, "the queue is empty", func() bool { return c.Stats().Queued == 0 })
	captured := c.Stats().Captured
	sendNumbered(t, nil, "fail0", packetsBehind)
	c.Stop()

	s := c.Stats()
	t.Logf("%d made to fail: %+v", failed, *s)
	assert.EqualValues(t, h.packets+packetsBehind, s.Received)
	assert.EqualValues(t, captured+packetsBehind, s.Captured, "when nothing fails any more")
	assert.NotZero(t, s.DroppedNoMemory)
	if h.exact {
		assert.EqualValues(t, failed, s.DroppedNoMemory, "made to fail, and dropped_no_memory")
	}
	assert.Zero(t, s.DroppedWrite)
	checkEquations(t, s)
	if h.io == genl.IODiscard {
		assert.Zero(t, s.Written)
		return
	}
	f, err := pcapread.ReadPrefix(c.File, 64)
	require.NoError(t, err)
	c.CheckBooks(f)
	h.checkGaps(t, f.Packets, sent)
}

// checkGaps checks that the drop counts are the holes in the numbers of the packets, up to the last: there are more
// behind it.
func (h *hookFault) checkGaps(t *testing.T, packets []pcapread.Packet, sent uint64) {
	t.Helper()
	require.Greater(t, len(packets), packetsBehind)
	first, behind := packets[:len(packets)-packetsBehind], packets[len(packets)-packetsBehind:]
	last := checkNumbers(t, first, 0)
	require.Equal(t, sent-last, behind[0].Drops)
	behind[0].Drops = 0
	require.EqualValues(t, packetsBehind, checkNumbers(t, behind, 0))
}
