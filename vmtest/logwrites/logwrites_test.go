// SPDX-License-Identifier: GPL-2.0

package logwrites

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// image is a log or a disk made by hand.
type image []byte

func (d image) WriteAt(b []byte, off int64) (int, error) {
	if off+int64(len(b)) > int64(len(d)) {
		return 0, io.ErrShortWrite
	}
	return copy(d[off:], b), nil
}

func sector(size int, words ...uint64) image {
	s := make(image, size)
	for i, w := range words {
		binary.LittleEndian.PutUint64(s[8*i:], w)
	}
	return s
}

func super(size int, entries uint64) image {
	return sector(size, magic, version, entries, uint64(size))
}

func mark(size int, name string) image {
	s := sector(size, 0, 0, uint64(Mark), uint64(len(name)))
	copy(s[32:], name)
	return s
}

func filled(size int, b byte) image { return bytes.Repeat([]byte{b}, size) }

func joined(parts ...image) *bytes.Reader {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return bytes.NewReader(all)
}

func TestReplay(t *testing.T) {
	for _, size := range []int{512, 4096} {
		r := joined(super(size, 6),
			sector(size, 2, 2), filled(2*size, 'a'),
			mark(size, "here"),
			sector(size, 0, 0, uint64(Flush)),
			sector(size, 3, 1, uint64(FUA|Metadata)), filled(size, 'b'),
			sector(size, 1, 2, uint64(Discard)),
			mark(size, "there"))
		l, err := Read(r)
		require.NoError(t, err)
		n := int64(size)
		assert.Equal(t, []Entry{
			{Offset: 2 * n, Length: 2 * n, data: 2 * n},
			{Flags: Mark, Mark: "here", data: 5 * n},
			{Flags: Flush, data: 6 * n},
			{Flags: FUA | Metadata, Offset: 3 * n, Length: n, data: 7 * n},
			{Flags: Discard, Offset: n, Length: 2 * n, data: 9 * n},
			{Flags: Mark, Mark: "there", data: 10 * n},
		}, l.Entries)
		assert.Equal(t, 1, l.Find("here"))
		assert.Equal(t, 5, l.Find("there"))
		assert.Equal(t, -1, l.Find(""))

		disk := filled(4*size, 'x')
		states := []string{"xxaa", "xxaa", "xxaa", "xxab", "x\x00\x00b", "x\x00\x00b"}
		for i := range l.Entries {
			require.NoError(t, l.Apply(&l.Entries[i], disk))
			for j := range 4 {
				assert.Equal(t, filled(size, states[i][j]), disk[j*size:(j+1)*size], "sector %d after entry %d", j, i)
			}
		}
		require.Error(t, l.Apply(&l.Entries[0], disk[:3*size]), "a disk that is too small")
	}
}

func TestBadLogs(t *testing.T) {
	for name, r := range map[string]*bytes.Reader{
		"empty":               joined(),
		"no log":              joined(filled(512, 'x')),
		"other version":       joined(sector(512, magic, 2, 0, 512)),
		"sectors too small":   joined(sector(512, magic, version, 0, 256)),
		"sectors of 513":      joined(sector(512, magic, version, 0, 513)),
		"entry missing":       joined(super(512, 1)),
		"unknown flag":        joined(super(512, 1), sector(512, 0, 0, 32)),
		"mark too long":       joined(super(512, 1), sector(512, 0, 0, uint64(Mark), 481)),
		"mark with sectors":   joined(super(512, 1), sector(512, 0, 1, uint64(Mark))),
		"beyond every device": joined(super(512, 1), sector(512, 1<<60, 1)),
	} {
		_, err := Read(r)
		assert.Error(t, err, name)
	}
	l, err := Read(joined(super(512, 1), sector(512, 0, 2), filled(512, 'a')))
	require.NoError(t, err)
	require.ErrorIs(t, l.Apply(&l.Entries[0], make(image, 4096)), io.ErrUnexpectedEOF, "data that is cut off")
}
