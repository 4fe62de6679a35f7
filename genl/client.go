// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"time"

	"golang.org/x/sys/unix"
)

// Settings are the settings of a capture. Only fields which are not nil are
// changed, all of them or none.
type Settings struct {
	// DeviceName is the device to capture, "any" for all.
	DeviceName *string
	Family     *IPFamily
	// Logfile is the absolute path of the capture file.
	Logfile *string
	// Snaplen is how many bytes of each packet are kept; 0 means the maximum.
	Snaplen *uint32
	// QueueSize is the kernel memory for queued packets, in bytes.
	QueueSize *uint64
	Format    *Format
	IO        *IO
	// SyncInterval is how many seconds pass between two fsyncs of the capture
	// file; 0 means only at flush and stop.
	SyncInterval *uint32
}

// Capture is a capture's settings and state.
type Capture struct {
	Name         string
	DeviceName   string
	Family       IPFamily
	Logfile      string
	Snaplen      uint32
	QueueSize    uint64
	Format       Format
	IO           IO
	SyncInterval uint32

	State State
	// Errno is the error that ended the last capture, 0 if none did.
	Errno unix.Errno
	// Unsynced says that fsync failed after writes were accepted: the file may
	// hold fewer packets than the counter written.
	Unsynced bool
	// Torn says that the file may end in a torn record.
	Torn bool
	// FileSize counts the bytes of whole blocks accepted so far.
	FileSize uint64
	// FlushWanted is the number of the last flush asked for since the last
	// start, FlushDone that of the last one done.
	FlushWanted, FlushDone uint64
	// Runs counts the starts since the module was loaded.
	Runs uint32
	// IOUsed is what became of IO in the current or last run: never IOAuto.
	IOUsed IO
}

// Stats are a capture's counters, in packets since the last start.
type Stats struct {
	Name             string
	Received         uint64
	Filtered         uint64
	Captured         uint64
	DroppedQueueFull uint64
	DroppedNoMemory  uint64
	Queued           uint64
	Written          uint64
	DroppedWrite     uint64
	Discarded        uint64
	Errors           uint64
}

// CPUStats are the hook's counters on one CPU.
type CPUStats struct {
	Name             string
	CPU              uint32
	Received         uint64
	Filtered         uint64
	Captured         uint64
	DroppedQueueFull uint64
	DroppedNoMemory  uint64
}

// Event is something that happened to a capture.
type Event struct {
	Type EventType
	// Time is when the event was read; the kernel sends none.
	Time time.Time
	// Attrs names what the event carries, in the spec's words; fields of
	// Capture that it does not name are zero.
	Attrs []string
	Capture
}
