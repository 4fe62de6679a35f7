// SPDX-License-Identifier: GPL-2.0

package pcapread

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"
)

// readBytes reads a file that is in memory.
func readBytes(b []byte, keep int) (*File, error) {
	return read(bytes.NewReader(b), int64(len(b)), keep)
}

// FuzzRead: blocks and counts of what is read fit together, and what lies before a tear is a whole file with the same
// packets. That gopacket's reader finds the same packets is checked in every read.
func FuzzRead(f *testing.F) {
	whole := join(section, description, packetBlock([]byte("hello"), 99), packetBlock([]byte("hi!!"), 4,
		counter(OptPacketDropcount, 1<<40), optEnd), statsBlock())
	f.Add(whole)
	f.Add(whole[:len(whole)-5])
	f.Add(append(bytes.Clone(whole), make([]byte, 64)...))
	f.Add(pcapFile(f, layers.LinkTypeRaw, true, "hello", "hi"))
	f.Add(pcapFile(f, layers.LinkTypeEthernet, false, "hello", "hi"))
	f.Add([]byte("no capture file"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := readBytes(b, -1)
		var torn *TornError
		switch {
		case errors.As(err, &torn):
			require.Equal(t, got.Whole, torn.Offset)
			if got.Whole > 0 {
				before, err := readBytes(b[:got.Whole], -1)
				require.NoError(t, err)
				require.Equal(t, before.Packets, got.Packets)
				require.Equal(t, before.Interfaces, got.Interfaces)
			}
		case err != nil:
			require.Nil(t, got)
			return
		default:
			require.EqualValues(t, len(b), got.Whole)
		}
		fits(t, got)
		short, _ := readBytes(b, 2)
		for i := range got.Packets {
			want := got.Packets[i]
			want.Data = want.Data[:min(2, len(want.Data))]
			require.Equal(t, want, short.Packets[i])
		}
	})
}

// fits checks what must hold for any file that was read.
func fits(t *testing.T, f *File) {
	t.Helper()
	count, drops := make([]int, len(f.Interfaces)), make([]uint64, len(f.Interfaces))
	for _, p := range f.Packets {
		require.Len(t, p.Data, p.Caplen)
		count[p.Interface]++
		drops[p.Interface] += p.Drops
	}
	for i, iface := range f.Interfaces {
		require.Equal(t, count[i], iface.Packets)
		require.Equal(t, drops[i], iface.Drops)
	}
	var end int64
	for _, b := range f.Blocks {
		require.Equal(t, end, b.Offset)
		end += int64(b.Length)
	}
	if f.Pcapng {
		require.Equal(t, end, f.Whole)
	}
}

func pcapFile(t testing.TB, link layers.LinkType, nanos bool, packets ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if nanos {
		w = pcapgo.NewWriterNanos(&b)
	}
	require.NoError(t, w.WriteFileHeader(262144, link))
	for _, s := range packets {
		require.NoError(t, w.WritePacket(captureInfo{Timestamp: when, CaptureLength: len(s), Length: 99}, []byte(s)))
	}
	return b.Bytes()
}

// FuzzWritten: what gopacket's two writers write is read as it was.
func FuzzWritten(f *testing.F) {
	f.Add([]byte("hello"), uint16(94), int64(1700000000123456789), "veth0", false)
	f.Add([]byte{}, uint16(1), int64(0), "", true)
	f.Add(make([]byte, 1500), uint16(0), int64(1)<<32, "x\x00é", true)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16, ns int64, name string, ng bool) {
		const lastPcap = 1<<32 - 1 // seconds have 32 bits there
		length := len(data) + int(cut)
		if ns < 0 || !ng && ns/1e9 > lastPcap || length == 0 || len(data) > 262144 || len(name) > 1<<16-1 {
			t.Skip("what the format has no room for")
		}
		want := Packet{Time: time.Unix(0, ns).UTC(), Caplen: len(data), Length: length, Data: append([]byte(nil), data...)}
		got, err := readBytes(written(t, want, name, ng), -1)
		require.NoError(t, err)
		fits(t, got)
		require.Equal(t, []Packet{want, want}, got.Packets)
		require.Equal(t, layers.LinkTypeEthernet, got.Interfaces[0].LinkType)
		if ng {
			require.Equal(t, name, got.Interfaces[0].Name)
		}
	})
}

// written is a file that holds the packet twice.
func written(t *testing.T, p Packet, name string, ng bool) []byte {
	t.Helper()
	var b bytes.Buffer
	ci := captureInfo{Timestamp: p.Time, CaptureLength: p.Caplen, Length: p.Length}
	if !ng {
		w := pcapgo.NewWriterNanos(&b)
		require.NoError(t, w.WriteFileHeader(262144, layers.LinkTypeEthernet))
		for range 2 {
			require.NoError(t, w.WritePacket(ci, p.Data))
		}
		return b.Bytes()
	}
	w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{
		Name: name, LinkType: layers.LinkTypeEthernet, SnapLength: 262144, TimestampResolution: 9,
	}, pcapgo.NgWriterOptions{})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, w.WritePacket(ci, p.Data))
	}
	require.NoError(t, w.Flush())
	return b.Bytes()
}
