// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// checkTwice checks a file with two interface blocks of one name, each with a flood of its own: the second was cut
// off by nothing, the first by what happened to its device.
func checkTwice(t testing.TB, f *pcapread.File, name string, second uint64) {
	t.Helper()
	require.Len(t, f.Interfaces, 2)
	for i := range f.Interfaces {
		iface := &f.Interfaces[i]
		assert.Equal(t, name, iface.Name, "interface %d", i)
		var packets []pcapread.Packet
		for _, p := range f.Packets {
			if p.Interface == i {
				packets = append(packets, p)
			}
		}
		last := checkNumbers(t, packets, 0)
		assert.Equal(t, iface.Stats.Received-last, iface.Stats.OSDrop-iface.Drops, "interface %d: lost behind its last record", i)
	}
	assert.NotZero(t, f.Interfaces[0].Packets)
	assert.Equal(t, second, f.Interfaces[1].Stats.Received)
}

// TestDeviceRemoved removes the captured device under load, has another one of the name come, and checks that it is
// captured, as an interface of its own.
func TestDeviceRemoved(t *testing.T) {
	for _, name := range []string{"load0", "any"} {
		t.Run(name, func(t *testing.T) {
			quietDummy(t, nil, "load0")
			c := newCapture(t, nil, genl.Settings{DeviceName: &name})
			events := c.listen()
			c.Start()
			expect(t, events, genl.EventStarted)
			load := startFlood(t, nil, "load0", floodSpec{})
			c.waitWritten(500)
			guest.Run(t, "ip", "link", "delete", "load0")
			assert.Zero(t, load.Wait(), "pktgen has forgotten the device")
			if name != "any" {
				assert.Equal(t, name, expect(t, events, genl.EventDeviceGone).DeviceName)
				assert.Equal(t, genl.StateRunning, c.Get().State)
			}
			quietDummy(t, nil, "load0")
			if name != "any" {
				assert.Equal(t, name, expect(t, events, genl.EventDeviceBack).DeviceName)
			}
			sendNumbered(t, nil, "load0", 100)
			f := c.StopRead()
			expect(t, events, genl.EventStopped)
			checkTwice(t, f, "load0", 100)
			c.checkNextStart("load0")
			guest.Run(t, "ip", "link", "delete", "load0")
		})
	}
}

// TestStartWithoutDevice checks that a capture whose device is gone stops, does not start, and starts again with the
// device.
func TestStartWithoutDevice(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	c.Start()
	sendNumbered(t, nil, "load0", 10)
	guest.Run(t, "ip", "link", "delete", "load0")
	f := c.StopRead()
	checkAllNumbered(t, f, 10)
	before := c.Stats()
	requireRefused(t, c.Client.Start(c.ctx()), unix.ENODEV, "device_name: no such device")
	assert.Equal(t, genl.StateStopped, c.Get().State)
	assert.Equal(t, before, c.Stats(), "a refused start resets no counter")
	assert.Equal(t, f, c.Read(), "a refused start leaves the file alone")
	quietDummy(t, nil, "load0")
	c.checkNextStart("load0")
}

// TestDeviceRenamed renames the captured device, and gives its name to another one. The capture stays with the device.
func TestDeviceRenamed(t *testing.T) {
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	events := c.listen()
	c.Start()
	expect(t, events, genl.EventStarted)
	load := startFlood(t, nil, "load0", floodSpec{Rate: 5000})
	c.waitWritten(500)
	rename(t, "load0", "other0") // down and up again, which ends the flood
	load.dev = "other0"
	seen := load.Wait()
	sendNumbered(t, nil, "other0", 100)
	quietDummy(t, nil, "load0")
	sendNumbered(t, nil, "load0", 50) // a stranger, whatever its name

	// the name is taken when the device goes: that is none that comes
	guest.Run(t, "ip", "link", "delete", "other0")
	assert.Equal(t, "load0", expect(t, events, genl.EventDeviceGone).DeviceName)
	sendNumbered(t, nil, "load0", 50)
	rename(t, "load0", "other0")
	rename(t, "other0", "load0")
	assert.Equal(t, "load0", expect(t, events, genl.EventDeviceBack).DeviceName)
	sendNumbered(t, nil, "load0", 70)

	f := c.StopRead()
	expect(t, events, genl.EventStopped)
	require.Len(t, f.Interfaces, 2)
	assert.Equal(t, "load0", f.Interfaces[0].Name)
	assert.Equal(t, "load0", f.Interfaces[1].Name)
	assert.Equal(t, seen+100, f.Interfaces[0].Stats.Received)
	assert.EqualValues(t, 70, f.Interfaces[1].Stats.Received)
	checkSessions(t, f.Packets)
	c.checkNextStart("load0")
}

// rename gives a device another name. Not all kernels do that to one that is up.
func rename(t testing.TB, from, to string) {
	t.Helper()
	guest.Run(t, "ip", "link", "set", from, "down")
	guest.Run(t, "ip", "link", "set", from, "name", to)
	t.Cleanup(func() { _, _ = guest.Try("ip", "link", "delete", to) })
	quietUp(t, nil, to)
}

// checkSessions checks the packets of several floods, one after the other: each begins anew with number 1.
func checkSessions(t testing.TB, packets []pcapread.Packet) {
	t.Helper()
	from := 0
	for i := range packets {
		n, err := number(&packets[i])
		require.NoError(t, err)
		if n == 1 {
			checkNumbers(t, packets[from:i], 0)
			from = i
		}
	}
	checkNumbers(t, packets[from:], 0)
}

// TestDeviceMoved moves the captured device to another network namespace, under load, and back.
func TestDeviceMoved(t *testing.T) {
	far := guest.NewNamespace(t, "far")
	quietDummy(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	events := c.listen()
	c.Start()
	expect(t, events, genl.EventStarted)
	load := startFlood(t, nil, "load0", floodSpec{})
	c.waitWritten(500)
	guest.Run(t, "ip", "link", "set", "load0", "netns", far.Name)
	assert.Zero(t, load.Wait(), "pktgen has forgotten the device")
	expect(t, events, genl.EventDeviceGone)
	quietUp(t, far, "load0")
	sendNumbered(t, far, "load0", 50) // not here
	far.Run(t, "ip", "link", "set", "load0", "netns", "1")
	expect(t, events, genl.EventDeviceBack)
	quietUp(t, nil, "load0")
	sendNumbered(t, nil, "load0", 100)
	f := c.StopRead()
	expect(t, events, genl.EventStopped)
	checkTwice(t, f, "load0", 100)
	c.checkNextStart("load0")
}

// TestDeviceType changes the type of the captured device, as a tun allows. What comes then is of another interface: the
// old one's link type is in the file.
func TestDeviceType(t *testing.T) {
	const rawIP = 519 // ARPHRD_RAWIP
	tun := newTun(t, nil, "load0")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	events := c.listen()
	c.Start()
	expect(t, events, genl.EventStarted)
	send := func(n int) {
		for i := range n {
			require.NoError(t, tun.send(numberedFrame(uint64(i))[etherHeader:]))
		}
	}
	send(5)
	rename(t, "load0", "other0")
	guest.Run(t, "ip", "link", "set", "other0", "down")
	require.NoError(t, unix.IoctlSetInt(tun.fd, unix.TUNSETLINK, rawIP))
	guest.Run(t, "ip", "link", "set", "other0", "up")
	send(7)
	f := c.StopRead()
	expect(t, events, genl.EventStopped) // it never was gone
	require.Len(t, f.Interfaces, 2)
	assert.EqualValues(t, 5, f.Interfaces[0].Packets)
	assert.EqualValues(t, 7, f.Interfaces[1].Packets)
}

// TestDeviceOtherName captures a device by an alternative name, which it has again when it comes back.
func TestDeviceOtherName(t *testing.T) {
	quietDummy(t, nil, "load0")
	guest.Run(t, "ip", "link", "property", "add", "dev", "load0", "altname", "an-alternative-name-of-load0")
	guest.Run(t, "ip", "link", "property", "add", "dev", "load0", "altname", "lan")
	c := newCapture(t, nil, genl.Settings{DeviceName: ptr("lan")})
	events := c.listen()
	c.Start()
	expect(t, events, genl.EventStarted)
	sendNumbered(t, nil, "load0", 20)
	away := guest.NewNamespace(t, "away")
	guest.Run(t, "ip", "link", "set", "load0", "netns", away.Name)
	expect(t, events, genl.EventDeviceGone)
	away.Run(t, "ip", "link", "set", "load0", "netns", "1")
	expect(t, events, genl.EventDeviceBack)
	guest.Run(t, "ip", "link", "set", "load0", "up")
	sendNumbered(t, nil, "load0", 30)
	f := c.StopRead()
	require.Len(t, f.Interfaces, 2)
	assert.Equal(t, "load0", f.Interfaces[0].Name)
	assert.EqualValues(t, 20, f.Interfaces[0].Packets)
	assert.EqualValues(t, 30, f.Interfaces[1].Packets)
}

// TestModuleRemoved removes the module under a capture under load. Its file is closed and whole, and the module loads
// and captures again.
func TestModuleRemoved(t *testing.T) {
	d := newDisk(t, 64, "")
	c, load, _ := loaded(t, d.file("capture"), floodSpec{})
	c.waitWritten(500)
	before := c.Stats()
	guest.Unload(t)
	d.umount()
	d.mount("")
	f := c.Read()
	checkClosed(t, f)
	assert.GreaterOrEqual(t, f.Statistics().Received, before.Received)
	_, err := c.Client.Stats(c.ctx())
	require.Error(t, err, "the module is gone")
	load.Stop()
	guest.Load(t)
	again := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0")})
	assert.Equal(t, genl.StateStopped, again.Get().State)
	again.checkNextStart("load0")
}

// TestLoadTwice loads and removes the module several times, with a capture each time.
func TestLoadTwice(t *testing.T) {
	quietDummy(t, nil, "load0")
	file := filepath.Join(outDir(t), "capture")
	for range 3 {
		c := newCapture(t, nil, genl.Settings{DeviceName: ptr("load0"), Logfile: &file})
		c.Start()
		sendNumbered(t, nil, "load0", 20)
		c.Flush()
		guest.Unload(t)
		checkClosed(t, c.Read())
		guest.Load(t)
	}
}

// TestAutoload asks for the family while the module is not loaded: the kernel loads it by its alias.
func TestAutoload(t *testing.T) {
	guest.Run(t, "modprobe", "-r", "ksnif")
	require.False(t, guest.Loaded())
	c, err := genl.New()
	require.NoError(t, err)
	defer c.Close()
	require.True(t, guest.Loaded())
	got, err := c.Get(guest.Context(t, 10*time.Second))
	require.NoError(t, err)
	assert.Equal(t, genl.StateStopped, got.State)
	assert.Equal(t, "/var/log/ksnif.pcapng", got.Logfile)
}
