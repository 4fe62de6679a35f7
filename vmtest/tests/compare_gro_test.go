// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/pcapread"
)

// flow is a TCP stream that is cut into segments.
type flow struct {
	c      *crafter
	v6     bool
	tcp    layers.TCP
	ip4    *layers.IPv4
	ip6    *layers.IPv6
	length int // of its payload so far
}

func (c *crafter) flow(v6 bool) *flow {
	f := &flow{c: c, v6: v6, ip4: c.ip4(layers.IPProtocolTCP, nil, nil), ip6: c.ip6(layers.IPProtocolTCP)}
	f.ip4.Flags = layers.IPv4DontFragment
	f.ip4.Id = 0
	f.tcp = layers.TCP{
		SrcPort: layers.TCPPort(c.port()), DstPort: layers.TCPPort(c.port()), Seq: c.Uint32(), Ack: c.Uint32(),
		ACK: true, Window: 1000,
	}
	return f
}

// segment makes the next one.
func (f *flow) segment(n int) []byte {
	var over gopacket.NetworkLayer = f.ip4
	var head gopacket.SerializableLayer = f.ip4
	protocol := uint16(etherIPv4)
	if f.v6 {
		over, head, protocol = f.ip6, f.ip6, etherIPv6
	}
	if err := f.tcp.SetNetworkLayerForChecksum(over); err != nil {
		panic(err)
	}
	data := serialize(head, &f.tcp, gopacket.Payload(f.c.bytes(n)))
	f.tcp.Seq += uint32(n)
	f.length += n
	return f.c.ether(f.c.dst, protocol, data)
}

// segments makes frames of several flows, taking turns.
func (c *crafter) segments(count int) (frames []frame, payload int) {
	flows := []*flow{c.flow(false), c.flow(true), c.flow(false), c.flow(true)}
	for range count {
		for _, f := range flows {
			for range 1 + c.IntN(3) {
				frames = append(frames, frame{"segment", f.segment(1400), true})
			}
		}
	}
	for _, f := range flows {
		// PSH, as a sender has it at the end of its data. Without, GRO would hold back a segment whose flow has been
		// flushed, and the frame that ends the capture would overtake it.
		f.tcp.PSH = true
		frames = append(frames, frame{"segment", f.segment(1 + c.IntN(300)), true})
		payload += f.length
	}
	return append(frames, c.last()), payload
}

// Segments that GRO has merged are longer than any frame; they are captured as they are.
func TestCompareGRO(t *testing.T) {
	const mtu = 1500
	w := newWire(t, mtu)
	// GRO on veth needs a sender without segmentation offload, and time to collect segments.
	w.tx.Run(t, "ethtool", "-K", w.txDev, "tso", "off", "gso", "off")
	w.rx.Run(t, "ethtool", "-K", w.dev, "gro", "on")
	sysWrite(t, w.rx, "/sys/class/net/"+w.dev+"/gro_flush_timeout", "50000000")
	craft := w.crafter(t, mtu)
	for _, snaplen := range snaplens {
		t.Run(fmt.Sprint(snaplen), func(t *testing.T) {
			frames, payload := craft.segments(60)
			r := &rig{t: t, ns: w.rx, snaplen: snaplen, devs: []*watched{w.ethernet()}}
			received, n := r.compare(func() { w.sender.sendAll(frames) })
			merged4, merged6 := 0, 0
			for _, p := range received {
				if p.Length > mtu+etherHeader && p.Data[12] == 8 {
					merged4++
				} else if p.Length > mtu+etherHeader {
					merged6++
				}
			}
			require.NotZero(t, merged4, "GRO has merged nothing of IPv4")
			require.NotZero(t, merged6, "GRO has merged nothing of IPv6")
			require.Equal(t, payload, tcpPayload(received), "bytes of all streams")
			t.Logf("%d packets compared, of %d frames; longer than the MTU: %d IPv4, %d IPv6", n, len(frames), merged4, merged6)
		})
	}
}

func tcpPayload(packets []pcapread.Packet) int {
	sum := 0
	for _, p := range packets {
		switch {
		case p.Data[12] == 8 && p.Data[23] == 6:
			sum += p.Length - etherHeader - 20 - 20
		case p.Data[12] == 0x86 && p.Data[20] == 6:
			sum += p.Length - etherHeader - 40 - 20
		}
	}
	return sum
}
