// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
)

// oracle says which of the frames that a device received NF_INET_PRE_ROUTING has seen, and what of them. It is written
// from the kernel's receive path, __netif_receive_skb_core, ip_rcv_core and ip6_rcv_core, not from the module.
type oracle struct {
	raw      bool // the device has no link-layer header
	mac      net.HardwareAddr
	loopback bool
	tags     int // VLAN tags that stay in the device's link-layer header
}

const (
	etherHeader = 14
	vlanTag     = 4

	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8

	family4 = 4
	family6 = 6
)

// look returns what the hook sees of a whole frame, from its link-layer header to the end of the IP datagram, and for
// which address family it is called: 0 if it is not.
func (o oracle) look(frame []byte) (seen []byte, family int) {
	if o.raw {
		return o.lookIP(nil, frame, rawProtocol(frame))
	}
	if len(frame) < etherHeader || !o.forUs(frame[:6]) {
		return nil, 0
	}
	typeAt := etherHeader - 2 + o.tags*vlanTag
	if len(frame) < typeAt+2 {
		return nil, 0
	}
	head, rest := frame[:typeAt], frame[typeAt:]
	for ethertype(rest) == etherVLAN || ethertype(rest) == etherQinQ {
		// A priority tag is taken off. Any other tag would have taken the frame to a VLAN device.
		if len(rest) < 2+vlanTag || binary.BigEndian.Uint16(rest[2:])&0xfff != 0 {
			return nil, 0
		}
		rest = rest[vlanTag:]
	}
	link := append(append([]byte(nil), head...), rest[:2]...)
	return o.lookIP(link, rest[2:], ethertype(rest))
}

func ethertype(b []byte) uint16 {
	if len(b) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(b)
}

func rawProtocol(b []byte) uint16 {
	switch {
	case len(b) > 0 && b[0]>>4 == 4:
		return etherIPv4
	case len(b) > 0 && b[0]>>4 == 6:
		return etherIPv6
	}
	return 0
}

// forUs: everything else is PACKET_OTHERHOST.
func (o oracle) forUs(dst []byte) bool { return dst[0]&1 != 0 || string(dst) == string(o.mac) }

func (o oracle) lookIP(link, ip []byte, protocol uint16) ([]byte, int) {
	n, family := 0, 0
	switch protocol {
	case etherIPv4:
		n, family = ipv4Length(ip), family4
	case etherIPv6:
		n, family = o.ipv6Length(ip), family6
	}
	if n <= 0 {
		return nil, 0
	}
	return append(link, ip[:n]...), family
}

// ipv4Length is ip_rcv_core: the length of the datagram, or 0 if it is dropped.
func ipv4Length(ip []byte) int {
	if len(ip) < 20 || ip[0]>>4 != 4 {
		return 0
	}
	header := int(ip[0]&15) * 4
	if header < 20 || header > len(ip) || onesSum(ip[:header]) != 0xffff {
		return 0
	}
	total := int(binary.BigEndian.Uint16(ip[2:]))
	if total > len(ip) || total < header {
		return 0
	}
	return total
}

// onesSum is the one's complement sum of 16-bit words.
func onesSum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 != 0 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// ipv6Length is ip6_rcv_core.
func (o oracle) ipv6Length(ip []byte) int {
	if len(ip) < 40 || ip[0]>>4 != 6 {
		return 0
	}
	src, dst := netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
	scope := ip[25] & 15
	switch {
	case !o.loopback && (src.IsLoopback() || dst.IsLoopback()),
		!o.loopback && dst.IsMulticast() && scope == 1,
		dst.IsMulticast() && scope == 0,
		src.IsMulticast():
		return 0
	}
	payload := int(binary.BigEndian.Uint16(ip[4:]))
	hopByHop := ip[6] == 0
	n := len(ip)
	if payload != 0 || !hopByHop {
		if n = payload + 40; n > len(ip) {
			return 0
		}
	}
	if hopByHop && !hopOptions(ip[40:n]) {
		return 0
	}
	return n
}

// hopOptions is ipv6_parse_hopopts: whether the hop-by-hop options header at the start of b is accepted. It does not
// know CALIPSO and IOAM, which no test sends, and takes it that no frame is long enough for a jumbogram.
func hopOptions(b []byte) bool {
	if len(b) < 8 || len(b) < (int(b[1])+1)*8 {
		return false
	}
	b = b[2 : (int(b[1])+1)*8]
	options, padding := 0, 0
	for len(b) > 0 {
		n := 1
		if b[0] != 0 {
			if len(b) < 2 || len(b) < int(b[1])+2 {
				return false
			}
			n = int(b[1]) + 2
		}
		switch opt := b[:n]; {
		case opt[0] <= 1:
			padding += n
			if padding > 7 || len(bytes.Trim(opt[min(2, n):], "\x00")) != 0 {
				return false
			}
		default:
			padding = 0
			options++
			if options > 8 || !hopOption(opt) {
				return false
			}
		}
		b = b[n:]
	}
	return true
}

func hopOption(opt []byte) bool {
	switch opt[0] {
	case 5: // router alert
		return opt[1] == 2
	case 0xc2: // jumbo payload
		return false
	}
	return opt[0]>>6 == 0
}
