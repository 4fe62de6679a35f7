// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// mix is a capture on which all kinds of things go on at the same time. Its workers may not use the testing.TB.
type mix struct {
	*capture
	runs     atomic.Uint64 // captures that were checked
	packets  atomic.Uint64 // in their files
	noMemory atomic.Uint64 // packets that a capture had no memory for
}

// mayFail are the errors of commands while memory is short and others give commands, too. A pcap file of any device
// is an invalid combination.
func mayFail(err error) error { return expectedError(raceErrors(err), unix.ENOMEM, unix.EINVAL) }

// TestTortureMixed does everything at once: traffic that comes and goes, settings that change, readers, starts and
// stops, a CPU that comes and goes, memory that is short and allocations that fail. Each capture in it is checked; at
// the end, too, that nothing has grown.
func TestTortureMixed(t *testing.T) {
	guest.NeedsDebug(t)
	guest.Run(t, "modprobe", "pktgen") // while all CPUs are there: it has a thread for each
	far := guest.NewNamespace(t, "far")
	other, end := guest.Veth(t, far, nil)
	quietDummy(t, nil, "load0")
	m := &mix{capture: newCapture(t, nil, genl.Settings{})}
	faulty := failAllocations(t, 1)
	t.Cleanup(func() { assert.NoError(t, online(true)) })
	crew := newCrew(t)
	m.commands(crew)
	crew.Go("cpu", hotplug)
	crew.Go("memory", shortenMemory)
	hastenRCU(t)
	// on the CPU that stays
	newFeeder(t, far, other.Dev, end.NS.MAC(t, end.Dev), 0).feed(crew)
	usage := m.traffic(crew, guest.Size(time.Minute, 10*time.Minute))
	crew.Stop()
	require.NoError(t, online(true))
	faulty()

	t.Logf("%d captures with %d packets; %d packets found no memory", m.runs.Load(), m.packets.Load(), m.noMemory.Load())
	assert.NotZero(t, m.runs.Load())
	assert.NotZero(t, m.packets.Load())
	if faultsReachHook() {
		assert.NotZero(t, m.noMemory.Load(), "faults that hit the hook")
	}
	checkFlat(t, usage)
	require.NoError(t, m.Client.Stop(m.ctx()))
	checkEquations(t, m.Stats())
	m.Set(genl.Settings{
		DeviceName: ptr("load0"), Format: ptr(genl.FormatPcapng), IO: ptr(genl.IOBuffered), Family: ptr(genl.IPFamilyInet),
		Snaplen: ptr[uint32](0),
	})
	m.checkNextStart("load0")
}

// met says whether all of it came together by now: captures, packets, and packets that found no memory.
func (m *mix) met() bool {
	return m.runs.Load() > 0 && m.packets.Load() > 0 && (!faultsReachHook() || m.noMemory.Load() > 0)
}

// traffic has packets come in for five seconds of six, until the time is over; up to three times as long if on a slow
// machine too little has happened by then. It returns how much memory was in use in the pauses.
func (m *mix) traffic(crew *crew, d time.Duration) (usage []memory) {
	m.T.Helper()
	random := crew.random("traffic")
	begin := time.Now()
	for crew.ctx.Err() == nil {
		spent := time.Since(begin)
		if spent >= d && len(usage) >= flatRounds && (m.met() || spent >= 3*d) {
			break
		}
		load := startFlood(m.T, nil, "load0", floodSpec{
			CPUs: 2, Rate: 160 << random.IntN(6), Size: 60 + random.IntN(1400),
		})
		crew.Work(5 * time.Second)
		load.Stop()
		crew.Work(500 * time.Millisecond)
		usage = append(usage, memoryInUse(m.T))
		crew.Work(500 * time.Millisecond)
	}
	return usage
}

// commands starts the workers that use the module.
func (m *mix) commands(crew *crew) {
	file := m.File
	worker := func(name string, step func(ctx context.Context, c *genl.Client, r *rand.Rand) error) {
		c, err := genl.New()
		require.NoError(m.T, err)
		m.T.Cleanup(func() { assert.NoError(m.T, c.Close()) })
		crew.Go(name, func(ctx context.Context, r *rand.Rand) error { return step(ctx, c, r) })
	}
	worker("starter", func(ctx context.Context, c *genl.Client, r *rand.Rand) error { return m.run(ctx, c, r, file) })
	worker("settings", func(ctx context.Context, c *genl.Client, r *rand.Rand) error {
		rest(ctx, time.Duration(r.IntN(50))*time.Millisecond)
		return mayFail(c.Set(ctx, randomSettings(r)))
	})
	for i := range 2 {
		worker(fmt.Sprintf("reader %d", i), m.look)
	}
	crew.Go("procfs", func(ctx context.Context, _ *rand.Rand) error {
		rest(ctx, 10*time.Millisecond)
		_, err := os.ReadFile(procFile("status"))
		return expectedError(err, unix.ENOMEM)
	})
}

// look reads what there is to be read of a capture.
func (m *mix) look(ctx context.Context, c *genl.Client, r *rand.Rand) error {
	rest(ctx, time.Duration(r.IntN(20))*time.Millisecond)
	var err error
	switch r.IntN(3) {
	case 0:
		_, err = c.Get(ctx)
	case 1:
		_, err = c.StatsPerCPU(ctx)
		err = expectedError(err, genl.ErrDumpInterrupted)
	default:
		_, err = counters(ctx, c)
	}
	return mayFail(err)
}

// randomSettings are some settings, all of them allowed.
func randomSettings(r *rand.Rand) genl.Settings {
	pick := func(names ...string) *string { return &names[r.IntN(len(names))] }
	var s genl.Settings
	switch r.IntN(6) {
	case 0:
		s.DeviceName = pick("any", "load0")
	case 1:
		s.Family = ptr([]genl.IPFamily{genl.IPFamilyInet, genl.IPFamilyIP, genl.IPFamilyIP6}[r.IntN(3)])
	case 2:
		s.QueueSize = ptr(uint64(genl.QueueSizeMin) << r.IntN(8))
	case 3:
		s.Format = ptr([]genl.Format{genl.FormatPcapng, genl.FormatPcapng, genl.FormatPcap}[r.IntN(3)])
	case 4:
		s.IO = ptr([]genl.IO{genl.IOBuffered, genl.IOBuffered, genl.IODiscard}[r.IntN(3)])
	default:
		s.Snaplen = ptr(uint32(42+8) + r.Uint32N(1500))
	}
	return s
}

// run is a capture from start to stop, with what may happen in between. It checks the books, and the file.
func (m *mix) run(ctx context.Context, c *genl.Client, r *rand.Rand, file string) error {
	rest(ctx, time.Duration(r.IntN(50))*time.Millisecond)
	began := time.Now()
	if err := c.Start(ctx); err != nil {
		return mayFail(err)
	}
	for range r.IntN(4) {
		rest(ctx, time.Duration(r.IntN(300))*time.Millisecond)
		if r.IntN(2) == 0 {
			if err := c.Flush(ctx); err != nil {
				return err
			}
			continue
		}
		began = time.Now()
		if err := c.Restart(ctx); err != nil {
			return mayFail(err)
		}
	}
	rest(ctx, time.Duration(r.IntN(300))*time.Millisecond)
	// the end of the test must not leave a capture unchecked
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), guest.Limit(commandLimit))
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		return err
	}
	return m.checkRun(ctx, c, began, file)
}

func (m *mix) checkRun(ctx context.Context, c *genl.Client, began time.Time, file string) error {
	s, err := counters(ctx, c)
	if err != nil {
		return err
	}
	if s.Queued != 0 || s.Received != s.Filtered+s.Captured+s.DroppedQueueFull+s.DroppedNoMemory ||
		s.Captured != s.Written+s.DroppedWrite+s.Discarded || s.DroppedWrite != 0 {
		return fmt.Errorf("the books do not balance: %+v", *s)
	}
	m.runs.Add(1)
	m.noMemory.Add(s.DroppedNoMemory)
	if s.Written == 0 {
		return nil
	}
	f, err := pcapread.ReadPrefix(file, 64)
	if err != nil {
		return err
	}
	m.packets.Add(uint64(len(f.Packets)))
	if uint64(len(f.Packets)) != s.Written {
		return fmt.Errorf("%d packets in the file, %d written", len(f.Packets), s.Written)
	}
	if f.Pcapng && f.Statistics().Received != s.Received {
		return fmt.Errorf("the file says %d packets were received, the counters %d", f.Statistics().Received, s.Received)
	}
	return inOrder(f.Packets, began, time.Now())
}

// hotplug takes the second CPU away, and gives it back.
func hotplug(ctx context.Context, r *rand.Rand) error {
	for _, on := range []bool{false, true} {
		rest(ctx, time.Duration(100+r.IntN(900))*time.Millisecond)
		if err := online(on); err != nil {
			return err
		}
	}
	return nil
}

func online(on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	return os.WriteFile("/sys/devices/system/cpu/cpu1/online", []byte(value), 0)
}

// hastenRCU has those who wait for RCU not wait for its turn, until the end of the test: where a CPU comes and goes and
// packets come in all the time, a stop took 40 seconds on a debug kernel, and two captures were all there was in a minute.
func hastenRCU(t testing.TB) {
	t.Helper()
	guest.Tune(t, "/sys/kernel/rcu_expedited", "1")
}

// minFree is how much memory the kernel keeps for those who cannot wait, in KB.
const minFree = "/proc/sys/vm/min_free_kbytes"

// shortenMemory leaves the kernel little memory to give away for a moment. Taking the memory would do the same, but on
// a debug kernel takes a minute, in which nothing else happens.
func shortenMemory(ctx context.Context, r *rand.Rand) (err error) {
	const leave = 64 << 10
	rest(ctx, time.Duration(r.IntN(3000))*time.Millisecond)
	before, err := os.ReadFile(minFree)
	if err != nil {
		return err
	}
	free, err := meminfo("MemFree")
	if err != nil {
		return err
	}
	if free < 2*leave {
		return errors.New("memory runs out")
	}
	defer func() { err = errors.Join(err, os.WriteFile(minFree, before, 0)) }()
	if err := os.WriteFile(minFree, []byte(fmt.Sprint(free-leave)), 0); err != nil {
		return err
	}
	rest(ctx, time.Duration(r.IntN(2000))*time.Millisecond)
	return nil
}
