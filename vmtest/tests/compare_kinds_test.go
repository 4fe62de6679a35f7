// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"net"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// ipKinds are the datagrams of every corpus.
var ipKinds = append(append(append([]kind(nil), good4...), bad4...), append(append([]kind(nil), good6...), bad6...)...)

// one is for kinds of a single datagram.
func one(build func(c *crafter) []byte) func(*crafter) [][]byte {
	return func(c *crafter) [][]byte { return [][]byte{build(c)} }
}

// udp4 makes a datagram; edit may change its header before lengths and checksum are filled in.
func udp4(edit func(c *crafter, ip *layers.IPv4)) func(*crafter) [][]byte {
	return one(func(c *crafter) []byte {
		ip := c.ip4(layers.IPProtocolUDP, nil, nil)
		if edit != nil {
			edit(c, ip)
		}
		return serialize(ip, gopacket.Payload(c.udp(ip, c.size(150))))
	})
}

var (
	oneUDP4 = udp4(nil)
	oneUDP6 = udp6(nil)
)

var good4 = []kind{
	{"udp4", family4, true, oneUDP4},
	{"tcp4", family4, true, one(func(c *crafter) []byte {
		ip := c.ip4(layers.IPProtocolTCP, nil, nil)
		return serialize(ip, gopacket.Payload(c.tcp(ip, c.size(60))))
	})},
	{"icmp4", family4, true, one(func(c *crafter) []byte {
		return serialize(c.ip4(layers.IPProtocolICMPv4, nil, nil), gopacket.Payload(c.icmp4(c.size(28))))
	})},
	{"fragments4", family4, true, fragments4},
	{"options4: record route", family4, true, options4(layers.IPv4Option{OptionType: 7, OptionLength: 39, OptionData: append([]byte{4}, make([]byte, 36)...)})},
	{"options4: nop, time stamp", family4, true, options4(layers.IPv4Option{OptionType: 1, OptionLength: 1}, layers.IPv4Option{OptionType: 68, OptionLength: 12, OptionData: append([]byte{5, 0}, make([]byte, 8)...)})},
	{"options4: router alert", family4, true, options4(layers.IPv4Option{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}})},
	{"options4: nonsense", family4, true, options4(layers.IPv4Option{OptionType: 9, OptionLength: 6, OptionData: []byte{1, 2, 3, 4}})},
	{"minimum4", family4, true, one(func(c *crafter) []byte {
		ip := c.ip4(layers.IPProtocolUDP, nil, nil)
		return c.pad(serialize(ip, gopacket.Payload(c.udp(ip, c.IntN(17)))), 46)
	})},
	{"header only", family4, true, one(func(c *crafter) []byte { return c.pad(serialize(c.ip4(254, nil, nil)), 20+c.IntN(27)) })},
	{"trailer", family4, true, one(func(c *crafter) []byte { return append(oneUDP4(c)[0], c.bytes(1+c.IntN(60))...) })},
	{"not for this machine", family4, true, udp4(func(c *crafter, ip *layers.IPv4) { ip.DstIP = net.IP(c.bytes(4)) })},
	{"martian", family4, true, udp4(func(_ *crafter, ip *layers.IPv4) { ip.SrcIP = net.IPv4(127, 0, 0, 1) })},
	{"broadcast", family4, true, udp4(func(_ *crafter, ip *layers.IPv4) { ip.DstIP = net.IPv4bcast })},
	{"multicast", family4, true, udp4(func(_ *crafter, ip *layers.IPv4) { ip.DstIP = net.IPv4(224, 0, 0, 99) })},
	{"ttl 0, all flags", family4, true, udp4(func(_ *crafter, ip *layers.IPv4) { ip.TTL, ip.Flags = 0, 7 })},
	{"ecn", family4, true, udp4(func(_ *crafter, ip *layers.IPv4) { ip.TOS = 3 })},
	{"any protocol", family4, true, one(func(c *crafter) []byte {
		return serialize(c.ip4(layers.IPProtocol(143+c.IntN(110)), nil, nil), gopacket.Payload(c.bytes(c.size(20))))
	})},
	{"bad udp checksum", family4, true, one(func(c *crafter) []byte { b := oneUDP4(c)[0]; b[26] ^= 0x55; return b })},
}

func options4(options ...layers.IPv4Option) func(*crafter) [][]byte {
	return udp4(func(_ *crafter, ip *layers.IPv4) { ip.Options = options })
}

// fragments4 cuts a datagram into fragments, and sends now and then one of them twice.
func fragments4(c *crafter) [][]byte {
	ip := c.ip4(layers.IPProtocolUDP, nil, nil)
	data := c.udp(ip, 40+c.IntN(600))
	step := 8 * (1 + c.IntN(1+len(data)/24))
	if len(data)/step > 12 {
		step = 8 * (1 + len(data)/96)
	}
	var list [][]byte
	for at := 0; at < len(data); at += step {
		ip.FragOffset = uint16(at / 8)
		ip.Flags = 0
		end := min(at+step, len(data))
		if end < len(data) {
			ip.Flags = layers.IPv4MoreFragments
		}
		list = append(list, serialize(ip, gopacket.Payload(data[at:end])))
	}
	if c.IntN(4) == 0 {
		list = append(list, list[c.IntN(len(list))])
	}
	return list
}

// broken4 makes a datagram that ip_rcv drops: spoil has the last word on it.
func broken4(sum bool, spoil func(c *crafter, b []byte) []byte) func(*crafter) [][]byte {
	return one(func(c *crafter) []byte {
		b := spoil(c, oneUDP4(c)[0])
		if n := int(b[0]&15) * 4; sum && n <= len(b) && n >= 12 {
			b[10], b[11] = 0, 0
			binary.BigEndian.PutUint16(b[10:], ^onesSum(b[:n]))
		}
		return b
	})
}

var bad4 = []kind{
	{"bad checksum", family4, false, broken4(false, func(c *crafter, b []byte) []byte { b[1+c.IntN(19)] ^= 1 << c.IntN(4); return b })},
	{"version 7", family4, false, broken4(true, func(_ *crafter, b []byte) []byte { b[0] = 0x75; return b })},
	{"header of 16 bytes", family4, false, broken4(true, func(_ *crafter, b []byte) []byte { b[0] = 0x44; return b })},
	{"header of 0 bytes", family4, false, broken4(true, func(_ *crafter, b []byte) []byte { b[0] = 0x40; return b })},
	{"header beyond the frame", family4, false, one(func(c *crafter) []byte {
		b := serialize(c.ip4(254, nil, nil), gopacket.Payload(c.bytes(c.IntN(40))))
		b[0] = 0x4f
		return b
	})},
	{"total length beyond the frame", family4, false, broken4(true, func(c *crafter, b []byte) []byte {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)+1+c.IntN(100)))
		return b
	})},
	{"total length below the header", family4, false, broken4(true, func(c *crafter, b []byte) []byte {
		binary.BigEndian.PutUint16(b[2:], uint16(c.IntN(20)))
		return b
	})},
	{"cut header", family4, false, broken4(false, func(c *crafter, b []byte) []byte { return b[:1+c.IntN(19)] })},
	{"cut frame", family4, false, broken4(false, func(c *crafter, b []byte) []byte { return b[:20+c.IntN(min(len(b)-20, 500))] })},
}

// linkKinds are for devices with an Ethernet header.
var linkKinds = []linkKind{
	{"other host", false, false, func(c *crafter, ip []byte, p uint16) []byte {
		return c.ether(net.HardwareAddr{2, 1, 1, 1, 1, byte(c.Uint32())}, p, ip)
	}},
	{"almost this host", false, false, func(c *crafter, ip []byte, p uint16) []byte {
		mac := append(net.HardwareAddr(nil), c.dst...)
		mac[c.IntN(5)+1] ^= 1 << c.IntN(8)
		return c.ether(mac, p, ip)
	}},
	{"link broadcast", true, false, func(c *crafter, ip []byte, p uint16) []byte {
		return c.ether(net.HardwareAddr{255, 255, 255, 255, 255, 255}, p, ip)
	}},
	{"link multicast", true, false, func(c *crafter, ip []byte, p uint16) []byte {
		return c.ether(net.HardwareAddr{1, 0, 0x5e, 0, 0, 1}, p, ip)
	}},
	{"the other ethertype", false, false, func(c *crafter, ip []byte, p uint16) []byte {
		return c.ether(c.dst, etherIPv4^etherIPv6^p, ip)
	}},
	{"ethertype of nobody", false, false, func(c *crafter, ip []byte, _ uint16) []byte { return c.ether(c.dst, 0x88b5, ip) }},
	{"802.3 length", false, false, func(c *crafter, ip []byte, _ uint16) []byte { return c.ether(c.dst, 0x100, ip) }},
	{"priority tag", true, true, func(c *crafter, ip []byte, p uint16) []byte { return c.tagged(uint16(c.IntN(16))<<12, p, ip) }},
	{"vlan of nobody", false, true, func(c *crafter, ip []byte, p uint16) []byte { return c.tagged(uint16(1000+c.IntN(1000)), p, ip) }},
	{"no payload", false, false, func(c *crafter, _ []byte, p uint16) []byte { return c.ether(c.dst, p, nil) }},
}

// tagged puts a VLAN tag before the protocol.
func (c *crafter) tagged(tci, protocol uint16, ip []byte) []byte {
	tag := []byte{byte(tci >> 8), byte(tci), byte(protocol >> 8), byte(protocol)}
	return c.ether(c.dst, etherVLAN, append(tag, ip...))
}
