// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// attrTypeMask removes the flags from an attribute's type.
const attrTypeMask = 0x3fff

func nativeUint16(b []byte) uint16 { return binary.NativeEndian.Uint16(b) }

// commandNames names the commands by their numbers.
var commandNames = func() map[uint8]string {
	names := make(map[uint8]string)
	for _, r := range Requests() {
		names[r.Command] = r.Name
	}
	return names
}()

// encodeSettings returns the attributes of the fields that are not nil.
func encodeSettings(s Settings) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	for _, a := range []struct {
		number uint16
		value  *string
	}{{AttrCaptureDeviceName, s.DeviceName}, {AttrCaptureLogfile, s.Logfile}} {
		if a.value == nil {
			continue
		}
		if err := sendable(a.number, *a.value); err != nil {
			return nil, err
		}
		ae.String(a.number, *a.value)
	}
	if s.Snaplen != nil {
		ae.Uint32(AttrCaptureSnaplen, *s.Snaplen)
	}
	if s.QueueSize != nil {
		ae.Uint64(AttrCaptureQueueSize, *s.QueueSize)
	}
	if s.Family != nil {
		ae.Uint32(AttrCaptureFamily, uint32(*s.Family))
	}
	if s.Format != nil {
		ae.Uint32(AttrCaptureFormat, uint32(*s.Format))
	}
	if s.IO != nil {
		ae.Uint32(AttrCaptureIO, uint32(*s.IO))
	}
	if s.SyncInterval != nil {
		ae.Uint32(AttrCaptureSyncInterval, *s.SyncInterval)
	}
	return ae.Encode()
}

// sendable refuses in the kernel's stead what would not reach it whole: an
// attribute's length has 16 bits, and its string ends at the first NUL.
func sendable(number uint16, value string) error {
	e := &Error{Command: commandNames[CmdSet], Attr: captureAttrs[number]}
	switch {
	case len(value) > math.MaxUint16-attrHeaderLen-1:
		e.Err = unix.ERANGE
	case strings.ContainsRune(value, 0):
		e.Err, e.Message = unix.EINVAL, e.Attr+": must not contain a NUL byte"
		return e
	default:
		return nil
	}
	for _, r := range Requests() {
		for _, a := range r.Attrs {
			if r.Command == CmdSet && a.Number == number {
				e.Message = a.Refusal
			}
		}
	}
	return e
}

// decodeCapture reads the attributes of set capture and returns the names of
// those present. Attributes of a newer module are skipped.
func decodeCapture(payload []byte) (*Capture, []string, error) {
	ad, err := netlink.NewAttributeDecoder(payload)
	if err != nil {
		return nil, nil, fmt.Errorf("malformed attributes: %w", err)
	}
	c, present := &Capture{}, []string{}
	for ad.Next() {
		if t := int(ad.Type()); t > 0 && t < len(captureAttrs) {
			present = append(present, captureAttrs[t])
		}
		c.decode(ad)
	}
	if err := ad.Err(); err != nil {
		return nil, nil, fmt.Errorf("malformed attributes: %w", err)
	}
	return c, present, nil
}

// decode reads the attribute that ad is at.
func (c *Capture) decode(ad *netlink.AttributeDecoder) {
	switch ad.Type() {
	case AttrCaptureName:
		c.Name = ad.String()
	case AttrCaptureDeviceName:
		c.DeviceName = ad.String()
	case AttrCaptureFamily:
		c.Family = IPFamily(ad.Uint32())
	case AttrCaptureLogfile:
		c.Logfile = ad.String()
	case AttrCaptureSnaplen:
		c.Snaplen = ad.Uint32()
	case AttrCaptureQueueSize:
		c.QueueSize = ad.Uint64()
	case AttrCaptureFormat:
		c.Format = Format(ad.Uint32())
	case AttrCaptureIO:
		c.IO = IO(ad.Uint32())
	case AttrCaptureSyncInterval:
		c.SyncInterval = ad.Uint32()
	case AttrCaptureState:
		c.State = State(ad.Uint32())
	case AttrCaptureErrno:
		c.Errno = unix.Errno(ad.Uint32())
	case AttrCaptureUnsynced:
		c.Unsynced = ad.Uint32() != 0
	case AttrCaptureTorn:
		c.Torn = ad.Uint32() != 0
	case AttrCaptureFileSize:
		c.FileSize = ad.Uint64()
	case AttrCaptureFlushWanted:
		c.FlushWanted = ad.Uint64()
	case AttrCaptureFlushDone:
		c.FlushDone = ad.Uint64()
	case AttrCaptureRuns:
		c.Runs = ad.Uint32()
	case AttrCaptureIOUsed:
		c.IOUsed = IO(ad.Uint32())
	}
}

// decodeStats reads the attributes of set stats. It returns the CPU apart, as
// only a dump's messages have one.
func decodeStats(payload []byte) (*Stats, uint32, error) {
	ad, err := netlink.NewAttributeDecoder(payload)
	if err != nil {
		return nil, 0, fmt.Errorf("malformed attributes: %w", err)
	}
	var s Stats
	var cpu uint32
	counters := map[uint16]*uint64{
		AttrStatsReceived:         &s.Received,
		AttrStatsFiltered:         &s.Filtered,
		AttrStatsCaptured:         &s.Captured,
		AttrStatsDroppedQueueFull: &s.DroppedQueueFull,
		AttrStatsDroppedNoMemory:  &s.DroppedNoMemory,
		AttrStatsQueued:           &s.Queued,
		AttrStatsWritten:          &s.Written,
		AttrStatsDroppedWrite:     &s.DroppedWrite,
		AttrStatsDiscarded:        &s.Discarded,
		AttrStatsErrors:           &s.Errors,
	}
	for ad.Next() {
		switch t := ad.Type(); {
		case t == AttrStatsName:
			s.Name = ad.String()
		case t == AttrStatsCPU:
			cpu = ad.Uint32()
		case counters[t] != nil:
			*counters[t] = ad.Uint64()
		}
	}
	if err := ad.Err(); err != nil {
		return nil, 0, fmt.Errorf("malformed attributes: %w", err)
	}
	return &s, cpu, nil
}

// decodeCPUStats reads one message of a dump.
func decodeCPUStats(payload []byte) (*CPUStats, error) {
	s, cpu, err := decodeStats(payload)
	if err != nil {
		return nil, err
	}
	return &CPUStats{
		Name:             s.Name,
		CPU:              cpu,
		Received:         s.Received,
		Filtered:         s.Filtered,
		Captured:         s.Captured,
		DroppedQueueFull: s.DroppedQueueFull,
		DroppedNoMemory:  s.DroppedNoMemory,
	}, nil
}

// decodeEvent reads a multicast message; it returns nil for a kind of event
// that this package does not know.
func decodeEvent(m genetlink.Message) (*Event, error) {
	t := EventType(m.Header.Command)
	if t == EventLost || int(t) >= len(eventTypeNames) || eventTypeNames[t] == "" {
		return nil, nil
	}
	c, present, err := decodeCapture(m.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return &Event{Type: t, Attrs: present, Capture: *c}, nil
}
