// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// atOnce is how long something may take that waits for nobody.
func atOnce() time.Duration { return guest.Limit(1500 * time.Millisecond) }

// inTurn is how long n requests to generic netlink may take while families register: each then waits for the commands
// that are at work, which wait two seconds in the kernel at most, on machines of all kinds.
func inTurn(n int) time.Duration { return time.Duration(n)*2*time.Second + atOnce() }

// TestTortureIsolation has a disk hang under a capture, and measures meanwhile how long others take who have nothing
// to do with it.
func TestTortureIsolation(t *testing.T) {
	t.Run("suspended", func(t *testing.T) {
		testIsolation(t, "logfile: the file system does not answer", func(d *disk) func() { return d.hangWriting("starter") })
	})
	t.Run("frozen", func(t *testing.T) {
		testIsolation(t, "logfile: the file system is frozen", func(d *disk) func() { return d.Freeze() })
	})
}

// letHang keeps the kernel from taking a disk that hangs on purpose, and for as long as the test measures, for a fault
// of its own. Whoever else hangs meanwhile is found by the limits of what is measured.
func letHang(t *testing.T) {
	t.Helper()
	guest.Tune(t, "/proc/sys/kernel/hung_task_timeout_secs", "900")
}

// hangWriting has the disk hang, and then the kernel write a file there: whoever empties that waits for it. The write may
// have to wait itself, for what it reads to find room.
func (d *disk) hangWriting(name string) (resume func()) {
	d.t.Helper()
	f, err := os.OpenFile(d.file(name), os.O_WRONLY, 0)
	require.NoError(d.t, err)
	d.Hang()
	done := make(chan error, 1)
	go func() {
		err := unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE)
		done <- errors.Join(err, f.Close())
	}()
	return func() {
		d.Resume()
		assert.NoError(d.t, <-done)
	}
}

// testIsolation makes the disk hang, upon which a start there is refused for that reason.
func testIsolation(t *testing.T, reason string, begin func(d *disk) (end func())) {
	letHang(t)
	d := newDisk(t, 32, "")
	bystander := newPlace(t)
	doomed := guest.NewNamespace(t, "doomed")
	_, doomedEnd := guest.Veth(t, nil, doomed)
	captureIn(t, doomed, d.file("doomed"))
	// a file that has not reached the disk yet
	starter := newCapture(t, guest.NewNamespace(t, "starter"), genl.Settings{Logfile: ptr(d.file("starter"))})
	require.NoError(t, os.WriteFile(starter.File, make([]byte, 300_000), 0o600))
	hung := newCapture(t, guest.NewNamespace(t, "hung"), genl.Settings{
		DeviceName: ptr("load0"), Logfile: ptr(d.file("hung")), QueueSize: ptr[uint64](128 << 10),
	})
	quietDummy(t, hung.NS, "load0")
	hung.Start()
	load := startFlood(t, hung.NS, "load0", floodSpec{Rate: 2000})
	hung.waitWritten(100)
	t.Cleanup(func() { // once the hang has ended: to ask before could hang, too
		if t.Failed() {
			hung.tell()
		}
	})

	h := newHang(t, hung, begin(d), bystander)
	h.measure("full queue", false)
	requireRefused(t, starter.Client.Start(starter.ctx()), unix.EBUSY, reason)
	h.ask(starter.netlink("start"), starter.netlink("set"), starter.netlink("stop"), starter.procfs("start"))
	h.ask(hung.netlink("flush"), hung.procfs("flush"), hung.netlink("start"), hung.netlink("set"))
	h.measure("flush and start", true)
	h.End()

	require.Equal(t, failure{}, failureOf(hung.Get()), "a hang is no error")
	hung.waitWritten(100)
	h = newHang(t, hung, begin(d), bystander)
	seen := load.Stop()
	h.within(atOnce(), "stop", "rename the device", func() error {
		_, err := hung.NS.Try("sh", "-euc", "ip link set load0 down; ip link set load0 name load1; ip link set load1 up")
		return err
	})
	h.ask(hung.netlink("stop"), hung.netlink("restart"), hung.netlink("restart"), hung.procfs("restart"))
	require.NoError(t, doomed.Do(func() error { return sendDatagrams(20, 100) }))
	h.within(guest.Limit(5*time.Second), "stop", "delete the capture's namespace", func() error {
		return deleteNamespace(t, doomed, vethOf(doomedEnd))
	})
	h.measure("stop and restart", true)
	require.Equal(t, genl.StateStopping, hung.Get().State, "the disk hangs until now")
	h.End()

	hung.Stop()
	f := hung.Read()
	hung.CheckBooks(f)
	checkAllNumbered(t, f, seen)
	starter.Stop()
	d.umountSoon()
	d.mount("")
	checkDelivered(t, d.file("doomed"), 20)
	d.umount()
	quietDummy(t, hung.NS, "load0")
	hung.checkNextStart("load0")
	starter.File = hung.File + ".starter"
	starter.Set(genl.Settings{Logfile: &starter.File})
	starter.Start()
	starter.Stop()
}

// tell logs what the capture has come to. The test's own context is over by the time of a cleanup.
func (c *capture) tell() {
	ctx, cancel := context.WithTimeout(context.Background(), guest.Limit(commandLimit))
	defer cancel()
	got, err := c.Client.Get(ctx)
	stats, serr := c.Client.Stats(ctx)
	c.T.Logf("the capture whose disk hung: %+v, %+v (%v)", got, stats, errors.Join(err, serr))
}

// checkDelivered checks the file of a capture whose namespace is gone.
func checkDelivered(t testing.TB, file string, packets int) {
	t.Helper()
	f, err := pcapread.Read(file)
	require.NoError(t, err)
	sum := f.Statistics()
	assert.GreaterOrEqual(t, len(f.ByName("lo")), packets)
	assert.EqualValues(t, len(f.Packets), sum.Delivered)
	assert.Equal(t, sum.Received, sum.Delivered+sum.OSDrop)
}

// deleteNamespace returns when the namespace is torn down: its devices are gone by then.
func deleteNamespace(t testing.TB, ns *guest.Namespace, dev string) error {
	if _, err := guest.Try("ip", "netns", "delete", ns.Name); err != nil {
		return err
	}
	eventually(t, ns.Name+" is gone", func() bool {
		_, err := os.Stat("/sys/class/net/" + dev)
		return os.IsNotExist(err)
	})
	return nil
}

// hang is the time in which a disk answers nobody.
type hang struct {
	t         *testing.T
	bystander *place
	end       func()
	over      chan struct{} // closed at the end
	busy      sync.WaitGroup
}

// newHang returns when the hang is felt: the hook finds the queue full, and goes on to count.
func newHang(t *testing.T, c *capture, end func(), bystander *place) *hang {
	t.Helper()
	h := &hang{t: t, bystander: bystander, end: end, over: make(chan struct{})}
	t.Cleanup(h.End)
	c.netlink("flush")() // or the page cache may take all that is written, and the disk not be missed
	before := c.Stats().DroppedQueueFull
	eventually(t, "the queue is full", func() bool { return c.Stats().DroppedQueueFull > before })
	full := c.Stats()
	eventually(t, "packets go on to be received", func() bool { return c.Stats().Received > full.Received+500 })
	return h
}

// End ends the hang, and waits for all who asked meanwhile.
func (h *hang) End() {
	if h.end == nil {
		return
	}
	close(h.over)
	h.end()
	h.end = nil
	h.busy.Wait()
}

// ask repeats commands until the end, each on its own. It is the time that they take which matters, not their answers:
// those that are answered at once rest on a debug kernel, or they would take the processors from what is measured.
func (h *hang) ask(commands ...func()) {
	for _, command := range commands {
		h.busy.Add(1)
		go func() {
			defer h.busy.Done()
			for {
				begin := time.Now()
				command()
				pause := time.Duration(0)
				if guest.Debug() {
					pause = 20*time.Millisecond - time.Since(begin)
				}
				select {
				case <-h.over:
					return
				case <-time.After(pause):
				}
			}
		}()
	}
}

// netlink is a command, asked once: unlike the client, it is not patient.
func (c *capture) netlink(command string) func() {
	c.T.Helper()
	var raw *rawConn
	require.NoError(c.T, c.NS.Do(func() (err error) { raw, err = dialRaw(); return err }))
	c.T.Cleanup(func() { assert.NoError(c.T, raw.Close()) })
	var number uint8
	for n, name := range requestNames {
		if name == command {
			number = n
		}
	}
	var attrs [][]byte
	if command == "set" {
		attrs = append(attrs, attrU32(genl.AttrCaptureSnaplen, 1000))
	}
	return func() { _, _ = raw.command(number, attrs...) }
}

// procfs is the same without netlink's lock.
func (c *capture) procfs(command string) func() { return func() { _ = c.answer(command) } }

// measure has others go about their business, each of them in its time. With families that come and go meanwhile,
// what uses generic netlink has to wait its turn.
func (h *hang) measure(when string, registering bool) {
	h.t.Helper()
	turns := func(n int) time.Duration {
		if registering {
			return inTurn(n)
		}
		return atOnce()
	}
	h.within(turns(1), when, "load a module with a family", try("modprobe", "macsec"))
	h.within(turns(1), when, "remove it", try("modprobe", "-r", "macsec"))
	stop := make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- register(stop, registering) }()
	h.within(atOnce(), when, "ip link add", try("ip", "link", "add", "isolated0", "type", "dummy"))
	h.within(atOnce(), when, "ip link set name", try("ip", "link", "set", "isolated0", "name", "isolated1"))
	h.within(atOnce(), when, "ip link delete", try("ip", "link", "delete", "isolated1"))
	h.within(atOnce(), when, "ip netns add", try("ip", "netns", "add", "isolated"))
	h.within(atOnce(), when, "ip netns delete", try("ip", "netns", "delete", "isolated"))
	h.within(turns(1), when, "ask for a family", getFamily)
	h.within(turns(4), when, "ethtool", try("ethtool", "-k", "lo"))
	h.within(turns(4), when, "another capture", func() error { return oneCapture(h.bystander) })
	close(stop)
	require.NoError(h.t, <-ended)
}

// register has a family come and go until stop.
func register(stop <-chan struct{}, on bool) error {
	for on {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := errors.Join(try("modprobe", "macsec")(), try("modprobe", "-r", "macsec")()); err != nil {
			return err
		}
	}
	return nil
}

func try(name string, args ...string) func() error {
	return func() error { _, err := guest.Try(name, args...); return err }
}

// getFamily asks the controller of generic netlink for itself.
func getFamily() error {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.GetFamily("nlctrl")
	return err
}

// oneCapture captures ten packets.
func oneCapture(p *place) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Client.Start(ctx); err != nil {
		return err
	}
	err := errors.Join(p.NS.Do(func() error { return sendDatagrams(10, 100) }), p.Client.Flush(ctx), p.Client.Stop(ctx))
	s, serr := p.Client.Stats(ctx)
	if err == nil && serr == nil && s.Written != 10 {
		err = fmt.Errorf("not 10 packets written: %+v", *s)
	}
	return errors.Join(err, serr)
}

// within says how long fn took, and ends the test if that is longer than its limit; this ends the hang, too.
func (h *hang) within(limit time.Duration, when, what string, fn func() error) {
	h.t.Helper()
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- fn() }()
	select {
	case err := <-done:
		h.t.Logf("%s: %s: %s of %s", when, what, time.Since(begin).Round(time.Millisecond), limit)
		require.NoError(h.t, err, "%s: %s", when, what)
	case <-time.After(limit):
		h.t.Fatalf("%s: %s: not after %s", when, what, limit)
	}
}
