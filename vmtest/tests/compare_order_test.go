// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// numbered makes frames that carry a sequence number.
func (c *crafter) numbered(count int) []frame {
	list := make([]frame, count)
	for i := range list {
		payload := binary.BigEndian.AppendUint32(nil, uint32(i))
		list[i] = frame{"numbered", c.ether(c.dst, etherIPv4, serialize(c.ip4(253, nil, nil), gopacket.Payload(payload))), true}
	}
	return list
}

// crossing is pktgen on all CPUs at the same time, each with a device of its own.
type crossing struct {
	t     *testing.T
	c     *capture
	cpus  int
	count int // packets of each CPU
}

func newCrossing(t *testing.T) *crossing {
	t.Helper()
	cpus := runtime.NumCPU()
	if cpus < 2 {
		t.Skip("needs two CPUs: CPUS=2")
	}
	x := &crossing{t: t, cpus: cpus, count: guest.Size(guest.Count(200_000), 1_000_000/cpus)}
	guest.Run(t, "modprobe", "pktgen")
	ns := guest.NewNamespace(t, "order")
	for cpu := range cpus {
		dev := fmt.Sprintf("cpu%d", cpu)
		quietDummy(t, ns, dev)
		ns.Run(t, "sh", "-euc", fmt.Sprintf(`cd %[1]s; echo add_device %[2]s > kpktgend_%[3]d
			for c in "count %[4]d" "pkt_size 60" "delay 0" "dst 203.0.113.1" "src_min 198.51.100.1" "src_max 198.51.100.1" \
				"dst_mac $(cat /sys/class/net/%[2]s/address)" "xmit_mode netif_receive"; do echo "$c" > %[2]s; done`,
			pktgenDir, dev, cpu, x.count))
	}
	x.c = newCapture(t, ns, genl.Settings{QueueSize: ptr(uint64(192 << 20)), Snaplen: ptr(uint32(64))})
	return x
}

// send returns when all are sent and were seen.
func (x *crossing) send() {
	x.t.Helper()
	x.c.NS.Run(x.t, "sh", "-euc", "echo start > "+pktgenDir+"pgctrl")
	x.c.WaitReceived(uint64(x.cpus * x.count))
}

// check checks that nothing is missing, and that the CPUs did receive at the same time.
func (x *crossing) check(f *pcapread.File) {
	x.t.Helper()
	require.Zero(x.t, f.Statistics().OSDrop)
	changes := 0
	for i := range f.Packets[1:] {
		if f.Packets[i].Interface != f.Packets[i+1].Interface {
			changes++
		}
	}
	require.Greater(x.t, changes, x.cpus, "the CPUs did not receive at the same time")
	perCPU, err := x.c.StatsPerCPU(x.c.ctx())
	require.NoError(x.t, err)
	for cpu := range x.cpus {
		packets := f.ByName(fmt.Sprintf("cpu%d", cpu))
		require.Len(x.t, packets, x.count, "CPU %d", cpu)
		require.EqualValues(x.t, x.count, checkNumbers(x.t, packets, 0))
		assert.EqualValues(x.t, x.count, perCPU[cpu].Captured, "captured on CPU %d", cpu)
	}
	x.t.Logf("%d packets in order, %d changes from one CPU to another", len(f.Packets), changes)
}

// Packets that come in on all CPUs at the same time are in time order in the file, and each CPU's are all there. pktgen
// feeds them in as fast as it can: whoever looked at the clock outside of the lock that orders the queue would be seen.
func TestOrderAcrossCPUs(t *testing.T) {
	x := newCrossing(t)
	x.c.Start()
	x.send()
	x.check(x.c.StopRead()) // which checks the time stamps
}

// TestTortureRingOrder holds some packets up between the clock and the moment at which the writer can see them, while
// the other CPUs go on: the writer has to wait for them.
func TestTortureRingOrder(t *testing.T) {
	guest.NeedsDebug(t)
	if guest.Config() != "ring" {
		t.Skip("needs the ring: a list has its lock there")
	}
	x := newCrossing(t)
	const file = "/sys/kernel/debug/ksnif/commit_delay_us"
	set := func(us int) { require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(us)), 0)) }
	set(2000)
	t.Cleanup(func() { set(0) })
	x.c.Start()
	x.send()
	x.check(x.c.StopRead())
}

// The same while the wall clock goes back an hour and forth again, all the time: exactly an hour, so that the time in
// the file tells when a packet came.
func TestOrderClockMoves(t *testing.T) {
	const hour = 3600
	x := newCrossing(t)
	shift := func(seconds int64) {
		_, err := unix.ClockAdjtime(unix.CLOCK_REALTIME, &unix.Timex{Modes: unix.ADJ_SETOFFSET, Time: unix.Timeval{Sec: seconds}})
		assert.NoError(t, err)
	}
	began := time.Now().Round(0)
	x.c.Start()
	stop, stopped := make(chan struct{}), make(chan struct{})
	steps := 0
	go func() {
		defer close(stopped)
		for ; ; steps++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				shift(-hour)
				time.Sleep(5 * time.Millisecond)
				shift(hour)
			}
		}
	}()
	x.send()
	close(stop)
	<-stopped
	x.c.Stop()
	f := x.c.Read()
	x.check(f)

	last, back := began, 0
	for i, p := range f.Packets {
		at := p.Time
		if at.Before(began.Add(-hour / 2 * time.Second)) {
			at = at.Add(hour * time.Second)
			back++
		}
		require.False(t, at.Before(last), "packet %d: %s is before %s", i, at, last)
		last = at
	}
	t.Logf("the clock was set %d times; %d of %d packets came in the hour before", 2*steps, back, len(f.Packets))
	require.Greater(t, steps, 3)
	require.NotZero(t, back)
	require.Less(t, back, len(f.Packets))
}

// The order in the file is that of capture, whatever happens to the clock; and nothing waits for the time to come back.
func TestOrderClockSetBack(t *testing.T) {
	w := newWire(t, 1500)
	craft := w.crafter(t, 1500)
	const count = 300
	list := craft.numbered(count)
	c := newCapture(t, w.rx, genl.Settings{DeviceName: &w.dev})
	c.Start()
	began := time.Now()
	const back = time.Hour
	setClock := func(to time.Time) {
		ts := unix.NsecToTimespec(to.UnixNano())
		require.NoError(t, unix.ClockSettime(unix.CLOCK_REALTIME, &ts))
		time.Sleep(20 * time.Millisecond) // the ring looks at the wall clock once a jiffy
	}
	restore := func() { setClock(began.Add(time.Since(began))) } // time.Since goes by the monotonic clock
	t.Cleanup(restore)
	send := func(from, to int) {
		w.sender.sendAll(list[from:to])
		c.WaitReceived(uint64(to))
	}
	send(0, count/3)
	setClock(time.Now().Add(-back))
	send(count/3, 2*count/3)
	c.Flush()
	require.Len(t, c.Read().Packets, 2*count/3, "packets in the file after flush")
	restore()
	send(2*count/3, count)
	c.Stop()
	f := c.Read()
	c.CheckBooks(f)
	require.Len(t, f.Packets, count)
	past := 0
	for i, p := range f.Packets {
		require.EqualValues(t, i, binary.BigEndian.Uint32(p.Data[etherHeader+20:]), "number of packet %d", i)
		if p.Time.Before(began.Round(0).Add(-back / 2)) {
			past++
			require.True(t, i >= count/3 && i < 2*count/3, "packet %d is of %s", i, p.Time)
		}
	}
	require.Equal(t, count/3, past, "packets of the past")
}

// A packet that passes PRE_ROUTING twice is captured twice: as the device's and as its VRF's.
func TestTwiceVRF(t *testing.T) {
	guest.Run(t, "modprobe", "vrf")
	w := newWire(t, 1500)
	w.rx.Run(t, "ip", "link", "add", "vrf0", "type", "vrf", "table", "10")
	w.rx.Run(t, "ip", "link", "set", "vrf0", "up")
	w.rx.Run(t, "ip", "link", "set", w.dev, "master", "vrf0")
	w.rx.Run(t, "ip", "-6", "addr", "replace", "2001:db8::1/64", "dev", w.dev, "nodad")
	craft := w.crafter(t, 1500)
	var sent []frame
	for range 20 {
		sent = append(sent, craft.make(kind{"udp4", family4, true, oneUDP4})...)
		sent = append(sent, craft.make(kind{"udp6", family6, true, oneUDP6})...)
	}
	c := newCapture(t, w.rx, genl.Settings{})
	c.Start()
	w.sender.sendAll(sent)
	c.WaitReceived(uint64(2 * len(sent)))
	f := c.StopRead()
	require.Len(t, f.Packets, 2*len(sent))
	for _, dev := range []string{w.dev, "vrf0"} {
		require.Equal(t, layers.LinkTypeEthernet, linkOf(t, f, dev))
		got := f.ByName(dev)
		require.Len(t, got, len(sent), dev)
		for i, p := range got {
			require.True(t, bytes.Equal(sent[i].data, p.Data), "%s: packet %d:\n%s", dev, i, describe(p))
		}
	}
	for i := range sent {
		a, b := f.Packets[2*i], f.Packets[2*i+1]
		require.Equal(t, w.dev, f.Interfaces[a.Interface].Name, "packet %d", 2*i)
		require.Equal(t, "vrf0", f.Interfaces[b.Interface].Name, "packet %d", 2*i+1)
	}
}

// A multicast that a machine sends comes back to it before it has an Ethernet header: it is given one without
// addresses, as packets on lo have it.
func TestMulticastLoop(t *testing.T) {
	w := newWire(t, 1500)
	c := newCapture(t, w.rx, genl.Settings{DeviceName: &w.dev})
	c.Start()
	payload := []byte("to all, and to myself")
	for _, group := range []string{"239.1.2.3:9", "[ff12::abcd]:9"} {
		require.NoError(t, w.rx.Do(func() error { return sendMulticast(w.dev, group, payload) }))
	}
	ours := func(f *pcapread.File) (list []pcapread.Packet) {
		for _, p := range f.Packets {
			if bytes.Contains(p.Data, payload) {
				list = append(list, p)
			}
		}
		return list
	}
	guest.Poll(t, commandLimit, "both datagrams are back", func() bool {
		c.Flush()
		return len(ours(c.Read())) == 2
	})
	f := c.StopRead()
	udp := ours(f)
	require.Len(t, udp, 2)
	for i, head := range [][]byte{{8, 0, 0x45}, {0x86, 0xdd, 0x60}} {
		p := udp[i]
		require.Equal(t, w.dev, f.Interfaces[p.Interface].Name)
		require.Equal(t, make([]byte, 12), p.Data[:12], "addresses")
		require.Equal(t, head, p.Data[12:15], "protocol, and the start of the IP header")
		packet := gopacket.NewPacket(p.Data, layers.LayerTypeEthernet, gopacket.Default)
		require.Nil(t, packet.ErrorLayer())
		require.Equal(t, payload, packet.ApplicationLayer().Payload())
		require.Equal(t, len(p.Data), p.Length)
		require.Equal(t, etherHeader+[]int{20, 40}[i]+8+len(payload), p.Length)
	}
}

// sendMulticast sends a datagram to a group that the socket itself is a member of.
func sendMulticast(dev, group string, payload []byte) error {
	i, err := net.InterfaceByName(dev)
	if err != nil {
		return err
	}
	to, err := net.ResolveUDPAddr("udp", group)
	if err != nil {
		return err
	}
	network := "udp4"
	if to.IP.To4() == nil {
		network, to.Zone = "udp6", dev
	}
	// Joining also makes it loop back.
	member, err := net.ListenMulticastUDP(network, i, to)
	if err != nil {
		return err
	}
	defer member.Close()
	raw, err := member.SyscallConn()
	if err != nil {
		return err
	}
	var opt error
	err = raw.Control(func(fd uintptr) {
		if network == "udp4" {
			if opt = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(i.Index)}); opt == nil {
				opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 1)
			}
			return
		}
		if opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, i.Index); opt == nil {
			opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 1)
		}
	})
	if err == nil {
		err = opt
	}
	if err == nil {
		_, err = member.WriteTo(payload, to)
	}
	return err
}
