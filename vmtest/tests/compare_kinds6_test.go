// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"net"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

func udp6(edit func(c *crafter, ip *layers.IPv6)) func(*crafter) [][]byte {
	return one(func(c *crafter) []byte {
		ip := c.ip6(layers.IPProtocolUDP)
		if edit != nil {
			edit(c, ip)
		}
		return serialize(ip, gopacket.Payload(c.udp(ip, c.size(110))))
	})
}

// Types of extension headers and options.
const (
	nextHop      = 0
	nextUDP      = 17
	nextRouting  = 43
	nextFragment = 44
	nextAuth     = 51
	nextNone     = 59
	nextDest     = 60
)

// extension makes an extension header out of the type of the next one and the rest, which has to fill it.
func extension(next byte, rest ...byte) []byte {
	b := append([]byte{next, 0}, rest...)
	for len(b)%8 != 0 {
		b = append(b, 0) // Pad1
	}
	b[1] = byte(len(b)/8 - 1)
	return b
}

// extended6 makes a UDP datagram behind extension headers. Every header but the last names the next one itself.
func extended6(first layers.IPProtocol, headers func(c *crafter) []byte) func(*crafter) [][]byte {
	return one(func(c *crafter) []byte {
		ip := c.ip6(first)
		return serialize(ip, gopacket.Payload(append(headers(c), c.udp(ip, c.size(220))...)))
	})
}

// hop6 makes a datagram with hop-by-hop options.
func hop6(options ...byte) func(*crafter) [][]byte {
	return extended6(nextHop, func(*crafter) []byte { return extension(nextUDP, options...) })
}

var good6 = []kind{
	{"udp6", family6, true, oneUDP6},
	{"tcp6", family6, true, one(func(c *crafter) []byte {
		ip := c.ip6(layers.IPProtocolTCP)
		return serialize(ip, gopacket.Payload(c.tcp(ip, c.size(80))))
	})},
	{"icmp6", family6, true, one(func(c *crafter) []byte {
		ip := c.ip6(layers.IPProtocolICMPv6)
		return serialize(ip, gopacket.Payload(c.icmp6(ip, c.size(48))))
	})},
	{"fragments6", family6, true, fragments6},
	{"atomic fragment", family6, true, extended6(nextFragment, func(c *crafter) []byte { return append([]byte{nextUDP, 0, 0, 0}, c.bytes(4)...) })},
	{"hop: PadN", family6, true, hop6(1, 4, 0, 0, 0, 0)},
	{"hop: Pad1 seven times", family6, true, hop6(0x3e, 5, 1, 2, 3, 4, 5)},
	{"hop: router alert", family6, true, hop6(5, 2, 0, 0)},
	{"hop: unknown, to be skipped", family6, true, hop6(0x1e, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)},
	{"hop: eight options", family6, true, hop6(0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0)},
	{"hop: as long as can be", family6, true, one(func(c *crafter) []byte {
		var b []byte
		for left := min(c.mtu-48, 2048) - 2; left > 1; left -= min(left, 257) {
			n := min(left, 257)
			b = append(append(b, 0x1e, byte(n-2)), c.bytes(n-2)...)
		}
		return serialize(c.ip6(nextHop), gopacket.Payload(extension(nextNone, b...)))
	})},
	{"destination options", family6, true, extended6(nextDest, func(c *crafter) []byte { return extension(nextUDP, append([]byte{0xde, 4}, c.bytes(4)...)...) })},
	{"routing header", family6, true, extended6(nextRouting, func(c *crafter) []byte {
		return extension(nextUDP, append([]byte{byte(c.IntN(5)), byte(c.IntN(2)), 0, 0, 0, 0}, c.bytes(16)...)...)
	})},
	{"all headers", family6, true, extended6(nextHop, func(c *crafter) []byte {
		b := extension(nextDest, 1, 4, 0, 0, 0, 0)
		b = append(b, extension(nextRouting, 1, 4, 0, 0, 0, 0)...)
		b = append(b, extension(nextFragment, append([]byte{2, 0, 0, 0, 0, 0}, c.bytes(16)...)...)...)
		b = append(b, nextDest, 0, 0, 1, 9, 9, 9, 9)
		return append(b, extension(nextUDP, 1, 4, 0, 0, 0, 0)...)
	})},
	{"authentication header", family6, true, extended6(nextAuth, func(c *crafter) []byte { return append([]byte{nextUDP, 4, 0, 0}, c.bytes(20)...) })},
	{"esp6", family6, true, one(func(c *crafter) []byte { return serialize(c.ip6(50), gopacket.Payload(c.bytes(c.size(40)))) })},
	{"minimum6", family6, true, one(func(c *crafter) []byte { return c.pad(serialize(c.ip6(nextNone)), 40+c.IntN(7)) })},
	{"trailer6", family6, true, one(func(c *crafter) []byte { return append(oneUDP6(c)[0], c.bytes(1+c.IntN(60))...) })},
	{"not for this machine6", family6, true, udp6(func(c *crafter, ip *layers.IPv6) { ip.DstIP = append(net.IP{0x20, 1}, c.bytes(14)...) })},
	{"multicast6", family6, true, udp6(func(_ *crafter, ip *layers.IPv6) { ip.DstIP = net.ParseIP("ff02::1") })},
	{"hop limit 0", family6, true, udp6(func(_ *crafter, ip *layers.IPv6) { ip.HopLimit = 0 })},
	// Without a jumbo option a length of 0 is let pass, and nothing is trimmed.
	{"hop: payload length 0", family6, true, one(func(c *crafter) []byte {
		b := hop6(1, 4, 0, 0, 0, 0)(c)[0]
		b[4], b[5] = 0, 0
		return append(b, c.bytes(c.IntN(20))...)
	})},
}

func fragments6(c *crafter) [][]byte {
	ip := c.ip6(nextFragment)
	data := c.udp(ip, 100+c.IntN(500))
	id := c.bytes(4)
	step := 8 * (len(data)/8/(1+c.IntN(6)) + 1)
	var list [][]byte
	for at := 0; at < len(data); at += step {
		end := min(at+step, len(data))
		more := 0
		if end < len(data) {
			more = 1
		}
		head := append(binary.BigEndian.AppendUint16([]byte{nextUDP, 0}, uint16(at|more)), id...)
		list = append(list, serialize(ip, gopacket.Payload(append(head, data[at:end]...))))
	}
	return list
}

// broken6 makes a datagram that ip6_rcv drops.
func broken6(spoil func(c *crafter, b []byte) []byte) func(*crafter) [][]byte {
	return one(func(c *crafter) []byte { return spoil(c, oneUDP6(c)[0]) })
}

func spoilAddress(at int, text string) func(*crafter) [][]byte {
	return broken6(func(_ *crafter, b []byte) []byte { copy(b[at:], net.ParseIP(text)); return b })
}

const (
	srcAt6 = 8
	dstAt6 = 24
)

var bad6 = []kind{
	{"version 4 in 6", family6, false, broken6(func(_ *crafter, b []byte) []byte { b[0] = b[0]&15 | 0x70; return b })},
	{"payload beyond the frame", family6, false, broken6(func(c *crafter, b []byte) []byte {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-39+c.IntN(100)))
		return b
	})},
	{"cut header6", family6, false, broken6(func(c *crafter, b []byte) []byte { return b[:1+c.IntN(39)] })},
	{"cut frame6", family6, false, broken6(func(c *crafter, b []byte) []byte { return b[:40+c.IntN(min(len(b)-40, 500))] })},
	{"from multicast", family6, false, spoilAddress(srcAt6, "ff02::5")},
	{"to scope 0", family6, false, spoilAddress(dstAt6, "ff00::1")},
	{"hop: PadN is not zero", family6, false, hop6(1, 4, 0, 0, 1, 0)},
	{"hop: eight bytes of padding", family6, false, hop6(1, 6, 0, 0, 0, 0, 0, 0, 0x1e, 4, 1, 2, 3, 4)},
	{"hop: option beyond the header", family6, false, hop6(0x1e, 5, 0, 0, 0, 0)},
	{"hop: half an option", family6, false, hop6(0x1e, 3, 0, 0, 0, 5)},
	{"hop: unknown, to be dropped", family6, false, hop6(0x5e, 4, 0, 0, 0, 0)},
	{"hop: unknown, to be answered", family6, false, hop6(0x9e, 4, 0, 0, 0, 0)},
	{"hop: unknown, to be answered if unicast", family6, false, hop6(0xde, 4, 0, 0, 0, 0)},
	{"hop: long router alert", family6, false, hop6(5, 4, 0, 0, 0, 0)},
	{"hop: nine options", family6, false, hop6(0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 0, 0x1e, 2, 0, 0)},
	{"hop: jumbo, and short", family6, false, hop6(0xc2, 4, 0, 1, 0, 1)},
	{"hop: header beyond the datagram", family6, false, one(func(c *crafter) []byte {
		return serialize(c.ip6(nextHop), gopacket.Payload([]byte{nextNone, 1, 1, 4, 0, 0, 0, 0}))
	})},
}

// loopKinds6 are for this machine only: lo lets them pass, other devices drop them.
var loopKinds6 = []kind{
	{"to ::1", family6, false, spoilAddress(dstAt6, "::1")},
	{"from ::1", family6, false, spoilAddress(srcAt6, "::1")},
	{"to interface-local multicast", family6, false, spoilAddress(dstAt6, "ff01::1")},
}
