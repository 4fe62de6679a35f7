// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/pcapread"
	"ksnif/vmtest/proto"
)

// Where the number is in a frame of numberedFrame.
const numberAt = 14 + 20 + 8

// numberedFrame is a UDP packet all of whose bytes follow from its number, its length too: no other packet, and no
// part of one, can be taken for it. It is for nobody, and ends behind the hook.
func numberedFrame(n uint64) []byte {
	x := n
	// splitmix64: quick, and every number gives other bytes
	next := func() uint64 {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return z ^ z>>31
	}
	payload := 8 + next()%1200
	frame := []byte{
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x5e, 0, 0, 0, 1, 8, 0,
		0x45, 0, 0, 0, byte(n >> 8), byte(n), 0, 0, 64, 17, 0, 0, 198, 18, 0, 2, 203, 0, 113, 1,
		0, 9, 0, 9, 0, 0, 0, 0, // no UDP checksum
	}
	be := binary.BigEndian
	be.PutUint16(frame[16:], uint16(28+payload))
	be.PutUint16(frame[38:], uint16(8+payload))
	var sum uint32
	for i := 14; i < 34; i += 2 {
		sum += uint32(be.Uint16(frame[i:]))
	}
	sum = sum&0xffff + sum>>16
	be.PutUint16(frame[24:], ^uint16(sum&0xffff+sum>>16))
	frame = be.AppendUint64(frame, n)
	for len(frame) < numberAt+int(payload) {
		frame = be.AppendUint64(frame, next())
	}
	return frame[:numberAt+payload]
}

// traffic is numbered frames that come in on a wire, from 1 on, all on one CPU.
type traffic struct {
	*wire
	sent atomic.Uint64 // the number being sent: no later one has been
	stop chan struct{}
	done chan error
}

// startTraffic sends some frames every few milliseconds until the test ends, an eighth of them on a debug kernel, and now
// and then a burst that the queue of a capture with these settings is likely to have no room for.
func startTraffic(t testing.TB, burst int) *traffic {
	t.Helper()
	tr := &traffic{wire: newWire(t, 1500), stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { tr.done <- onCPU(0, func() error { return tr.send(burst) }) }()
	t.Cleanup(func() {
		close(tr.stop)
		require.NoError(t, <-tr.done)
	})
	return tr
}

// settings are those of a capture of the traffic.
func (tr *traffic) settings() genl.Settings {
	return genl.Settings{DeviceName: &tr.dev, QueueSize: ptr[uint64](64 << 10)}
}

func (tr *traffic) send(burst int) error {
	tick := time.NewTicker(time.Duration(debugPace()) * 5 * time.Millisecond)
	defer tick.Stop()
	for i := 1; ; i++ {
		n := burst
		if i%100 == 0 {
			n = max(300, 10*burst)
		}
		for range n {
			if err := tr.sender.send(numberedFrame(tr.sent.Add(1))); err != nil {
				return err
			}
		}
		select {
		case <-tr.stop:
			return nil
		case <-tick.C:
		}
	}
}

// checkKept checks a capture file of [traffic] that a crash or a power cut has left: whole records, then nothing that
// a reader would take for one; all that was promised; no packet missing that no drop count tells of; the right bytes.
// It returns how many packets there are.
func checkKept(t testing.TB, file string, kept proto.Kept) int {
	t.Helper()
	f, whole := readTornFile(t, file, kept)
	require.GreaterOrEqual(t, len(f.Packets), int(kept.Packets), "packets in the file, and before the last flush")
	if kept.Stopped {
		require.True(t, whole, "a stopped capture's file is whole")
		require.Len(t, f.Packets, int(kept.Packets))
	}
	var last uint64
	for i := range f.Packets {
		p := &f.Packets[i]
		require.GreaterOrEqual(t, len(p.Data), numberAt+8, "packet %d", i)
		n := binary.BigEndian.Uint64(p.Data[numberAt:])
		switch {
		case i > 0:
			require.Equal(t, last+1+p.Drops, n, "packet %d: its number, behind number %d and %d drops", i, last, p.Drops)
		case kept.Started:
			require.LessOrEqual(t, n, kept.Sent+1+p.Drops, "first packet: its number, with %d drops before", p.Drops)
		}
		require.Equal(t, numberedFrame(n), p.Data, "packet %d, number %d", i, n)
		last = n
	}
	checkTcpdumpCopies(t, file, f, whole)
	return len(f.Packets)
}

// readTornFile reads what there is of a file, and says whether it is whole. There may be no file yet if nothing was
// promised of it, or nothing but zeros.
func readTornFile(t testing.TB, file string, kept proto.Kept) (f *pcapread.File, whole bool) {
	t.Helper()
	head := make([]byte, 4)
	r, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) && kept.Packets == 0 && !kept.Stopped {
		return &pcapread.File{}, false
	}
	require.NoError(t, err)
	n, _ := r.Read(head)
	require.NoError(t, r.Close())
	if n == len(head) && bytes.Equal(head, make([]byte, len(head))) {
		return &pcapread.File{}, false
	}
	f, err = pcapread.Read(file)
	var torn *pcapread.TornError
	if errors.As(err, &torn) {
		t.Logf("%v", err)
		return f, false
	}
	require.NoError(t, err)
	return f, true
}

// checkTcpdumpCopies has tcpdump copy the file: it has to find the same packets, and nothing behind them.
func checkTcpdumpCopies(t testing.TB, file string, f *pcapread.File, whole bool) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	out, err := exec.Command("tcpdump", "-Z", "root", "--time-stamp-precision=nano", "-r", file, "-w", copied).CombinedOutput()
	if whole {
		require.NoError(t, err, "tcpdump: %s", out)
	}
	if _, err := os.Stat(copied); err != nil {
		require.Empty(t, f.Packets, "tcpdump: %s", out)
		return
	}
	again, err := pcapread.Read(copied)
	require.NoError(t, err)
	require.Len(t, again.Packets, len(f.Packets), "packets that tcpdump reads")
	for i := range again.Packets {
		p, q := &f.Packets[i], &again.Packets[i]
		require.True(t, p.Time.Equal(q.Time) && bytes.Equal(p.Data, q.Data) && p.Length == q.Length,
			"packet %d is another one for tcpdump", i)
	}
}

// overflow has the queue run over: its disk takes nothing until then. A burst alone may not do, where to send takes as
// long as to write.
func (c *capture) overflow(d *disk) {
	c.T.Helper()
	thaw := d.Freeze()
	full := c.Stats().DroppedQueueFull
	eventually(c.T, "the queue is full", func() bool { return c.Stats().DroppedQueueFull > full })
	thaw()
}

// TestNumberedTraffic checks the traffic itself, and its packets in a file that nothing happened to.
func TestNumberedTraffic(t *testing.T) {
	d := newDisk(t, 16, "")
	tr := startTraffic(t, 3)
	settings := tr.settings()
	settings.Logfile = ptr(d.file("capture"))
	c := newCapture(t, tr.rx, settings)
	c.Start()
	kept := proto.Kept{Started: true, Sent: tr.sent.Load(), Stopped: true}
	c.overflow(d)
	c.waitWritten(100)
	f := c.StopRead()
	assert.NotZero(t, f.Drops(), "drops that a packet tells of")
	kept.Packets = uint64(len(f.Packets))
	checkKept(t, c.File, kept)
}
