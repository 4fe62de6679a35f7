// SPDX-License-Identifier: GPL-2.0

// Package logwrites reads what the device mapper's log-writes target logged, and writes it anew to another device, up
// to any point: what a disk can hold after a power cut there.
//
// The log's first sector describes it; entries follow, each a sector that says what was done and, for a write, the
// sectors that were written. A write is in the log from the flush on that made it durable, or at once with FUA.
package logwrites

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Flags say what an entry is.
type Flags uint64

// The flags of an entry. One without any is a write that a later flush made durable.
const (
	Flush    Flags = 1 << iota // the disk's cache was flushed
	FUA                        // a write that went past the cache
	Discard                    // the sectors were given up
	Mark                       // a name that somebody put into the log
	Metadata                   // the write was of a file system's metadata
)

// Durable are the flags of entries that change what survives a power cut.
const Durable = Flush | FUA

// The log's head, and that of each entry. All is little-endian.
const (
	magic   = 0x6a736677736872
	version = 1

	superSize = 28
	entrySize = 32
	maxSector = 64 << 10
)

// Entry is an entry of the log.
type Entry struct {
	Flags  Flags
	Offset int64  // of what was written or discarded, in bytes
	Length int64  // in bytes; 0 for a mark and a mere flush
	Mark   string // the name, for a mark

	data int64 // where in the log the written bytes are
}

// Log is a log.
type Log struct {
	Entries []Entry

	r io.ReaderAt
}

// Read reads all entries of a log. The written bytes stay where they are until Apply.
func Read(r io.ReaderAt) (*Log, error) {
	super := make([]byte, superSize)
	if _, err := r.ReadAt(super, 0); err != nil {
		return nil, fmt.Errorf("log's head: %w", err)
	}
	le := binary.LittleEndian
	if m, v := le.Uint64(super), le.Uint64(super[8:]); m != magic || v != version {
		return nil, fmt.Errorf("no log of this kind: magic number %#x, version %d", m, v)
	}
	n, sector := le.Uint64(super[16:]), int64(le.Uint32(super[24:]))
	if sector < 512 || sector > maxSector || sector&(sector-1) != 0 {
		return nil, fmt.Errorf("log's head: sectors of %d bytes", sector)
	}
	l := &Log{r: r}
	head := make([]byte, sector)
	at := sector
	for i := range n {
		if _, err := r.ReadAt(head, at); err != nil {
			return nil, fmt.Errorf("entry %d of %d: %w", i, n, err)
		}
		at += sector
		e, err := entry(head, at)
		if err != nil {
			return nil, fmt.Errorf("entry %d of %d: %w", i, n, err)
		}
		if e.Flags&Discard == 0 {
			at += e.Length
		}
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

// entry reads the sector that describes an entry; data is where the next one starts.
func entry(head []byte, data int64) (Entry, error) {
	le := binary.LittleEndian
	first, count, sector := le.Uint64(head), le.Uint64(head[8:]), uint64(len(head))
	e := Entry{Flags: Flags(le.Uint64(head[16:])), data: data}
	if e.Flags&^(Flush|FUA|Discard|Mark|Metadata) != 0 {
		return e, fmt.Errorf("unknown flags %#x", uint64(e.Flags))
	}
	const limit = 1 << 62
	if first > limit/sector || count > limit/sector {
		return e, fmt.Errorf("%d sectors from %d on", count, first)
	}
	e.Offset, e.Length = int64(first*sector), int64(count*sector)
	if e.Flags&Mark != 0 {
		n := le.Uint64(head[24:])
		if n > sector-entrySize || count != 0 {
			return e, fmt.Errorf("mark of %d bytes and %d sectors", n, count)
		}
		e.Mark = string(head[entrySize : entrySize+n])
	}
	return e, nil
}

// Apply does to a disk what the entry says was done. What was discarded is zero.
func (l *Log) Apply(e *Entry, disk io.WriterAt) error {
	var from io.Reader = io.NewSectionReader(l.r, e.data, e.Length)
	if e.Flags&Discard != 0 {
		from = io.LimitReader(zeros{}, e.Length)
	}
	n, err := io.Copy(io.NewOffsetWriter(disk, e.Offset), from)
	if err == nil && n != e.Length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("replay %d bytes at %d: %w", e.Length, e.Offset, err)
	}
	return nil
}

// zeros reads as zeros without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// Find returns the index of the first entry with that mark, or -1.
func (l *Log) Find(mark string) int {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Flags&Mark != 0 && e.Mark == mark {
			return i
		}
	}
	return -1
}
