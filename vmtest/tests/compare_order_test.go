// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bytes"
	"encoding/binary"
	"net"
	"runtime"
	"sync"
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

// numbered makes datagrams that carry the sender's number and a sequence number.
func (c *crafter) numbered(who, count, size int) [][]byte {
	list := make([][]byte, count)
	for i := range list {
		payload := binary.BigEndian.AppendUint32(nil, uint32(who))
		payload = append(binary.BigEndian.AppendUint32(payload, uint32(i)), make([]byte, size)...)
		list[i] = c.ether(c.dst, etherIPv4, serialize(c.ip4(253, nil, nil), gopacket.Payload(payload)))
	}
	return list
}

// checkSequence checks that each sender's packets are all there and in order, and returns how often the file changes
// from one sender to the other.
func checkSequence(t testing.TB, packets []pcapread.Packet, senders, count int) (changes int) {
	t.Helper()
	next := make([]uint32, senders)
	last := uint32(0)
	for i, p := range packets {
		who := binary.BigEndian.Uint32(p.Data[etherHeader+20:])
		number := binary.BigEndian.Uint32(p.Data[etherHeader+24:])
		require.Less(t, int(who), senders)
		require.Equal(t, next[who], number, "packet %d of the file: next one of sender %d", i, who)
		next[who]++
		if who != last {
			changes++
		}
		last = who
	}
	for who, n := range next {
		require.EqualValues(t, count, n, "packets of sender %d", who)
	}
	return changes
}

// Packets that come in on all CPUs at the same time are in time order in the file, and each CPU's are all there.
func TestOrderAcrossCPUs(t *testing.T) {
	cpus := runtime.NumCPU()
	if cpus < 2 {
		t.Skip("needs two CPUs: CPUS=2")
	}
	count := guest.Count(20000)
	w := newWire(t, 1500)
	craft := w.crafter(t, 1500)
	c := newCapture(t, w.rx, genl.Settings{DeviceName: &w.dev, QueueSize: ptr(uint64(64 << 20))})
	c.Start()
	var ready, sent sync.WaitGroup
	start := make(chan struct{})
	errs := make([]error, cpus)
	for cpu := range cpus {
		s, list := newSender(t, w.tx, w.txDev), craft.numbered(cpu, count, 50)
		ready.Add(1)
		sent.Add(1)
		go func() {
			defer sent.Done()
			errs[cpu] = onCPU(cpu, func() error {
				ready.Done()
				<-start
				for _, data := range list {
					if err := s.send(data); err != nil {
						return err
					}
				}
				return nil
			})
		}()
	}
	ready.Wait()
	close(start)
	sent.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	c.WaitReceived(uint64(cpus * count))
	f := c.StopRead() // checks the time stamps
	changes := checkSequence(t, f.Packets, cpus, count)
	require.Greater(t, changes, cpus, "the senders did not send at the same time")
	perCPU, err := c.StatsPerCPU(c.ctx())
	require.NoError(t, err)
	for _, s := range perCPU {
		assert.EqualValues(t, count, s.Captured, "captured on CPU %d", s.CPU)
	}
	t.Logf("%d packets in order, %d changes from one CPU to another", len(f.Packets), changes)
}

// The order in the file is that of capture, whatever happens to the clock; and nothing waits for the time to come back.
func TestOrderClockSetBack(t *testing.T) {
	w := newWire(t, 1500)
	craft := w.crafter(t, 1500)
	const count = 300
	list := craft.numbered(0, count, 50)
	c := newCapture(t, w.rx, genl.Settings{DeviceName: &w.dev})
	c.Start()
	began := time.Now()
	const back = time.Hour
	setClock := func(to time.Time) {
		ts := unix.NsecToTimespec(to.UnixNano())
		require.NoError(t, unix.ClockSettime(unix.CLOCK_REALTIME, &ts))
	}
	t.Cleanup(func() { setClock(began.Add(time.Since(began))) }) // time.Since goes by the monotonic clock
	for i, data := range list {
		switch i {
		case count / 3:
			setClock(time.Now().Add(-back))
		case 2 * count / 3:
			c.Flush()
			requireBlocks(t, c.File, i)
			setClock(began.Add(time.Since(began)))
		}
		require.NoError(t, w.sender.send(data))
	}
	c.WaitReceived(count)
	c.Stop()
	f := c.Read()
	c.CheckBooks(f)
	checkSequence(t, f.Packets, 1, count)
	past := 0
	for i, p := range f.Packets {
		if p.Time.Before(began.Round(0).Add(-back / 2)) {
			past++
			require.True(t, i >= count/3 && i < 2*count/3, "packet %d is of %s", i, p.Time)
		}
	}
	require.Equal(t, count/3, past, "packets of the past")
}

// requireBlocks checks that a file that is being written holds that many packets.
func requireBlocks(t testing.TB, path string, n int) {
	t.Helper()
	f, err := pcapread.Read(path)
	require.NoError(t, err)
	require.Len(t, f.Packets, n)
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
	c.WaitReceived(2)
	f := c.StopRead()
	var udp []pcapread.Packet
	for _, p := range f.Packets {
		if bytes.Contains(p.Data, payload) {
			udp = append(udp, p)
		}
	}
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
