// SPDX-License-Identifier: GPL-2.0

package pcapread

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var when = time.Unix(1700000000, 123456789).UTC()

// ngBlock makes a block of words; ngOptions makes options of code and value.
func ngBlock(typ uint32, body []byte) []byte {
	n := uint32(len(body) + 12)
	b := le.AppendUint32(le.AppendUint32(nil, typ), n)
	return le.AppendUint32(append(b, body...), n)
}

func words(list ...uint32) []byte {
	var b []byte
	for _, v := range list {
		b = le.AppendUint32(b, v)
	}
	return b
}

func option(code uint16, value []byte) []byte {
	b := le.AppendUint16(le.AppendUint16(nil, code), uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func counter(code uint16, v uint64) []byte { return option(code, le.AppendUint64(nil, v)) }

func stamp() (hi, lo uint32) {
	ns := uint64(when.UnixNano())
	return uint32(ns >> 32), uint32(ns)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var (
	optEnd      = option(0, nil)
	section     = ngBlock(blockSection, join(words(byteOrderMagic, 1, 0xffffffff, 0xffffffff), option(OptSectionOS, []byte("Linux")), optEnd))
	description = ngBlock(BlockInterface, join(words(1, 262144), option(OptIfName, []byte("veth0")), option(OptIfTsresol, []byte{9}), optEnd))
)

func packetBlock(data []byte, length int, options ...[]byte) []byte {
	hi, lo := stamp()
	padded := append(append([]byte(nil), data...), make([]byte, -len(data)&3)...)
	return ngBlock(BlockPacket, join(words(0, hi, lo, uint32(len(data)), uint32(length)), padded, join(options...)))
}

func statsBlock() []byte {
	hi, lo := stamp()
	return ngBlock(BlockStatistics, join(words(0, hi, lo), option(OptStatsEndTime, words(hi, lo)), counter(OptStatsIfRecv, 9),
		counter(OptStatsIfDrop, 8), counter(OptStatsAccept, 7), counter(OptStatsOSDrop, 6), counter(OptStatsDelivered, 5), optEnd))
}

func save(t *testing.T, parts ...[]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, join(parts...), 0o600))
	return path
}

func TestReadPcapng(t *testing.T) {
	f, err := Read(save(t, section, description, packetBlock([]byte("hello"), 99),
		packetBlock([]byte("hi!!"), 4, counter(OptPacketDropcount, 1<<40), optEnd), statsBlock()))
	require.NoError(t, err)
	assert.True(t, f.Pcapng)
	assert.Equal(t, f.Size, f.Whole)
	require.Len(t, f.Packets, 2)
	assert.Equal(t, Packet{Time: when, Length: 99, Caplen: 5, Data: []byte("hello")}, f.Packets[0])
	assert.Equal(t, uint64(1<<40), f.Packets[1].Drops)
	assert.Equal(t, uint64(1<<40), f.Drops())
	require.Len(t, f.Interfaces, 1)
	i := f.Interfaces[0]
	assert.Equal(t, "veth0", i.Name)
	assert.Equal(t, layers.LinkTypeEthernet, i.LinkType)
	assert.EqualValues(t, 9, i.Resolution)
	assert.Equal(t, 2, i.Packets)
	require.NotNil(t, i.Stats)
	s := *i.Stats
	s.Options = nil
	want := Statistics{Time: when, EndTime: when, Received: 9, IfDropped: 8, FilterAccept: 7, OSDrop: 6, Delivered: 5}
	assert.Equal(t, want, s)
	assert.Equal(t, want, f.Statistics())
	assert.Len(t, f.ByName("veth0"), 2)
	assert.Empty(t, f.ByName("veth1"))
	var types []uint32
	for _, b := range f.Blocks {
		types = append(types, b.Type)
	}
	assert.Equal(t, []uint32{BlockSection, BlockInterface, BlockPacket, BlockPacket, BlockStatistics}, types)
}

func TestReadPrefix(t *testing.T) {
	f, err := ReadPrefix(save(t, section, description, packetBlock([]byte("hello"), 99)), 2)
	require.NoError(t, err)
	assert.Equal(t, []byte("he"), f.Packets[0].Data)
	assert.Equal(t, 5, f.Packets[0].Caplen)
}

// Every cut of a file but those between blocks is torn, and what lies before the tear is there.
func TestTorn(t *testing.T) {
	one, two := packetBlock([]byte("hello"), 99), packetBlock([]byte("hi!!"), 4)
	whole := join(section, description, one, two)
	ends := map[int]int{len(section): 0, len(section) + len(description): 0, len(whole) - len(two): 1, len(whole): 2}
	for n := 1; n <= len(whole); n++ {
		f, err := Read(save(t, whole[:n]))
		if packets, ok := ends[n]; ok {
			require.NoError(t, err, n)
			assert.Len(t, f.Packets, packets)
			continue
		}
		var torn *TornError
		require.ErrorAs(t, err, &torn, n)
		assert.Equal(t, torn.Offset, f.Whole)
		assert.Contains(t, append([]int{0}, len(section), len(section)+len(description), len(whole)-len(two)), int(torn.Offset))
	}
}

func TestGarbage(t *testing.T) {
	good := packetBlock([]byte("hello"), 99)
	badPadding := bytes.Clone(good)
	badPadding[8+20+5] = 1
	badEnd := bytes.Clone(good)
	badEnd[len(badEnd)-4]++
	hi, lo := stamp()
	for name, tail := range map[string][]byte{
		"zeros":           make([]byte, 64),
		"a byte":          {1},
		"padding":         badPadding,
		"end length":      badEnd,
		"no such device":  ngBlock(BlockPacket, words(1, hi, lo, 0, 0)),
		"longer data":     ngBlock(BlockPacket, words(0, hi, lo, 5, 5, 0)),
		"options open":    packetBlock([]byte("hi!!"), 4, counter(OptPacketDropcount, 1)),
		"options go on":   packetBlock([]byte("hi!!"), 4, optEnd, optEnd),
		"option too long": packetBlock([]byte("hi!!"), 4, []byte{4, 0, 9, 0}, optEnd),
		"short block":     ngBlock(BlockPacket, words(0, hi, lo, 0)),
		"another section": section,
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Read(save(t, section, description, good, tail))
			var torn *TornError
			require.ErrorAs(t, err, &torn)
			assert.EqualValues(t, len(section)+len(description)+len(good), torn.Offset)
			assert.Len(t, f.Packets, 1)
		})
	}
	_, err := Read(save(t, []byte("no capture file")))
	require.Error(t, err)
	require.NotErrorAs(t, err, new(*TornError))
}

func TestReadPcap(t *testing.T) {
	var b bytes.Buffer
	w := pcapgo.NewWriterNanos(&b)
	require.NoError(t, w.WriteFileHeader(262144, layers.LinkTypeRaw))
	for _, s := range []string{"hello", "hi"} {
		require.NoError(t, w.WritePacket(captureInfo{Timestamp: when, CaptureLength: len(s), Length: 99}, []byte(s)))
	}
	f, err := Read(save(t, b.Bytes()))
	require.NoError(t, err)
	assert.False(t, f.Pcapng)
	assert.True(t, f.Nanosec)
	assert.EqualValues(t, 262144, f.Snaplen)
	assert.Equal(t, layers.LinkTypeRaw, f.Interfaces[0].LinkType)
	require.Len(t, f.Packets, 2)
	assert.Equal(t, Packet{Time: when, Length: 99, Caplen: 5, Data: []byte("hello")}, f.Packets[0])

	for _, tail := range []string{"x", string(make([]byte, 16)), string(make([]byte, 32))} {
		f, err := Read(save(t, b.Bytes(), []byte(tail)))
		var torn *TornError
		require.ErrorAs(t, err, &torn)
		assert.Len(t, f.Packets, 2)
	}
}
