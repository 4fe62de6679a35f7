// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// doomed is a network namespace with a capture, to be deleted.
type doomed struct {
	ns     *guest.Namespace
	near   *guest.End // of its pair, not in it
	end    *guest.End // in it
	file   string
	before *genl.Stats // when packets waited to be written
}

func newDoomed(t testing.TB, file string) *doomed {
	t.Helper()
	d := &doomed{ns: guest.NewNamespace(t, "doomed"), file: file}
	d.near, d.end = guest.Veth(t, nil, d.ns)
	captureIn(t, d.ns, file)
	return d
}

// awaitQueue waits until packets wait in the capture's queue.
func (d *doomed) awaitQueue(t testing.TB) {
	t.Helper()
	eventually(t, "packets wait", func() bool {
		require.NoError(t, d.ns.Do(func() error {
			c, err := genl.New()
			if err != nil {
				return err
			}
			defer c.Close()
			d.before, err = c.Stats(guest.Context(t, commandLimit))
			return err
		}))
		return d.before.Queued > 0 && d.before.Written > 0
	})
}

// check checks the file that is left of it.
func (d *doomed) check(t testing.TB) {
	t.Helper()
	f, err := pcapread.Read(d.file)
	require.NoError(t, err)
	checkSums(t, f)
	sum := f.Statistics()
	assert.GreaterOrEqual(t, sum.Received, d.before.Received)
	assert.GreaterOrEqual(t, sum.Delivered, d.before.Written)
	assert.GreaterOrEqual(t, sum.Delivered+sum.OSDrop, d.before.Written+d.before.Queued)
	checkRising(t, f)
	require.NoError(t, os.Remove(d.file))
}

// block keeps captures from writing to the disk, in one of several ways, until the returned function is called.
func block(d *disk, r *rand.Rand) (how string, unblock func()) {
	d.t.Helper()
	switch r.IntN(3) {
	case 0:
		return "frozen", d.Freeze()
	case 1:
		d.Hang()
		return "stuck", d.Resume
	}
	d.SlowDown(100)
	return "slow", d.Heal
}

// TestTortureNamespaces deletes network namespaces that capture while packets wait to be written, some of them while
// the module is removed and loaded again. All of them go at once, and their files are whole.
func TestTortureNamespaces(t *testing.T) {
	const together = 4
	d := newDisk(t, 64, "sync") // every write waits for the disk
	random := newCrew(t).random("namespaces")
	for round := range guest.Size(20, 100) / together {
		crew := newCrew(t)
		var all []*doomed
		for i := range together {
			all = append(all, newDoomed(t, d.file(fmt.Sprintf("%d-%d", round, i))))
		}
		for _, n := range all {
			newFeeder(t, nil, n.near.Dev, n.ns.MAC(t, n.end.Dev), 0).feed(crew)
		}
		for _, n := range all {
			waitSize(t, n.file, 1000)
		}
		how, unblock := block(d, random)
		for _, n := range all {
			n.awaitQueue(t)
		}
		reload := random.IntN(2) == 0
		deleteAll(t, all, reload, unblock)
		crew.Stop()
		t.Logf("round %d: %s disk, module removed meanwhile: %t", round, how, reload)
		d.umountSoon()
		d.mount("sync")
		for _, n := range all {
			n.check(t)
		}
	}
	d.umount()
	quietDummy(t, nil, "load0")
	newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")}).checkNextStart("load0")
}

// deleteAll deletes the namespaces side by side, and has the module removed and loaded meanwhile, if so asked. They are
// gone before their captures can write again.
func deleteAll(t testing.TB, all []*doomed, reload bool, unblock func()) {
	t.Helper()
	done := make(chan error, len(all)+1)
	for _, n := range all {
		go func() {
			_, err := guest.Try("ip", "netns", "delete", n.ns.Name)
			done <- err
		}()
	}
	go func() {
		if !reload {
			done <- nil
			return
		}
		_, err := guest.Try("sh", "-euc", "rmmod ksnif; modprobe ksnif")
		done <- err
	}()
	for _, n := range all {
		eventually(t, "the namespace is gone", func() bool {
			_, err := os.Stat(filepath.Join("/sys/class/net", n.near.Dev))
			return os.IsNotExist(err)
		})
	}
	unblock()
	for range cap(done) {
		require.NoError(t, <-done)
	}
}
