// SPDX-License-Identifier: GPL-2.0

// Package pcapread reads capture files for tests: the packets with gopacket's pcapgo, and the blocks around them with
// a small walker of its own, for what pcapgo does not show (drop counts, all statistics options, the order of blocks)
// or does not mind (a torn end, padding that is not zero). The two readings have to agree.
package pcapread

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// File is what a capture file holds.
type File struct {
	Pcapng     bool
	Size       int64 // of the file
	Whole      int64 // bytes up to the end of the last whole block or record
	Snaplen    uint32
	Nanosec    bool // pcap: time stamps are in nanoseconds
	Section    []Option
	Interfaces []Interface // in the order of their blocks; one without a name in a pcap file
	Packets    []Packet
	Blocks     []Block // pcapng: all blocks, in order
}

// Packet is a captured packet.
type Packet struct {
	Time      time.Time
	Interface int // index into File.Interfaces
	Length    int // of the packet on the wire
	Caplen    int // of what was captured of it
	Data      []byte
	Drops     uint64 // drop count of the block, 0 if it has none
	Options   []Option
}

// Interface is an interface description block and what later blocks say about the interface.
type Interface struct {
	Name       string
	LinkType   layers.LinkType
	Snaplen    uint32
	Resolution byte // if_tsresol; 6 if the block does not say
	Options    []Option
	Packets    int         // number of packets of the interface in the file
	Drops      uint64      // sum of their drop counts
	Stats      *Statistics // from the last interface statistics block, nil if there is none
}

// Statistics is an interface statistics block. Options which are not there are in none of the fields: see Options.
type Statistics struct {
	Time         time.Time
	EndTime      time.Time
	Received     uint64 // isb_ifrecv
	IfDropped    uint64 // isb_ifdrop
	FilterAccept uint64 // isb_filteraccept
	OSDrop       uint64 // isb_osdrop
	Delivered    uint64 // isb_usrdeliv
	Options      []Option
}

// TornError says that the file does not end with a whole block or record. What Read returns with it is what lies
// before.
type TornError struct {
	Offset int64 // where the first invalid byte is
	Reason string
}

func (e *TornError) Error() string { return fmt.Sprintf("torn at byte %d: %s", e.Offset, e.Reason) }

// Read reads a pcapng or pcap file. The error is a [TornError], together with what lies before the tear, if the file
// is not whole.
func Read(path string) (*File, error) { return ReadPrefix(path, -1) }

// ReadPrefix is Read, but keeps only the first n bytes of each packet's data; for captures larger than memory.
func ReadPrefix(path string, n int) (*File, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return nil, err
	}
	f, err := read(r, info.Size(), n)
	if err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// read reads a file of that size, first with the walkers of this package, then with pcapgo.
func read(r io.ReadSeeker, size int64, keep int) (*File, error) {
	f := &File{Size: size}
	walkErr := f.walk(r, keep)
	var torn *TornError
	if walkErr != nil && !errors.As(walkErr, &torn) {
		return nil, walkErr
	}
	if err := f.confirm(r); err != nil {
		return nil, err
	}
	return f, walkErr
}

// walk reads the file with the walkers of this package.
func (f *File) walk(r io.Reader, keep int) error {
	w := &walker{r: bufio.NewReaderSize(r, 64<<10), size: f.Size, keep: keep, f: f}
	magic, err := w.r.Peek(4)
	if err != nil {
		return &TornError{Offset: 0, Reason: "no file header"}
	}
	switch binary.LittleEndian.Uint32(magic) {
	case blockSection:
		f.Pcapng = true
		return w.pcapng()
	case pcapMagicNano, pcapMagicMicro:
		return w.pcap()
	}
	return fmt.Errorf("not a capture file: it starts with % x", magic)
}

// reader is what pcapgo's two readers have in common, plus the number of the interface.
type reader interface {
	ReadPacketData() ([]byte, captureInfo, error)
}

// confirm reads the whole part of the file again with pcapgo, and compares.
func (f *File) confirm(r io.ReadSeeker) error {
	if f.Whole == 0 {
		return nil
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	src, err := f.pcapgo(bufio.NewReaderSize(io.LimitReader(r, f.Whole), 64<<10))
	if err != nil {
		return fmt.Errorf("pcapgo: %w", err)
	}
	for i := range f.Packets {
		data, ci, err := src.ReadPacketData()
		if err != nil {
			return fmt.Errorf("pcapgo: packet %d of %d: %w", i, len(f.Packets), err)
		}
		if err := f.Packets[i].same(data, ci); err != nil {
			return fmt.Errorf("pcapgo reads packet %d otherwise: %w", i, err)
		}
	}
	if _, _, err := src.ReadPacketData(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("pcapgo reads more than %d packets: %w", len(f.Packets), err)
	}
	if ng, ok := src.(*pcapgo.NgReader); ok {
		return f.sameInterfaces(ng)
	}
	return nil
}

func (f *File) pcapgo(r io.Reader) (reader, error) {
	if f.Pcapng {
		return pcapgo.NewNgReader(r, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	}
	src, err := pcapgo.NewReader(r)
	if err == nil && src.LinkType() != f.Interfaces[0].LinkType {
		err = fmt.Errorf("link type %s, not %s", src.LinkType(), f.Interfaces[0].LinkType)
	}
	return src, err
}

func (p *Packet) same(data []byte, ci captureInfo) error {
	switch {
	case !ci.Timestamp.Equal(p.Time):
		return fmt.Errorf("time %s, not %s", ci.Timestamp, p.Time)
	case ci.InterfaceIndex != p.Interface:
		return fmt.Errorf("interface %d, not %d", ci.InterfaceIndex, p.Interface)
	case ci.Length != p.Length || ci.CaptureLength != p.Caplen || len(data) != p.Caplen:
		return fmt.Errorf("lengths %d, %d and %d, not %d and %d", ci.Length, ci.CaptureLength, len(data), p.Length, p.Caplen)
	case string(data[:len(p.Data)]) != string(p.Data):
		return errors.New("other bytes")
	}
	return nil
}

func (f *File) sameInterfaces(ng *pcapgo.NgReader) error {
	if ng.NInterfaces() != len(f.Interfaces) {
		return fmt.Errorf("pcapgo reads %d interfaces, not %d", ng.NInterfaces(), len(f.Interfaces))
	}
	for i := range f.Interfaces {
		mine := &f.Interfaces[i]
		got, err := ng.Interface(i)
		if err != nil {
			return fmt.Errorf("pcapgo: interface %d: %w", i, err)
		}
		if got.Name != mine.Name || got.LinkType != mine.LinkType || got.SnapLength != mine.Snaplen ||
			byte(got.TimestampResolution) != mine.Resolution {
			return fmt.Errorf("pcapgo reads interface %d as %+v, not %+v", i, got, mine)
		}
		if mine.Stats != nil && got.Statistics.PacketsReceived != mine.Stats.Received {
			return fmt.Errorf("pcapgo reads %d packets received by interface %d, not %d", got.Statistics.PacketsReceived, i, mine.Stats.Received)
		}
	}
	return nil
}

// ByName returns the packets of all interfaces of that name, in the file's order.
func (f *File) ByName(name string) []Packet {
	var list []Packet
	for _, p := range f.Packets {
		if f.Interfaces[p.Interface].Name == name {
			list = append(list, p)
		}
	}
	return list
}

// Drops is the sum of all drop counts in packet blocks.
func (f *File) Drops() uint64 {
	var sum uint64
	for i := range f.Interfaces {
		sum += f.Interfaces[i].Drops
	}
	return sum
}

// Statistics is the sum of the statistics blocks of all interfaces; times are those of the last.
func (f *File) Statistics() Statistics {
	var sum Statistics
	for i := range f.Interfaces {
		s := f.Interfaces[i].Stats
		if s == nil {
			continue
		}
		sum.Time, sum.EndTime = s.Time, s.EndTime
		sum.Received += s.Received
		sum.IfDropped += s.IfDropped
		sum.FilterAccept += s.FilterAccept
		sum.OSDrop += s.OSDrop
		sum.Delivered += s.Delivered
	}
	return sum
}
