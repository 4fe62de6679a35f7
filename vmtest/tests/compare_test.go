// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
)

// ethernet describes the receiving end of a wire.
func (w *wire) ethernet() *watched {
	return &watched{dev: w.dev, link: layers.LinkTypeEthernet, oracle: oracle{mac: w.mac}, last: etherHeader + lastSize}
}

// Every kind of packet, on a device with 9000-byte frames, at four snaplens and in both formats, next to tcpdump.
// Fragments must not be put together before the hook, nor packets dropped, whatever else hangs in PRE_ROUTING.
func TestCompareEthernet(t *testing.T) {
	const mtu = 9000
	w := newWire(t, mtu)
	w.rx.Run(t, "nft", "add table inet t; add chain inet t c { type filter hook prerouting priority -300; }; "+
		"add rule inet t c ct state new counter; add rule inet t c meta l4proto udp drop")
	craft := w.crafter(t, mtu)
	for _, c := range []struct {
		snaplen int
		format  genl.Format
	}{
		{14, genl.FormatPcapng}, {96, genl.FormatPcapng}, {1500, genl.FormatPcapng}, {whole, genl.FormatPcapng},
		{whole, genl.FormatPcap},
	} {
		t.Run(fmt.Sprintf("%s/%d", c.format, c.snaplen), func(t *testing.T) {
			frames := craft.corpus(5)
			for _, k := range loopKinds6 {
				frames = append(craft.make(k), frames...)
			}
			r := &rig{t: t, ns: w.rx, snaplen: c.snaplen, format: c.format, devs: []*watched{w.ethernet()}}
			received, n := r.compare(func() { w.sender.sendAll(frames) })
			checkSent(t, r.devs[0].oracle, frames, received)
			requireJumbo(t, frames)
			t.Logf("%d of %d frames compared", n, len(frames))
		})
	}
}

// requireJumbo makes sure that the corpus has what the case is about.
func requireJumbo(t *testing.T, frames []frame) {
	t.Helper()
	large, small := 0, 0
	for _, f := range frames {
		if len(f.data) > 8900 {
			large++
		}
		if len(f.data) == 60 {
			small++
		}
	}
	require.NotZero(t, large, "9000-byte frames")
	require.NotZero(t, small, "minimum frames")
}

func TestCompareFamily(t *testing.T) {
	w := newWire(t, 1500)
	craft := w.crafter(t, 1500)
	for _, family := range []genl.IPFamily{genl.IPFamilyIP, genl.IPFamilyIP6} {
		t.Run(family.String(), func(t *testing.T) {
			frames := craft.corpus(2)
			r := &rig{t: t, ns: w.rx, snaplen: whole, family: family, devs: []*watched{w.ethernet()}}
			received, n := r.compare(func() { w.sender.sendAll(frames) })
			checkSent(t, r.devs[0].oracle, frames, received)
			t.Logf("%d of %d frames compared", n, len(frames))
		})
	}
}
