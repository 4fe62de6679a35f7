// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/pcapread"
)

// continues checks the packets of one of several captures of one flood: numbers rise by one, but for drops. Which
// number is the first is not said. It returns first and last.
func continues(t testing.TB, f *pcapread.File) (first, last uint64) {
	t.Helper()
	require.NotEmpty(t, f.Packets)
	first, err := number(&f.Packets[0])
	require.NoError(t, err)
	return first, checkNumbers(t, f.Packets, first-1-f.Packets[0].Drops)
}

// TestStartStopCycles starts and stops, and restarts, under a flood that goes on all the time.
func TestStartStopCycles(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	load := startFlood(t, nil, "load0", floodSpec{Rate: 10000})
	var end uint64
	for i := range 10 {
		c.Start()
		c.waitWritten(200)
		if i%2 == 1 {
			c.Flush()
			c.Restart()
			assert.Equal(t, genl.StateRunning, c.Get().State)
			c.waitWritten(100)
		}
		f := c.StopRead()
		first, last := continues(t, f)
		assert.Greater(t, first, end, "cycle %d", i)
		end = last
		s := c.Stats()
		assert.Equal(t, s.Received-uint64(len(f.Packets))-f.Drops(), s.DroppedQueueFull-f.Drops(), "lost behind the last record")
	}
	load.Stop()
}

// TestFlushKeeps unplugs the disk right after a flush: everything that was sent before is on it.
func TestFlushKeeps(t *testing.T) { testKeeps(t, func(c *capture) { c.Flush() }) }

// TestStopKeeps does the same after a stop.
func TestStopKeeps(t *testing.T) { testKeeps(t, func(c *capture) { c.Stop() }) }

func testKeeps(t *testing.T, keep func(c *capture)) {
	const packets = 3000
	d := newDisk(t, 16, "")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: ptr(d.file("capture"))})
	c.Start()
	sendNumbered(t, nil, "load0", packets)
	keep(c)
	s := c.Stats()
	d.Unplug()
	require.EqualValues(t, packets, s.Received)
	require.EqualValues(t, packets, s.Written)
	if c.Get().State == genl.StateRunning {
		sendNumbered(t, nil, "load0", 100)
		c.Stop()
	}
	d.umount()
	d.Heal()
	d.mount("")
	f, err := pcapread.Read(c.File)
	if err != nil {
		require.ErrorAs(t, err, new(*pcapread.TornError)) // behind what was flushed, anything may be
	}
	require.GreaterOrEqual(t, len(f.Packets), packets)
	checkNumbers(t, f.Packets[:packets], 0)
	d.umount()
}

// TestUmountAfterStop unmounts as soon as stop has answered, several times: a file that is closed a little later is
// closed too late.
func TestUmountAfterStop(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	for i := range 8 {
		dir := tmpfs(t, "1m")
		c.Set(genl.Settings{Logfile: ptr(filepath.Join(dir, "capture"))})
		c.Start()
		err := c.Client.Stop(c.ctx())
		uerr := unix.Unmount(dir, 0)
		require.NoError(t, err)
		require.NoError(t, uerr, "unmount %d", i)
	}
}

// TestRecordAppears sends single packets and looks how long it takes until they are in the file, which nobody flushes.
func TestRecordAppears(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	c.Start()
	var took []time.Duration
	for n := 1; n <= 7; n++ {
		sendNumbered(t, nil, "load0", 1)
		var f *pcapread.File
		eventually(t, "the record appears", func() bool {
			f, _ = pcapread.Read(c.File)
			return f != nil && len(f.Packets) == n
		})
		took = append(took, time.Since(f.Packets[n-1].Time))
	}
	c.Stop()
	slices.Sort(took)
	t.Logf("%s", took)
	// one or two may have met a machine that was busy elsewhere
	assert.Less(t, took[len(took)/2], time.Second)
}

// TestSnaplenWhileRunning changes snaplen under a running capture.
func TestSnaplenWhileRunning(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Snaplen: ptr[uint32](100)})
	c.Start()
	var want []int
	for _, snaplen := range []uint32{100, 60, 0, 200, 1} {
		c.Set(genl.Settings{Snaplen: &snaplen})
		require.EqualValues(t, 10, startFlood(t, nil, "load0", floodSpec{Count: 10, Size: 500}).Wait())
		keep := int(snaplen)
		if keep == 0 {
			keep = 500
		}
		want = append(want, slices.Repeat([]int{keep}, 10)...)
	}
	f := c.StopRead()
	var got []int
	for _, p := range f.Packets {
		assert.Equal(t, 500, p.Length)
		got = append(got, p.Caplen)
	}
	assert.Equal(t, want, got)
}

// TestCounters checks that stop keeps the counters, that start and restart zero them, and that others do neither.
func TestCounters(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	c.Start()
	zero := genl.Stats{Name: "default"}
	assert.Equal(t, zero, *c.Stats())
	sendNumbered(t, nil, "load0", 30)
	c.Flush()
	want := genl.Stats{Name: "default", Received: 30, Captured: 30, Written: 30}
	assert.Equal(t, want, *c.Stats())
	c.Stop()
	assert.Equal(t, want, *c.Stats(), "stop keeps them")
	c.Stop()
	c.Set(genl.Settings{Snaplen: ptr[uint32](99)})
	assert.Equal(t, want, *c.Stats(), "a second stop and a set keep them")
	checkPerCPU(t, c)
	c.Start()
	assert.Equal(t, zero, *c.Stats(), "start zeroes them")
	sendNumbered(t, nil, "load0", 5)
	c.Restart()
	assert.Equal(t, zero, *c.Stats(), "restart zeroes them")
	c.Stop()
}

// checkPerCPU checks that the CPUs' counters add up.
func checkPerCPU(t testing.TB, c *capture) {
	t.Helper()
	list, err := c.StatsPerCPU(c.ctx())
	require.NoError(t, err)
	var sum genl.Stats
	for _, s := range list {
		sum.Received += s.Received
		sum.Captured += s.Captured
	}
	all := c.Stats()
	assert.Equal(t, all.Received, sum.Received)
	assert.Equal(t, all.Captured, sum.Captured)
}

// TestDiscard captures without a file.
func TestDiscard(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), IO: ptr(genl.IODiscard)})
	c.Start()
	load := startFlood(t, nil, "load0", floodSpec{Count: 20000})
	sent := load.Wait()
	c.Flush()
	c.Stop()
	s := c.Stats()
	checkEquations(t, s)
	assert.Equal(t, sent, s.Received)
	assert.NotZero(t, s.Discarded)
	assert.Equal(t, s.Captured, s.Discarded)
	assert.Zero(t, s.Written)
	assert.Zero(t, c.Get().FileSize)
	_, err := os.Stat(c.File)
	assert.ErrorIs(t, err, os.ErrNotExist)
	c.Set(genl.Settings{IO: ptr(genl.IOBuffered)})
	c.checkNextStart("load0")
}

// TestConcurrentStops has many ask for the end at once: all of them get it.
func TestConcurrentStops(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	events := c.listen()
	load := startFlood(t, nil, "load0", floodSpec{Rate: 10000})
	c.Start()
	expect(t, events, genl.EventStarted)
	c.waitWritten(500)
	errs := make(chan error, 8)
	var ready sync.WaitGroup
	ready.Add(cap(errs))
	for range cap(errs) {
		client, err := genl.New()
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, client.Close()) })
		ctx := c.ctx()
		go func() {
			ready.Done()
			ready.Wait()
			err := client.Stop(ctx)
			if got, gerr := client.Get(ctx); err == nil && (gerr != nil || got.State != genl.StateStopped) {
				err = assert.AnError // it said too early that all is done
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		assert.NoError(t, <-errs)
	}
	c.Ended = time.Now()
	expect(t, events, genl.EventStopped)
	f := c.Read()
	c.CheckBooks(f)
	c.CheckTimes(f)
	continues(t, f)
	load.Stop()
	c.checkNextStart("load0")
	expect(t, events, genl.EventSettingsChanged) // and not a second end
}

// TestCountersInOrder reads the counters all the time under load: none falls, and none is ahead of one that is counted
// before it.
func TestCountersInOrder(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), QueueSize: ptr[uint64](genl.QueueSizeMin)})
	c.Start()
	load := startFlood(t, nil, "load0", floodSpec{})
	var last genl.Stats
	for range 300 {
		s := *c.Stats()
		require.LessOrEqual(t, s.Written+s.Discarded+s.DroppedWrite, s.Captured, "%+v", s)
		require.LessOrEqual(t, s.Captured+s.DroppedQueueFull+s.DroppedNoMemory+s.Filtered, s.Received, "%+v", s)
		require.GreaterOrEqual(t, s.Received, last.Received)
		require.GreaterOrEqual(t, s.Captured, last.Captured)
		require.GreaterOrEqual(t, s.Written, last.Written)
		require.GreaterOrEqual(t, s.DroppedQueueFull, last.DroppedQueueFull)
		last = s
	}
	load.Stop()
	require.NotZero(t, last.Written)
	f := c.StopRead()
	continues(t, f)
}

// TestFileIsWatched waits as tail -f does: the kernel tells who watches the file that it has grown.
func TestFileIsWatched(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	c.Start()
	c.Flush() // the header is written
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	require.NoError(t, err)
	defer unix.Close(fd)
	watch, err := unix.InotifyAddWatch(fd, c.File, unix.IN_MODIFY)
	require.NoError(t, err)
	sendNumbered(t, nil, "load0", 10)
	c.Flush()
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	require.NoError(t, err, "nothing was told")
	require.GreaterOrEqual(t, n, unix.SizeofInotifyEvent)
	assert.EqualValues(t, watch, binary.NativeEndian.Uint32(buf))
	assert.EqualValues(t, unix.IN_MODIFY, binary.NativeEndian.Uint32(buf[4:]))
	c.Stop()
}
