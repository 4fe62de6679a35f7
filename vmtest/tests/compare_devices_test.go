// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// Packets for a VLAN arrive on its device, without their tag, or with it if the device is told not to reorder headers.
func TestCompareVLAN(t *testing.T) {
	w := newWire(t, 1600)
	w.rx.Run(t, "ip", "link", "add", "vlan7", "link", w.dev, "type", "vlan", "id", "7")
	w.rx.Run(t, "ip", "link", "add", "vlan8", "link", w.dev, "type", "vlan", "id", "8", "reorder_hdr", "off")
	w.rx.Run(t, "ip", "link", "add", "outer9", "link", w.dev, "type", "vlan", "proto", "802.1ad", "id", "9")
	w.rx.Run(t, "ip", "link", "set", "outer9", "up")
	w.rx.Run(t, "ip", "link", "add", "inner10", "link", "outer9", "type", "vlan", "id", "10")
	tag := func(protocol, id uint16) []byte {
		return binary.BigEndian.AppendUint32(nil, uint32(protocol)<<16|uint32(id))
	}
	for _, c := range []struct {
		dev     string
		snaplen int
		tags    []byte
		stay    int
	}{
		{"vlan7", 14, tag(etherVLAN, 0x6007), 0},
		{"vlan7", 96, tag(etherVLAN, 0x6007), 0},
		{"vlan7", 1500, tag(etherVLAN, 0x6007), 0},
		{"vlan7", whole, tag(etherVLAN, 0x6007), 0},
		{"vlan8", whole, tag(etherVLAN, 8), 1},
		{"vlan8", 14, tag(etherVLAN, 8), 1},
		{"inner10", whole, append(tag(etherQinQ, 9), tag(etherVLAN, 10)...), 0},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.dev, c.snaplen), func(t *testing.T) {
			w.rx.Run(t, "ip", "link", "set", c.dev, "up")
			craft := w.crafter(t, 1500)
			craft.untagged = c.stay > 0
			frames := longEnough(craft.corpus(2), etherHeader+2)
			o := oracle{mac: w.mac, tags: c.stay}
			dev := &watched{dev: c.dev, link: layers.LinkTypeEthernet, oracle: o, last: etherHeader + c.stay*vlanTag + lastSize}
			r := &rig{t: t, ns: w.rx, snaplen: c.snaplen, devs: []*watched{dev}}
			received, n := r.compare(func() { w.sender.sendAll(insert(frames, 12, c.tags)) })
			checkSent(t, o, insert(frames, 12, c.tags[:c.stay*vlanTag]), received)
			t.Logf("%d of %d frames compared", n, len(frames))
		})
	}
}

// longEnough leaves out frames that the kernel drops where it looks for a tag, before tcpdump sees them.
func longEnough(frames []frame, n int) []frame {
	var list []frame
	for _, f := range frames {
		if len(f.data) >= n {
			list = append(list, f)
		}
	}
	return list
}

// insert puts bytes into all frames.
func insert(frames []frame, at int, b []byte) []frame {
	list := make([]frame, len(frames))
	for i, f := range frames {
		data := append(append(append([]byte(nil), f.data[:at]...), b...), f.data[at:]...)
		list[i] = frame{f.name, data, f.reach}
	}
	return list
}

// A device without a link-layer header, whose packets come in in process context.
func TestCompareTun(t *testing.T) {
	ns := guest.NewNamespace(t, "tun")
	tun := newTun(t, ns, "tun0")
	craft := newCrafter(t)
	craft.raw = true
	for _, c := range []struct {
		snaplen int
		format  genl.Format
	}{
		{14, genl.FormatPcapng}, {96, genl.FormatPcap}, {1500, genl.FormatPcapng}, {whole, genl.FormatPcapng},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.format, c.snaplen), func(t *testing.T) {
			frames := forTun(craft.corpus(3))
			dev := &watched{dev: "tun0", link: layers.LinkTypeRaw, oracle: oracle{raw: true}, last: lastSize}
			r := &rig{t: t, ns: ns, snaplen: c.snaplen, format: c.format, devs: []*watched{dev}}
			received, n := r.compare(func() { tun.sendAll(frames) })
			checkSent(t, dev.oracle, frames, received)
			t.Logf("%d of %d packets compared", n, len(frames))
		})
	}
}

// Tunnels over IPv4: the packets inside arrive on a device without a link-layer header.
func TestCompareTunnel(t *testing.T) {
	w := newWire(t, 1600)
	for _, c := range []struct {
		mode, module string
		family       int
		protocol     layers.IPProtocol
	}{
		{"ipip", "ipip", family4, layers.IPProtocolIPv4},
		{"sit", "sit", family6, layers.IPProtocolIPv6},
	} {
		t.Run(c.mode, func(t *testing.T) {
			guest.Run(t, "modprobe", c.module)
			w.addTunnel(t, "over0", c.mode)
			t.Cleanup(func() { w.rx.Run(t, "ip", "link", "del", "over0") })
			craft := w.crafter(t, 1500)
			craft.raw, craft.family = true, c.family
			frames := craft.corpus(4)
			dev := &watched{dev: "over0", link: layers.LinkTypeRaw, oracle: oracle{raw: true}, last: lastSize}
			if c.family == family6 {
				frames[len(frames)-1] = craft.last6()
			}
			r := &rig{t: t, ns: w.rx, snaplen: whole, devs: []*watched{dev}}
			_, n := r.compare(func() { w.sender.sendAll(craft.encapsulate(frames, c.protocol)) })
			reach := 0
			for _, f := range frames {
				if f.reach {
					reach++
				}
			}
			require.Equal(t, reach, n, "good packets")
			t.Logf("%d of %d packets compared", n, len(frames))
		})
	}
}

func (w *wire) addTunnel(t testing.TB, dev, mode string) {
	t.Helper()
	w.rx.Run(t, "ip", "tunnel", "add", dev, "mode", mode, "local", "198.18.0.1", "remote", "198.18.0.2")
	w.rx.Run(t, "ip", "link", "set", dev, "up")
}

// last6 ends a comparison on a device that receives IPv6 only.
func (c *crafter) last6() frame {
	return frame{name: "last", data: serialize(c.ip6(253), gopacket.Payload(make([]byte, lastSize-40))), reach: true}
}

// encapsulate puts packets into IPv4 and Ethernet.
func (c *crafter) encapsulate(packets []frame, protocol layers.IPProtocol) []frame {
	list := make([]frame, len(packets))
	for i, p := range packets {
		ip := c.ip4(protocol, nil, nil)
		ip.TOS = 0
		list[i] = frame{p.name, c.ether(c.dst, etherIPv4, serialize(ip, gopacket.Payload(p.data))), true}
	}
	return list
}

// On lo, addresses of this machine are good ones.
func TestCompareLoopback(t *testing.T) {
	ns := guest.NewNamespace(t, "lo")
	s := newSender(t, ns, "lo")
	craft := newCrafter(t)
	craft.mtu, craft.src, craft.dst = 20000, make(net.HardwareAddr, 6), make(net.HardwareAddr, 6)
	for _, snaplen := range snaplens {
		t.Run(fmt.Sprint(snaplen), func(t *testing.T) {
			frames := craft.corpus(3)
			for _, k := range loopKinds6 {
				local := craft.make(k)
				local[0].reach = true
				frames = append(local, frames...)
			}
			dev := &watched{
				dev: "lo", link: layers.LinkTypeEthernet, last: etherHeader + lastSize,
				oracle: oracle{mac: craft.dst, loopback: true},
			}
			r := &rig{t: t, ns: ns, snaplen: snaplen, devs: []*watched{dev}}
			received, n := r.compare(func() { s.sendAll(frames) })
			checkReach(t, dev.oracle, frames)
			answers := withoutSent(t, frames, received) // what was sent from ::1 is answered there
			t.Logf("%d of %d frames compared", n, len(frames)+len(answers))
		})
	}
}
