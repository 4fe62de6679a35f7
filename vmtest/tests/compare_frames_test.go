// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"math/rand/v2"
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"ksnif/vmtest/guest"
)

// frame is a packet to be sent. reach says whether PRE_ROUTING is to see it, known from how it was made.
type frame struct {
	name  string
	data  []byte
	reach bool
}

// kind is a way to make IP datagrams, good ones or bad ones.
type kind struct {
	name   string
	family int
	reach  bool
	build  func(c *crafter) [][]byte
}

// linkKind is a way to put a good datagram into an Ethernet frame.
type linkKind struct {
	name   string
	reach  bool
	tagged bool
	wrap   func(c *crafter, ip []byte, protocol uint16) []byte
}

// crafter makes packets for a device. All that is random comes from its seed.
type crafter struct {
	*rand.Rand
	raw        bool // no Ethernet header
	family     int  // only this one, if not 0
	untagged   bool // no frames with VLAN tags
	mtu        int
	src, dst   net.HardwareAddr
	src4, dst4 net.IP
	src6, dst6 net.IP
}

// newCrafter makes a crafter.
func newCrafter(t testing.TB) *crafter {
	t.Helper()
	return &crafter{
		Rand: rand.New(rand.NewPCG(guest.Seed(t), 0)), mtu: 1500,
		src:  net.HardwareAddr{2, 0x5e, 0, 0, 0, 1},
		src4: net.IPv4(198, 18, 0, 2), dst4: net.IPv4(198, 18, 0, 1),
		src6: net.ParseIP("2001:db8::2"), dst6: net.ParseIP("2001:db8::1"),
	}
}

// lastSize is the length of the datagram that ends a comparison. No other packet is that long.
const lastSize = 805

// last makes that datagram.
func (c *crafter) last() frame {
	ip := c.ip4(layers.IPProtocolUDP, nil, nil)
	ip.Protocol = 253 // for experiments
	data := serialize(ip, gopacket.Payload(make([]byte, lastSize-20)))
	if !c.raw {
		data = c.ether(c.dst, etherIPv4, data)
	}
	return frame{name: "last", data: data, reach: true}
}

// corpus makes every kind of packet several times, in random order, and the last one.
func (c *crafter) corpus(rounds int) []frame {
	var frames []frame
	for range rounds {
		for _, k := range ipKinds {
			if c.family == 0 || c.family == k.family {
				frames = append(frames, c.make(k)...)
			}
		}
		for _, k := range linkKinds {
			if c.raw || c.untagged && k.tagged {
				continue
			}
			family, build := family4, oneUDP4
			if c.IntN(2) == 0 {
				family, build = family6, oneUDP6
			}
			data := k.wrap(c, build(c)[0], protocolOf(family))
			frames = append(frames, frame{k.name, data, k.reach})
		}
	}
	c.Shuffle(len(frames), func(i, j int) { frames[i], frames[j] = frames[j], frames[i] })
	return append(frames, c.last())
}

func (c *crafter) make(k kind) []frame {
	var frames []frame
	for _, ip := range k.build(c) {
		data := ip
		if !c.raw {
			data = c.ether(c.dst, protocolOf(k.family), ip)
		}
		frames = append(frames, frame{k.name, data, k.reach})
	}
	return frames
}

func protocolOf(family int) uint16 {
	if family == family6 {
		return etherIPv6
	}
	return etherIPv4
}

// ether puts a datagram into an Ethernet frame.
func (c *crafter) ether(dst net.HardwareAddr, protocol uint16, ip []byte) []byte {
	b := append(append([]byte(nil), dst...), c.src...)
	return append(append(b, byte(protocol>>8), byte(protocol)), ip...)
}

// pad makes a frame as long as Ethernet wants it, with zeros or with what a careless card leaves there.
func (c *crafter) pad(data []byte, n int) []byte {
	random := c.IntN(2) == 0
	for len(data) < n {
		b := byte(0)
		if random {
			b = byte(c.Uint32())
		}
		data = append(data, b)
	}
	return data
}

func (c *crafter) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.Uint32())
	}
	return b
}

// size is the length of a payload: mostly any that fits, often a small one or the largest.
func (c *crafter) size(headers int) int {
	for {
		n := c.mtu - headers
		switch c.IntN(6) {
		case 0:
			n = c.IntN(20)
		case 1, 2:
			n = c.IntN(200)
		case 3, 4:
			n = c.IntN(n + 1)
		}
		if n+headers < lastSize-100 || n+headers > lastSize+220 {
			return n
		}
	}
}

func serialize(l ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, l...); err != nil {
		panic(err) // a layer that the tests built wrongly
	}
	return append([]byte(nil), buf.Bytes()...)
}

func (c *crafter) ip4(protocol layers.IPProtocol, src, dst net.IP) *layers.IPv4 {
	if src == nil {
		src, dst = c.src4, c.dst4
	}
	return &layers.IPv4{
		Version: 4, TOS: uint8(c.Uint32()) &^ 3, Id: uint16(c.Uint32()), TTL: uint8(1 + c.IntN(255)), Protocol: protocol,
		SrcIP: src, DstIP: dst,
	}
}

func (c *crafter) ip6(next layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{
		Version: 6, TrafficClass: uint8(c.Uint32()) &^ 3, FlowLabel: c.Uint32() & 0xfffff, HopLimit: uint8(1 + c.IntN(255)),
		NextHeader: next, SrcIP: c.src6, DstIP: c.dst6,
	}
}

// The payloads. Ports are such that nobody listens and tcpdump has no dissector.

func (c *crafter) port() uint16 { return uint16(20000 + c.IntN(10000)) }

func (c *crafter) udp(over gopacket.NetworkLayer, n int) []byte {
	u := &layers.UDP{SrcPort: layers.UDPPort(c.port()), DstPort: layers.UDPPort(c.port())}
	if err := u.SetNetworkLayerForChecksum(over); err != nil {
		panic(err)
	}
	return serialize(u, gopacket.Payload(c.bytes(n)))
}

func (c *crafter) tcp(over gopacket.NetworkLayer, n int) []byte {
	u := &layers.TCP{
		SrcPort: layers.TCPPort(c.port()), DstPort: layers.TCPPort(c.port()), Seq: c.Uint32(), Ack: c.Uint32(),
		SYN: c.IntN(3) == 0, ACK: c.IntN(3) > 0, PSH: c.IntN(2) == 0, FIN: c.IntN(8) == 0, RST: c.IntN(2) == 0,
		Window: uint16(c.Uint32()),
	}
	if c.IntN(2) == 0 {
		u.Options = []layers.TCPOption{
			{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 0xb4}},
			{OptionType: layers.TCPOptionKindTimestamps, OptionLength: 10, OptionData: c.bytes(8)},
		}
	}
	if err := u.SetNetworkLayerForChecksum(over); err != nil {
		panic(err)
	}
	return serialize(u, gopacket.Payload(c.bytes(n)))
}

func (c *crafter) icmp4(n int) []byte {
	types := []layers.ICMPv4TypeCode{
		layers.CreateICMPv4TypeCode(8, 0), layers.CreateICMPv4TypeCode(0, 0), layers.CreateICMPv4TypeCode(13, 0),
		layers.CreateICMPv4TypeCode(200, 9),
	}
	return serialize(&layers.ICMPv4{TypeCode: types[c.IntN(len(types))], Id: uint16(c.Uint32()), Seq: uint16(c.Uint32())},
		gopacket.Payload(c.bytes(n)))
}

func (c *crafter) icmp6(over gopacket.NetworkLayer, n int) []byte {
	i := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(uint8(128+c.IntN(2)), 0)}
	if err := i.SetNetworkLayerForChecksum(over); err != nil {
		panic(err)
	}
	return serialize(i, &layers.ICMPv6Echo{Identifier: uint16(c.Uint32()), SeqNumber: uint16(c.Uint32())}, gopacket.Payload(c.bytes(n)))
}
