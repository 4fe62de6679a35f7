// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// checkStreams checks each CPU's packets of one of several captures of a flood: numbers rise by one, but for drops. It
// moves first to where the next capture may begin.
func checkStreams(t testing.TB, packets []pcapread.Packet, seen map[string]uint64) {
	t.Helper()
	for src, stream := range bySource(packets) {
		first, err := number(&stream[0])
		require.NoError(t, err)
		require.Greater(t, first-stream[0].Drops, seen[src.String()], "%s: first number of this capture", src)
		seen[src.String()] = checkNumbers(t, stream, first-1-stream[0].Drops)
	}
}

// TestTortureStartStop starts and stops again and again while packets come in on all CPUs and on two kinds of devices.
func TestTortureStartStop(t *testing.T) {
	far := guest.NewNamespace(t, "far")
	other, end := guest.Veth(t, far, nil)
	quietDummy(t, nil, "load0")
	crew := newCrew(t)
	random := crew.random("cycles")
	c := newCapture(t, nil, genl.Settings{})
	load := startFlood(t, nil, "load0", floodSpec{Rate: 4000, CPUs: 2})
	newFeeder(t, far, other.Dev, end.NS.MAC(t, end.Dev), 1).feed(crew)
	seen, drops, viaVeth := map[string]uint64{}, uint64(0), 0
	for cycle := range guest.Size(50, 300) {
		queue := uint64(genl.QueueSizeMin) << random.IntN(6)
		c.Set(genl.Settings{QueueSize: &queue})
		c.Start()
		for range random.IntN(4) {
			c.waitWritten(uint64(random.IntN(200)))
			if random.IntN(3) == 0 {
				c.Restart()
			} else {
				c.Flush()
			}
		}
		c.waitWritten(uint64(1 + random.IntN(300)))
		f := c.StopRead()
		checkStreams(t, f.ByName("load0"), seen)
		// the device sends a few of its own accord as well, which are all that a short capture may see
		packets := slices.DeleteFunc(f.ByName(end.Dev), func(p pcapread.Packet) bool {
			_, err := number(&p)
			return err != nil
		})
		if len(packets) > 0 {
			checkRising(t, &pcapread.File{Packets: packets})
			viaVeth += len(packets)
		}
		require.False(t, t.Failed(), "cycle %d", cycle)
		drops += c.Stats().DroppedQueueFull
	}
	assert.Len(t, seen, 2, "CPUs that packets came in on")
	assert.NotZero(t, viaVeth, "packets over veth")
	t.Logf("%d packets over veth, %d found the queue full", viaVeth, drops)
	crew.Stop()
	load.Stop()
	c.Set(genl.Settings{DeviceName: ptr("load0")})
	c.checkNextStart("load0")
}

// absent are the errors of who asks for something that is not there, or is going. The last is a dump's, of a module
// that is being removed.
var absent = []error{unix.ENOENT, genl.ErrNotLoaded, unix.EPROTONOSUPPORT}

// hammer gives commands as fast as it can, with a connection that it makes anew now and then.
func hammer(ctx context.Context, r *rand.Rand) error {
	c, err := genl.New()
	if err != nil {
		return expectedError(err, absent...)
	}
	defer c.Close()
	for range 1 + r.IntN(50) {
		switch r.IntN(8) {
		case 0:
			err = c.Stop(ctx)
		case 1:
			err = c.Restart(ctx)
		case 2:
			_, err = c.Get(ctx)
		case 3:
			_, err = counters(ctx, c)
		case 4:
			_, err = c.StatsPerCPU(ctx)
			err = expectedError(err, genl.ErrDumpInterrupted)
		default:
			err = c.Start(ctx)
		}
		if err = expectedError(raceErrors(err), absent...); err != nil {
			return err
		}
	}
	return nil
}

// useProcfs reads the status, and writes a command now and then. EIO is procfs's for a file that is being removed.
func useProcfs(_ context.Context, r *rand.Rand) error {
	may := []error{unix.ENOENT, unix.EIO}
	if r.IntN(4) > 0 {
		b, err := os.ReadFile(procFile("status"))
		if err == nil && !strings.Contains(string(b), "state") {
			err = errors.New("status without a state: " + string(b))
		}
		return expectedError(err, may...)
	}
	commands := []string{"start", "stop", "flush", "restart", "snaplen 100"}
	err := os.WriteFile(procFile("control"), []byte(commands[r.IntN(len(commands))]), 0)
	return expectedError(raceErrors(err), may...)
}

// TestTortureLoad loads and removes the module again and again while packets come in, and while others command it as
// fast as they can: from before it is there until after it is gone.
func TestTortureLoad(t *testing.T) {
	const file, autoload = "/var/log/ksnif.pcapng", "/proc/sys/kernel/modprobe"
	helper, err := os.ReadFile(autoload)
	require.NoError(t, err)
	guest.Run(t, "modprobe", "-r", "ksnif")
	quietDummy(t, nil, "load0")
	load := startFlood(t, nil, "load0", floodSpec{Rate: 3000, CPUs: 2})
	t.Cleanup(func() {
		assert.NoError(t, os.WriteFile(autoload, helper, 0))
		if guest.Loaded() {
			guest.Unload(t)
		}
		guest.Load(t)
		assert.NoError(t, os.RemoveAll(file))
	})
	crew := newCrew(t)
	crew.Go("hammer 0", hammer)
	crew.Go("hammer 1", hammer)
	crew.Go("procfs", useProcfs)
	whole := 0
	for cycle := range guest.Size(10, 60) {
		// in every other cycle who asks for the family has the kernel load the module, too
		by := helper
		if cycle%2 == 0 {
			by = []byte("/bin/false\n")
		}
		require.NoError(t, os.WriteFile(autoload, by, 0))
		loadBusy(t)
		crew.Work(guest.Limit(time.Duration(crew.random(t.Name()).IntN(200)) * time.Millisecond))
		unloadBusy(t)
		if cycle%2 == 0 {
			require.False(t, guest.Loaded(), "cycle %d", cycle)
			whole += checkUnloaded(t, file)
		}
	}
	crew.Stop()
	load.Stop()
	assert.NotZero(t, whole, "packets in the files")
	require.NoError(t, os.WriteFile(autoload, helper, 0))
	if guest.Loaded() { // the last who asked had it loaded once more, and may have left a capture running
		guest.Unload(t)
	}
	loadBusy(t)
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	c.checkNextStart("load0")
}

// loadBusy loads the module, unless somebody who asked for the family was faster.
func loadBusy(t testing.TB) {
	t.Helper()
	if out, err := guest.Try("modprobe", "ksnif"); err != nil {
		require.Contains(t, out, "File exists")
		require.True(t, guest.Loaded())
	}
}

// unloadBusy removes the module while others use it: they may hold it for a moment, or have removed it.
func unloadBusy(t testing.TB) {
	t.Helper()
	guest.Poll(t, time.Minute, "rmmod", func() bool {
		out, err := guest.Try("rmmod", "ksnif")
		if err != nil {
			require.Regexp(t, "in use|not currently loaded|temporarily unavailable", out)
		}
		return err == nil
	})
}

// checkUnloaded checks the file that an unload ended: it is whole, and its statistics agree with it. It returns how
// many packets it has.
func checkUnloaded(t testing.TB, file string) int {
	t.Helper()
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		return 0 // nobody's start came in between
	}
	f, err := pcapread.Read(file)
	require.NoError(t, err)
	checkSums(t, f)
	checkStreams(t, f.ByName("load0"), map[string]uint64{})
	return len(f.Packets)
}

// checkSums checks a file whose capture nobody can ask any more, whatever packets it has: it ends with its statistics,
// and these agree.
func checkSums(t testing.TB, f *pcapread.File) {
	t.Helper()
	sum := f.Statistics()
	require.EqualValues(t, len(f.Packets), sum.Delivered, "isb_usrdeliv = packets in the file")
	require.Equal(t, sum.Received, sum.Delivered+sum.OSDrop, "isb_ifrecv = isb_usrdeliv + isb_osdrop")
	require.LessOrEqual(t, f.Drops(), sum.OSDrop, "drop counts of records")
	require.NotEmpty(t, f.Blocks)
	require.EqualValues(t, pcapread.BlockStatistics, f.Blocks[len(f.Blocks)-1].Type, "last block")
}
