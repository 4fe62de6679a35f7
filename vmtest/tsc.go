// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"time"

	"ksnif/vmtest/tsc"
)

// tscKHz measures the frequency of the time stamp counter; 0 is none. A guest under TCG reads the same counter, but finds
// out how fast it runs with devices that QEMU makes up, which a busy machine keeps waiting: a guest that took it for 53 MHz
// instead of 1996 lived through 505 seconds in 13. All its processors but the first take the length of their delays
// from such a device, too: one that was to be kept busy for a minute was free after six seconds.
func tscKHz() uint64 {
	ticks, start := tscNow()
	time.Sleep(50 * time.Millisecond)
	more, end := tscNow()
	return (more - ticks) * uint64(time.Millisecond) / uint64(end.Sub(start))
}

// tscNow reads counter and clock at one moment: of several tries, that in which the least time passed meanwhile counts.
func tscNow() (ticks uint64, now time.Time) {
	least := ^uint64(0)
	for range 20 {
		before := tsc.Read()
		t := time.Now()
		if took := tsc.Read() - before; took < least {
			least, ticks, now = took, before+took/2, t
		}
	}
	return ticks, now
}
