// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
	"ksnif/vmtest/logwrites"
	"ksnif/vmtest/proto"
)

// fileSystem is a kind of file system that a capture file may be on.
type fileSystem struct {
	name    string
	mb      int
	mkfs    []string // without the device; discards would be logged too, and tell nothing
	options string   // of the mount: what waits is written after a second
}

func fileSystems() []fileSystem {
	return []fileSystem{
		{"ext4", 64, []string{"mkfs.ext4", "-q", "-E", "nodiscard"}, "commit=1"},
		{"xfs", 320, []string{"mkfs.xfs", "-q", "-K"}, "defaults"},
	}
}

// loggedDisk is a disk all of whose writes are logged.
type loggedDisk struct {
	*disk
	log     string // the device with the log
	removed bool
}

func newLoggedDisk(t testing.TB, fs fileSystem) *loggedDisk {
	t.Helper()
	guest.Run(t, "modprobe", "-a", "dm-mod", "dm-log-writes", "loop")
	d := &loggedDisk{
		disk: &disk{
			t: t, name: fmt.Sprintf("logged%d", os.Getpid()), Dir: t.TempDir(), loop: newLoop(t, fs.mb),
			sectors: fmt.Sprint(fs.mb << 20 >> 9),
		},
		log: newLoop(t, 256),
	}
	d.dm("create", d.name, "--table", d.table("log-writes", d.loop+" "+d.log))
	t.Cleanup(func() {
		if !d.removed {
			d.end()
		}
	})
	guest.Run(t, fs.mkfs[0], append(fs.mkfs[1:], d.device())...)
	guest.Run(t, "mount", "-t", fs.name, "-o", fs.options, d.device(), d.Dir)
	d.mounted = true
	return d
}

// mark puts a name into the log. What was flushed is before it.
func (d *loggedDisk) mark(name string) {
	d.t.Helper()
	d.dm("message", d.name, "0", "mark", name)
}

// readLog takes the disk away and reads what happened to it.
func (d *loggedDisk) readLog() *logwrites.Log {
	d.t.Helper()
	d.umount()
	d.removed = true
	d.dm("remove", "--retry", d.name)
	r, err := os.Open(d.log)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { require.NoError(d.t, r.Close()) })
	log, err := logwrites.Read(r)
	require.NoError(d.t, err)
	return log
}

// writeBackSoon has the kernel write what waits in memory after a fraction of a second: files grow between flushes.
func writeBackSoon(t testing.TB) {
	t.Helper()
	for name, value := range map[string]string{"dirty_expire_centisecs": "20", "dirty_writeback_centisecs": "10"} {
		guest.Tune(t, "/proc/sys/vm/"+name, value)
	}
}

// The mark from which on there is a file system to be read.
const mountedMark = "mounted"

// TestTorturePowerLoss captures for a while, and then looks at what the disk would have held had the power been cut
// at any moment.
func TestTorturePowerLoss(t *testing.T) {
	for _, fs := range fileSystems()[:guest.Size(1, 2)] {
		t.Run(fs.name, func(t *testing.T) {
			writeBackSoon(t)
			rnd := rand.New(rand.NewPCG(guest.Seed(t), 0))
			d := newLoggedDisk(t, fs)
			d.mark(mountedMark)
			kept := captureLogged(t, d, rnd)
			log := d.readLog()
			checkPowerLosses(t, fs, log, cuts(t, log, rnd), kept)
		})
	}
}

// captureLogged captures for ten seconds, or until there were enough flushes in between, and returns what has to be
// kept from each mark on.
func captureLogged(t testing.TB, d *loggedDisk, rnd *rand.Rand) map[string]proto.Kept {
	t.Helper()
	tr := startTraffic(t, 3)
	settings := tr.settings()
	settings.Logfile = ptr(d.file("capture"))
	c := newCapture(t, tr.rx, settings)
	c.Start()
	now := proto.Kept{Started: true, Sent: tr.sent.Load()}
	kept := map[string]proto.Kept{}
	c.waitWritten(20)
	c.overflow(d.disk)
	const flushes = 4
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end) || len(kept) < flushes; {
		c.waitWritten(20 + rnd.Uint64N(600/uint64(debugPace())))
		now.Packets = c.Stats().Captured
		c.Flush()
		name := fmt.Sprintf("flushed%d", len(kept))
		kept[name] = now
		d.mark(name)
	}
	f := c.StopRead()
	now.Packets, now.Stopped = uint64(len(f.Packets)), true
	kept["stopped"] = now
	d.mark("stopped")
	require.NotZero(t, f.Drops())
	return kept
}

// cuts are the entries of the log after which the power is cut: all after which more is durable than before, or some
// of them. The last one is always among them.
func cuts(t testing.TB, log *logwrites.Log, rnd *rand.Rand) []int {
	t.Helper()
	from := log.Find(mountedMark)
	require.GreaterOrEqual(t, from, 0, "the log's first mark")
	var all []int
	for i := from; i < len(log.Entries)-1; i++ {
		if log.Entries[i].Flags&(logwrites.Durable|logwrites.Mark) != 0 {
			all = append(all, i)
		}
	}
	require.Greater(t, len(all), 20, "moments of %d entries", len(log.Entries))
	t.Logf("%d entries, %d moments", len(log.Entries), len(all))
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	some := append(all[:guest.Size(min(30, len(all)), len(all))], len(log.Entries)-1)
	slices.Sort(some)
	return some
}

// checkPowerLosses brings a disk from one moment to the next, and reads a copy of it each time: mounting changes it.
func checkPowerLosses(t testing.TB, fs fileSystem, log *logwrites.Log, cuts []int, kept map[string]proto.Kept) {
	t.Helper()
	disk, err := os.OpenFile(filepath.Join(t.TempDir(), "disk"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.NoError(t, err)
	defer disk.Close()
	require.NoError(t, disk.Truncate(int64(fs.mb)<<20))
	dir := t.TempDir()
	dev, image := newLoopImage(t, fs.mb)
	var now proto.Kept
	var found []int
	for i := range log.Entries {
		e := &log.Entries[i]
		require.NoError(t, log.Apply(e, disk))
		if k, ok := kept[e.Mark]; ok {
			now = k
		}
		if slices.Contains(cuts, i) {
			require.NoError(t, copySparse(disk, image))
			found = append(found, checkPowerLoss(t, fs, dev, dir, now))
		}
	}
	t.Logf("packets in the file at each moment: %v", found)
}

// checkPowerLoss mounts a disk after a power cut, for as long as it reads the capture file there.
func checkPowerLoss(t testing.TB, fs fileSystem, dev, dir string, kept proto.Kept) (packets int) {
	t.Helper()
	require.NoError(t, unix.Mount(dev, dir, fs.name, 0, ""))
	defer func() { require.NoError(t, unix.Unmount(dir, 0)) }()
	return checkKept(t, filepath.Join(dir, "capture"), kept)
}

// copySparse copies what of a file is there.
func copySparse(from *os.File, to string) (err error) {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	w, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		data, err := unix.Seek(int(from.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // no more data
		}
		if err != nil {
			return fmt.Errorf("seek to data: %w", err)
		}
		if at, err = unix.Seek(int(from.Fd()), data, unix.SEEK_HOLE); err != nil {
			return fmt.Errorf("seek to hole: %w", err)
		}
		if _, err := io.Copy(io.NewOffsetWriter(w, data), io.NewSectionReader(from, data, at-data)); err != nil {
			return err
		}
	}
}
