// SPDX-License-Identifier: GPL-2.0

package pcapread

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

type captureInfo = gopacket.CaptureInfo

// Block types of pcapng.
const (
	BlockSection    = blockSection
	BlockInterface  = 1
	BlockStatistics = 5
	BlockPacket     = 6

	blockSection   = 0x0a0d0d0a
	byteOrderMagic = 0x1a2b3c4d
)

const (
	pcapMagicNano  = 0xa1b23c4d
	pcapMagicMicro = 0xa1b2c3d4
)

// Options of pcapng that the tests look at.
const (
	OptComment         = 1
	OptSectionOS       = 3
	OptSectionUserAppl = 4
	OptIfName          = 2
	OptIfTsresol       = 9
	OptPacketDropcount = 4
	OptStatsEndTime    = 3
	OptStatsIfRecv     = 4
	OptStatsIfDrop     = 5
	OptStatsAccept     = 6
	OptStatsOSDrop     = 7
	OptStatsDelivered  = 8
)

// Block says where a block lies.
type Block struct {
	Type   uint32
	Offset int64
	Length uint32
}

// Option is an option of a block.
type Option struct {
	Code  uint16
	Value []byte
}

var le = binary.LittleEndian

// walker reads the blocks or records of a file one after the other. Files are little-endian: those of this machine.
type walker struct {
	r    *bufio.Reader
	size int64
	pos  int64 // of the block that is being read
	keep int   // bytes kept of each packet; all if negative
	buf  []byte
	f    *File
}

func (w *walker) torn(format string, args ...any) error {
	return &TornError{Offset: w.pos, Reason: fmt.Sprintf(format, args...)}
}

// read reads n bytes of the block at w.pos; off is where they start in it. They are valid until the next read.
func (w *walker) read(off, n int64) ([]byte, error) {
	if left := w.size - w.pos - off; n > left {
		return nil, w.torn("%d bytes of block or record, %d in the file", off+n, w.size-w.pos)
	}
	if int64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	w.buf = w.buf[:n]
	_, err := io.ReadFull(w.r, w.buf)
	return w.buf, err
}

func (w *walker) kept(data []byte) []byte {
	if w.keep >= 0 && len(data) > w.keep {
		data = data[:w.keep]
	}
	return append([]byte(nil), data...)
}

// done says that the block at w.pos, n bytes long, is whole.
func (w *walker) done(n int64) {
	w.pos += n
	w.f.Whole = w.pos
}

func (w *walker) pcapng() error {
	for w.pos < w.size {
		typ, body, err := w.block()
		if err != nil {
			return err
		}
		if (typ == blockSection) != (w.pos == 0) {
			return w.torn("block type %#x: not one section header, at the start", typ)
		}
		switch typ {
		case blockSection:
			err = w.section(body)
		case BlockInterface:
			err = w.iface(body)
		case BlockPacket:
			err = w.packet(body)
		case BlockStatistics:
			err = w.statistics(body)
		}
		if err != nil {
			return err
		}
		n := int64(len(body)) + 12
		w.f.Blocks = append(w.f.Blocks, Block{Type: typ, Offset: w.pos, Length: uint32(n)})
		w.done(n)
	}
	return nil
}

// block reads a block and returns its body.
func (w *walker) block() (typ uint32, body []byte, err error) {
	head, err := w.read(0, 8)
	if err != nil {
		return 0, nil, err
	}
	typ, n := le.Uint32(head), int64(le.Uint32(head[4:]))
	if n < 12 || n%4 != 0 {
		return 0, nil, w.torn("block of type %#x with length %d", typ, n)
	}
	rest, err := w.read(8, n-8)
	if err != nil {
		return 0, nil, err
	}
	if last := le.Uint32(rest[n-12:]); int64(last) != n {
		return 0, nil, w.torn("block of type %#x starts with length %d and ends with %d", typ, n, last)
	}
	return typ, rest[:n-12], nil
}

// options parses the options at the end of a block. An end mark is needed if there are any.
func (w *walker) options(b []byte) ([]Option, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var list []Option
	for len(b) >= 4 {
		code, n := le.Uint16(b), int(le.Uint16(b[2:]))
		padded := (n + 3) &^ 3
		b = b[4:]
		if code == 0 {
			if n != 0 || len(b) != 0 {
				return nil, w.torn("end of options with length %d, %d bytes before the end of the block", n, len(b))
			}
			return list, nil
		}
		if padded > len(b) {
			return nil, w.torn("option %d with length %d, %d bytes left", code, n, len(b))
		}
		if !zero(b[n:padded]) {
			return nil, w.torn("option %d is padded with % x", code, b[n:padded])
		}
		list = append(list, Option{code, append([]byte(nil), b[:n]...)})
		b = b[padded:]
	}
	return nil, w.torn("options without an end mark")
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func (w *walker) section(b []byte) error {
	if len(b) < 16 || le.Uint32(b) != byteOrderMagic || le.Uint16(b[4:]) != 1 || le.Uint16(b[6:]) != 0 {
		return w.torn("section header % x", b)
	}
	var err error
	w.f.Section, err = w.options(b[16:])
	return err
}

func (w *walker) iface(b []byte) error {
	if len(b) < 8 {
		return w.torn("interface block of %d bytes", len(b))
	}
	i := Interface{LinkType: layers.LinkType(le.Uint16(b)), Snaplen: le.Uint32(b[4:]), Resolution: 6}
	var err error
	if i.Options, err = w.options(b[8:]); err != nil {
		return err
	}
	for _, o := range i.Options {
		switch {
		case o.Code == OptIfName:
			i.Name = string(o.Value)
		case o.Code == OptIfTsresol && len(o.Value) == 1:
			i.Resolution = o.Value[0]
		}
	}
	if i.Resolution > 9 {
		return fmt.Errorf("byte %d: this reader knows no time stamp resolution %#x", w.pos, i.Resolution)
	}
	w.f.Interfaces = append(w.f.Interfaces, i)
	return nil
}

// described returns the interface of a block.
func (w *walker) described(b []byte) (*Interface, int, error) {
	id := le.Uint32(b)
	if uint64(id) >= uint64(len(w.f.Interfaces)) {
		return nil, 0, w.torn("interface %d, and %d are described", id, len(w.f.Interfaces))
	}
	return &w.f.Interfaces[id], int(id), nil
}

// time reads a time stamp of the interface, the high half first.
func (i *Interface) time(b []byte) time.Time {
	unit := uint64(math.Pow10(9 - int(i.Resolution)))
	units := uint64(le.Uint32(b))<<32 | uint64(le.Uint32(b[4:]))
	per := 1_000_000_000 / unit
	return time.Unix(int64(units/per), int64(units%per*unit)).UTC()
}

func (w *walker) packet(b []byte) error {
	if len(b) < 20 {
		return w.torn("packet block of %d bytes", len(b))
	}
	iface, id, err := w.described(b)
	if err != nil {
		return err
	}
	p := Packet{Time: iface.time(b[4:]), Interface: id, Caplen: int(le.Uint32(b[12:])), Length: int(le.Uint32(b[16:]))}
	b = b[20:]
	padded := (p.Caplen + 3) &^ 3
	if padded > len(b) {
		return w.torn("packet of %d bytes in %d", p.Caplen, len(b))
	}
	if !zero(b[p.Caplen:padded]) {
		return w.torn("packet is padded with % x", b[p.Caplen:padded])
	}
	p.Data = w.kept(b[:p.Caplen])
	if p.Options, err = w.options(b[padded:]); err != nil {
		return err
	}
	for _, o := range p.Options {
		if o.Code == OptPacketDropcount && len(o.Value) == 8 {
			p.Drops += le.Uint64(o.Value)
		}
	}
	iface.Packets++
	iface.Drops += p.Drops
	w.f.Packets = append(w.f.Packets, p)
	return nil
}

func (w *walker) statistics(b []byte) error {
	if len(b) < 12 {
		return w.torn("statistics block of %d bytes", len(b))
	}
	iface, _, err := w.described(b)
	if err != nil {
		return err
	}
	s := &Statistics{Time: iface.time(b[4:])}
	if s.Options, err = w.options(b[12:]); err != nil {
		return err
	}
	counters := map[uint16]*uint64{
		OptStatsIfRecv: &s.Received, OptStatsIfDrop: &s.IfDropped, OptStatsAccept: &s.FilterAccept,
		OptStatsOSDrop: &s.OSDrop, OptStatsDelivered: &s.Delivered,
	}
	for _, o := range s.Options {
		if len(o.Value) != 8 {
			continue
		}
		if o.Code == OptStatsEndTime {
			s.EndTime = iface.time(o.Value)
		} else if c := counters[o.Code]; c != nil {
			*c = le.Uint64(o.Value)
		}
	}
	iface.Stats = s
	return nil
}

func (w *walker) pcap() error {
	head, err := w.read(0, 24)
	if err != nil {
		return err
	}
	w.f.Nanosec = le.Uint32(head) == pcapMagicNano
	w.f.Snaplen = le.Uint32(head[16:])
	i := Interface{LinkType: layers.LinkType(le.Uint32(head[20:])), Snaplen: w.f.Snaplen, Resolution: 6}
	unit := int64(1000)
	if w.f.Nanosec {
		i.Resolution, unit = 9, 1
	}
	w.f.Interfaces = []Interface{i}
	w.done(24)
	for w.pos < w.size {
		if err := w.record(unit); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) record(unit int64) error {
	head, err := w.read(0, 16)
	if err != nil {
		return err
	}
	p := Packet{Caplen: int(le.Uint32(head[8:])), Length: int(le.Uint32(head[12:]))}
	fraction := int64(le.Uint32(head[4:])) * unit
	p.Time = time.Unix(int64(le.Uint32(head)), fraction).UTC()
	if fraction >= int64(time.Second) || p.Caplen > p.Length || p.Caplen > int(w.f.Snaplen) || p.Length == 0 {
		return w.torn("record header % x", head)
	}
	data, err := w.read(16, int64(p.Caplen))
	if err != nil {
		return err
	}
	p.Data = w.kept(data)
	w.f.Packets = append(w.f.Packets, p)
	w.f.Interfaces[0].Packets++
	w.done(16 + int64(p.Caplen))
	return nil
}
