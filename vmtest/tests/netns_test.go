// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
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

// TestTwoNamespaces captures in two namespaces at the same time, devices of the same name, and checks that each file
// has the packets of its own, and all of them.
func TestTwoNamespaces(t *testing.T) {
	const packets = 5000
	sources := []string{"198.51.100.1", "198.51.100.2"}
	var captures []*capture
	var loads []*flood
	for range sources {
		ns := guest.NewNamespace(t, "two")
		quietDummy(t, ns, "load0")
		c := newCapture(t, ns, genl.Settings{})
		c.Start()
		captures = append(captures, c)
	}
	for i, c := range captures {
		loads = append(loads, startFlood(t, c.NS, "load0", floodSpec{Count: packets, Src: sources[i], Size: 100 + i}))
	}
	for i, c := range captures {
		assert.EqualValues(t, packets, loads[i].Wait())
		f := c.StopRead()
		checkAllNumbered(t, f, packets)
		for _, p := range f.Packets {
			require.Equal(t, sources[i], net.IP(p.Data[26:30]).String(), "source address of a packet of namespace %d", i)
			require.Equal(t, 100+i, p.Length)
		}
	}
}

// TestSameFile has two namespaces ask for the same file: the second is refused, by whatever name, and the first goes on.
func TestSameFile(t *testing.T) {
	a, b := guest.NewNamespace(t, "same"), guest.NewNamespace(t, "same")
	quietDummy(t, a, "load0")
	quietDummy(t, b, "load0")
	first := newCapture(t, a, genl.Settings{DeviceName: ptr("load0")})
	second := newCapture(t, b, genl.Settings{DeviceName: ptr("load0"), Logfile: &first.File})
	first.Start()
	sendNumbered(t, a, "load0", 100)
	link := filepath.Join(filepath.Dir(first.File), "link")
	require.NoError(t, os.Link(first.File, link))
	for _, file := range []string{first.File, link} {
		second.Set(genl.Settings{Logfile: &file})
		requireRefused(t, second.Client.Start(second.ctx()), unix.EBUSY, "logfile: another capture writes it")
		assert.Equal(t, genl.StateStopped, second.Get().State)
	}
	checkAllNumbered(t, first.StopRead(), 100)
	// now nobody writes it
	second.Start()
	sendNumbered(t, b, "load0", 7)
	checkAllNumbered(t, second.StopRead(), 7)
}

// udpLoad sends datagrams from one namespace to another until it is stopped, and does not mind errors.
type udpLoad struct {
	stop atomic.Bool
	sent atomic.Uint64
	done chan error
}

// startUDP sends to an address, from a namespace. The payload is that of pktgen, so that packets are numbered.
func startUDP(t testing.TB, from *guest.Namespace, to string) *udpLoad {
	t.Helper()
	u := &udpLoad{done: make(chan error, 1)}
	go func() {
		u.done <- from.Do(func() error {
			// veth queues for each CPU: a sender that moves between them is overtaken by itself
			return pinned(0, func() error { return u.send(to) })
		})
	}()
	t.Cleanup(func() { u.stop.Store(true) })
	return u
}

func (u *udpLoad) send(to string) error {
	conn, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		return err
	}
	defer conn.Close()
	dst := &net.UDPAddr{IP: net.ParseIP(to), Port: 9}
	payload := make([]byte, 64)
	binary.BigEndian.PutUint32(payload, pktgenMagic)
	for !u.stop.Load() {
		binary.BigEndian.PutUint32(payload[4:], uint32(u.sent.Load()+1))
		if _, err := conn.WriteTo(payload, dst); err == nil {
			u.sent.Add(1)
		}
	}
	return nil
}

// pinned calls fn on one CPU.
func pinned(cpu int, fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var home, only unix.CPUSet
	if err := unix.SchedGetaffinity(0, &home); err != nil {
		return err
	}
	only.Set(cpu)
	if err := unix.SchedSetaffinity(0, &only); err != nil {
		return err
	}
	return errors.Join(fn(), unix.SchedSetaffinity(0, &home))
}

func (u *udpLoad) Stop(t testing.TB) {
	t.Helper()
	u.stop.Store(true)
	require.NoError(t, <-u.done)
}

// TestPacketsGoOn checks that packets get to whom they are for, however little of them is captured.
func TestPacketsGoOn(t *testing.T) {
	const packets = 100
	far := guest.NewNamespace(t, "far")
	_, end := guest.Veth(t, far, nil)
	conn, err := net.ListenPacket("udp4", end.IPv4+":0")
	require.NoError(t, err)
	defer conn.Close()
	for _, snaplen := range []uint32{14, 96, 1500} {
		c := newCapture(t, nil, genl.Settings{DeviceName: &end.Dev, Snaplen: &snaplen})
		c.Start()
		require.NoError(t, conn.SetDeadline(time.Now().Add(guest.Limit(10*time.Second))))
		require.NoError(t, far.Do(func() error { return sendAcross(conn, packets) }), "snaplen %d", snaplen)
		require.GreaterOrEqual(t, len(c.StopRead().Packets), packets)
	}
}

// sendAcross sends datagrams from the thread's namespace to a socket of another, each once the one before is there.
func sendAcross(to net.PacketConn, n int) error {
	from, err := net.Dial("udp4", to.LocalAddr().String())
	if err != nil {
		return err
	}
	defer from.Close()
	buf := make([]byte, 2000)
	for i := range n {
		if _, err := from.Write(buf[:1000]); err != nil {
			return fmt.Errorf("datagram %d: %w", i, err)
		}
		if _, _, err := to.ReadFrom(buf); err != nil {
			return fmt.Errorf("datagram %d: %w", i, err)
		}
	}
	return nil
}

// checkRising checks that the numbered packets among others come in the order they were sent in.
func checkRising(t testing.TB, f *pcapread.File) {
	t.Helper()
	var last uint64
	for i := range f.Packets {
		if n, err := number(&f.Packets[i]); err == nil {
			require.Greater(t, n, last)
			last = n
		}
	}
	require.NotZero(t, last, "no packet of the load is in the file")
}

// TestNamespaceDeleted deletes a namespace that captures under load. Its file is closed and whole, and the capture of
// another namespace does not notice.
func TestNamespaceDeleted(t *testing.T) {
	d := newDisk(t, 32, "")
	other, doomed := guest.NewNamespace(t, "other"), guest.NewNamespace(t, "doomed")
	_, end := guest.Veth(t, nil, doomed)
	quietDummy(t, other, "load0")
	bystander := newCapture(t, other, genl.Settings{DeviceName: ptr("load0")})
	bystander.Start()
	before := captureIn(t, doomed, d.file("capture"))
	beside := startFlood(t, other, "load0", floodSpec{Rate: 5000})
	load := startUDP(t, nil, end.IPv4)
	waitSize(t, d.file("capture"), 100_000)
	require.ErrorIs(t, unix.Unmount(d.Dir, 0), unix.EBUSY, "somebody writes there")
	guest.Run(t, "ip", "netns", "delete", doomed.Name)
	d.umountSoon()
	load.Stop(t)

	d.mount("")
	f, err := pcapread.Read(d.file("capture"))
	require.NoError(t, err)
	sum := f.Statistics()
	assert.EqualValues(t, len(f.Packets), sum.Delivered)
	assert.Equal(t, sum.Received, sum.Delivered+sum.OSDrop)
	assert.GreaterOrEqual(t, sum.Received, before.Received)
	assert.EqualValues(t, pcapread.BlockStatistics, f.Blocks[len(f.Blocks)-1].Type, "last block")
	checkRising(t, f)

	bystander.waitWritten(100)
	sent := beside.Stop()
	checkAllNumbered(t, bystander.StopRead(), sent)
}

// captureIn starts a capture in a namespace and lets go of it: an open socket would keep the namespace.
func captureIn(t testing.TB, ns *guest.Namespace, file string) *genl.Stats {
	t.Helper()
	var stats *genl.Stats
	require.NoError(t, ns.Do(func() error {
		c, err := genl.New()
		if err != nil {
			return err
		}
		defer c.Close()
		ctx := guest.Context(t, commandLimit)
		if err := c.Set(ctx, genl.Settings{Logfile: &file}); err != nil {
			return err
		}
		if err := c.Start(ctx); err != nil {
			return err
		}
		stats, err = c.Stats(ctx)
		return err
	}))
	return stats
}

func waitSize(t testing.TB, file string, n int64) {
	t.Helper()
	eventually(t, file+" grows", func() bool {
		info, err := os.Stat(file)
		require.NoError(t, err)
		return info.Size() >= n
	})
}

// TestNamespaceDeletedFrozen deletes a namespace whose capture cannot write. That holds up no other namespace, and the
// file is completed at the thaw.
func TestNamespaceDeletedFrozen(t *testing.T) {
	d := newDisk(t, 32, "")
	doomed := guest.NewNamespace(t, "doomed")
	_, end := guest.Veth(t, nil, doomed)
	captureIn(t, doomed, d.file("capture"))
	load := startUDP(t, nil, end.IPv4)
	waitSize(t, d.file("capture"), 50_000)
	thaw := d.Freeze()
	sent := load.sent.Load()
	eventually(t, "packets wait", func() bool { return load.sent.Load() > sent+1000 })
	guest.Run(t, "ip", "netns", "delete", doomed.Name)
	// its devices are gone once its teardown is done, and one thread does that for all
	eventually(t, "the namespace is gone", func() bool {
		_, err := os.Stat("/sys/class/net/" + vethOf(end))
		return os.IsNotExist(err)
	})
	later := guest.NewNamespace(t, "later")
	_, laterEnd := guest.Veth(t, nil, later)
	guest.Run(t, "ip", "netns", "delete", later.Name)
	eventually(t, "the later namespace is gone, too", func() bool {
		_, err := os.Stat("/sys/class/net/" + vethOf(laterEnd))
		return os.IsNotExist(err)
	})
	load.Stop(t)
	thaw()
	d.umountSoon()
	d.mount("")
	f, err := pcapread.Read(d.file("capture"))
	require.NoError(t, err)
	sum := f.Statistics()
	assert.EqualValues(t, len(f.Packets), sum.Delivered)
	assert.Equal(t, sum.Received, sum.Delivered+sum.OSDrop)
	checkRising(t, f)
}

// vethOf is the name of the other end.
func vethOf(e *guest.End) string { return e.Dev[:len(e.Dev)-1] + "a" }
