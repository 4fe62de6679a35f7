// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// pktgenDir is pktgen's folder in the network namespace of the thread that looks.
const pktgenDir = "/proc/thread-self/net/pktgen/"

// quietDummy makes a dummy device that is up and on which nobody but the test sends: without IPv6.
func quietDummy(t testing.TB, ns *guest.Namespace, name string) {
	t.Helper()
	ns.Run(t, "ip", "link", "add", name, "type", "dummy")
	t.Cleanup(func() { _, _ = ns.Try("ip", "link", "delete", name) })
	quietUp(t, ns, name)
}

// quietUp brings a device up without IPv6, which would send of its own accord.
func quietUp(t testing.TB, ns *guest.Namespace, name string) {
	t.Helper()
	ns.Run(t, "sysctl", "-q", "-w", "net.ipv6.conf."+name+".disable_ipv6=1")
	ns.Run(t, "ip", "link", "set", name, "up")
}

// flood is pktgen feeding the receive path of a device. Its packets are numbered from 1 on, on each CPU that they come
// in on.
type flood struct {
	t    testing.TB
	ns   *guest.Namespace
	dev  string
	cpus int
	done chan error
}

// floodSpec says what to send.
type floodSpec struct {
	Count int    // packets; 0 is until Stop
	Size  int    // of a packet; 0 is 60
	Rate  int    // packets a second, an eighth on a debug kernel; 0 is as many as the machine can
	Src   string // IPv4 address; one that tells nothing if empty
	CPUs  int    // how many send, from CPU 0 on, each by itself what the rest says; 0 is one
}

// startFlood begins to send on a dummy device of a namespace. There can be one flood in a namespace at a time.
func startFlood(t testing.TB, ns *guest.Namespace, dev string, s floodSpec) *flood {
	t.Helper()
	guest.Run(t, "modprobe", "pktgen")
	if s.Src == "" {
		s.Src = "198.51.100.1"
	}
	f := &flood{t: t, ns: ns, dev: dev, cpus: max(s.CPUs, 1), done: make(chan error, 1)}
	f.clear()
	f.configure(s)
	go func() { f.done <- f.ns.Do(func() error { return guest.StartPktgen(pktgenDir + "pgctrl") }) }()
	t.Cleanup(f.end)
	// a stop that comes before the start is lost
	guest.Poll(t, 10*time.Second, "pktgen has started", func() bool { return f.look().Started })
	return f
}

// debugPace is how much slower packets come that come steadily. On a debug kernel one takes about a millisecond: a load
// that keeps the CPUs busy leaves nothing for RCU, which all else waits for, and tells of nothing but that.
func debugPace() int {
	if guest.Debug() {
		return 8
	}
	return 1
}

func (f *flood) configure(s floodSpec) {
	f.t.Helper()
	mac := f.ns.MAC(f.t, f.dev)
	commands := []string{
		fmt.Sprintf("count %d", s.Count), fmt.Sprintf("pkt_size %d", max(s.Size, 60)), "delay 0",
		// nobody has that address: the packet ends behind the hook
		"dst 203.0.113.1", "dst_mac " + mac, "xmit_mode netif_receive",
	}
	if s.Rate > 0 {
		commands = append(commands, fmt.Sprintf("ratep %d", max(s.Rate/debugPace(), 1)))
	}
	src := netip.MustParseAddr(s.Src)
	for cpu, name := range f.names() {
		require.NoError(f.t, f.write(thread(cpu), "add_device "+name))
		require.NoError(f.t, f.write(name, append(commands, "src_min "+src.String(), "src_max "+src.String())...))
		src = src.Next() // tells a reader the CPU
	}
}

// names is what pktgen calls the device, once for each CPU.
func (f *flood) names() []string {
	if f.cpus == 1 {
		return []string{f.dev}
	}
	var names []string
	for cpu := range f.cpus {
		names = append(names, fmt.Sprintf("%s@%d", f.dev, cpu))
	}
	return names
}

// thread is the file of a CPU's part of pktgen.
func thread(cpu int) string { return fmt.Sprintf("kpktgend_%d", cpu) }

func (f *flood) write(file string, commands ...string) error {
	return f.ns.Do(func() error {
		for _, c := range commands {
			if err := os.WriteFile(pktgenDir+file, []byte(c+"\n"), 0); err != nil {
				return fmt.Errorf("pktgen: %s: %w", c, err)
			}
		}
		return nil
	})
}

// clear has pktgen forget its devices, and waits until it has: its thread does that later, and would forget one that
// was added meanwhile.
func (f *flood) clear() {
	f.t.Helper()
	for cpu := range f.cpus {
		f.clearThread(thread(cpu))
	}
}

func (f *flood) clearThread(name string) {
	f.t.Helper()
	none := func() bool {
		var text []byte
		err := f.ns.Do(func() (err error) {
			text, err = os.ReadFile(pktgenDir + name)
			return err
		})
		require.NoError(f.t, err)
		return noDevices.Match(text)
	}
	if none() {
		return
	}
	require.NoError(f.t, f.write(name, "rem_device_all"))
	guest.Poll(f.t, time.Minute, "pktgen forgets its devices", none)
}

// end is for the end of the test: nothing may go on.
func (f *flood) end() {
	if f.done != nil {
		f.Stop()
	}
}

var (
	noDevices = regexp.MustCompile(`(?m)^Running: *\s*^Stopped: *$`)

	soFar = regexp.MustCompile(`pkts-sofar: (\d+)`)
	// unlike the OK of a command, which is in the same place
	starting = regexp.MustCompile(`Result: Starting`)
	ended    = regexp.MustCompile(`Result: OK: \d+\(`)
)

// floodState is what pktgen says of a flood.
type floodState struct {
	Gone    bool // the device is
	Started bool
	Ended   bool
	Sent    uint64
}

// look sums up what pktgen says of all CPUs.
func (f *flood) look() floodState {
	f.t.Helper()
	sum := floodState{Started: true, Ended: true}
	for _, name := range f.names() {
		s := f.lookAt(name)
		sum.Gone = sum.Gone || s.Gone
		sum.Started = sum.Started && s.Started
		sum.Ended = sum.Ended && s.Ended
		sum.Sent += s.Sent
	}
	return sum
}

func (f *flood) lookAt(name string) floodState {
	f.t.Helper()
	var text []byte
	err := f.ns.Do(func() (err error) {
		text, err = os.ReadFile(pktgenDir + name)
		return err
	})
	if os.IsNotExist(err) {
		return floodState{Gone: true, Started: true, Ended: true}
	}
	require.NoError(f.t, err)
	n := soFar.FindSubmatch(text)
	require.NotNil(f.t, n, "pktgen says: %s", text)
	s := floodState{Ended: ended.Match(text)}
	s.Started = s.Ended || starting.Match(text)
	s.Sent, err = strconv.ParseUint(string(n[1]), 10, 64)
	require.NoError(f.t, err)
	return s
}

// Wait waits for the flood's end and returns how many packets it sent. A device that is gone by then gives 0.
func (f *flood) Wait() uint64 {
	f.t.Helper()
	err := <-f.done
	f.done = nil
	require.NoError(f.t, err)
	// pktgen's thread can be later than pktgen itself thinks
	var s floodState
	guest.Poll(f.t, time.Minute, "pktgen has ended", func() bool {
		s = f.look()
		return s.Ended
	})
	f.clear()
	return s.Sent
}

// Stop ends the flood and returns how many packets it sent.
func (f *flood) Stop() uint64 {
	f.t.Helper()
	require.NoError(f.t, f.write("pgctrl", "stop"))
	return f.Wait()
}

// TestFloodGoesOn checks that a signal to the thread that waits for pktgen, as each may get one, does not end it.
func TestFloodGoesOn(t *testing.T) {
	quietDummy(t, nil, "load0")
	load := startFlood(t, nil, "load0", floodSpec{Rate: 1000})
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		require.NoError(t, err)
		if err := unix.Tgkill(os.Getpid(), tid, unix.SIGURG); !errors.Is(err, unix.ESRCH) { // gone by now
			require.NoError(t, err)
		}
	}
	sent := load.look().Sent
	eventually(t, "packets go on to be sent", func() bool { return load.look().Sent > sent+100 })
	load.Stop()
}

// sendNumbered sends a number of packets and returns when all have passed the hook.
func sendNumbered(t testing.TB, ns *guest.Namespace, dev string, n int) {
	t.Helper()
	require.EqualValues(t, n, startFlood(t, ns, dev, floodSpec{Count: n}).Wait())
}

// What pktgen puts into the UDP payload: a mark, then the packet's number, both big endian.
const (
	pktgenMagic  = 0xbe9be955
	pktgenOffset = 14 + 20 + 8
)

// number returns the number that pktgen gave a packet.
func number(p *pcapread.Packet) (uint64, error) {
	if len(p.Data) < pktgenOffset+8 || binary.BigEndian.Uint32(p.Data[pktgenOffset:]) != pktgenMagic {
		return 0, fmt.Errorf("no packet of pktgen's: % x", p.Data[:min(len(p.Data), 64)])
	}
	return uint64(binary.BigEndian.Uint32(p.Data[pktgenOffset+4:])), nil
}

// checkNumbers checks that the packets are those of one flood, in order, from the one behind `last` on, and that each
// gap in the numbers is the drop count of the packet behind it. It returns the last packet's number.
func checkNumbers(t testing.TB, packets []pcapread.Packet, last uint64) uint64 {
	t.Helper()
	for i := range packets {
		p := &packets[i]
		n, err := number(p)
		require.NoError(t, err, "packet %d", i)
		require.Equal(t, last+1+p.Drops, n, "packet %d: its number, behind number %d and %d drops", i, last, p.Drops)
		last = n
	}
	return last
}

// checkAllNumbered is for a capture whose only packets are a flood's, from its start to its end: what came behind the
// last record is in the statistics alone.
func checkAllNumbered(t testing.TB, f *pcapread.File, sent uint64) {
	t.Helper()
	last := checkNumbers(t, f.Packets, 0)
	sum := f.Statistics()
	assert.Equal(t, sent, sum.Received, "packets sent, and isb_ifrecv")
	assert.Equal(t, sent-last, sum.OSDrop-f.Drops(), "packets sent behind the last record, and drops that no record tells")
}

// waitWritten waits until n more packets are in the file.
func (c *capture) waitWritten(n uint64) {
	c.T.Helper()
	from := c.Stats().Written
	guest.Poll(c.T, commandLimit, fmt.Sprintf("%d more packets written", n), func() bool {
		return c.Stats().Written >= from+n
	})
}

// eventually is guest.Poll for what needs no special limit.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	guest.Poll(t, 10*time.Second, what, ok)
}
