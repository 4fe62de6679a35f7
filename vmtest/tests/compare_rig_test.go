// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

const whole = genl.SnaplenMax

// snaplens are those that every kind of traffic is compared at: a link-layer header and no more, the headers, a frame,
// and all of it.
var snaplens = []int{etherHeader, 96, 1500, whole}

// watched is a device that both tcpdump and ksnif capture.
type watched struct {
	dev    string
	link   layers.LinkType
	oracle oracle
	last   int // length of the last frame that the device receives

	full *tcpdump // whole frames, for the oracle
	cut  *tcpdump // at the snaplen of the comparison; the same as full if that is whole
}

// rig compares captures of the same traffic.
type rig struct {
	t       testing.TB
	ns      *guest.Namespace
	snaplen int
	family  genl.IPFamily
	format  genl.Format
	devs    []*watched
	capture *capture
}

// compare captures a device with tcpdump and ksnif while send runs, and compares. It returns what tcpdump saw and
// how many packets were compared.
func (r *rig) compare(send func()) (seen []pcapread.Packet, compared int) {
	r.t.Helper()
	require.Len(r.t, r.devs, 1)
	dev := r.devs[0]
	r.start(dev.dev)
	send()
	file, references := r.finish()
	if r.format == genl.FormatPcapng {
		require.Len(r.t, file.Interfaces, 1)
		require.Equal(r.t, dev.dev, file.Interfaces[0].Name)
	} else {
		require.False(r.t, file.Pcapng)
		require.True(r.t, file.Nanosec)
	}
	require.Equal(r.t, dev.link, file.Interfaces[0].LinkType)
	n := r.check(dev, references[0], file.Packets)
	r.checkCounted(n)
	checkTcpdumpReads(r.t, r.capture.File, file)
	return references[0].full.Packets, n
}

// start returns when both capture.
func (r *rig) start(device string) {
	r.t.Helper()
	r.capture = newCapture(r.t, r.ns, genl.Settings{
		DeviceName: &device, Snaplen: ptr(uint32(r.snaplen)), Family: &r.family, Format: &r.format,
	})
	for _, dev := range r.devs {
		dev.full = startTcpdump(r.t, r.ns, dev.dev, whole)
		dev.cut = dev.full
		if r.snaplen != whole {
			dev.cut = startTcpdump(r.t, r.ns, dev.dev, r.snaplen)
		}
	}
	r.eachTcpdump((*tcpdump).listen)
	r.capture.Start()
}

func (r *rig) eachTcpdump(do func(*tcpdump)) {
	for _, dev := range r.devs {
		do(dev.full)
		if dev.cut != dev.full {
			do(dev.cut)
		}
	}
}

// reference is what tcpdump captured of a device.
type reference struct{ full, cut *pcapread.File }

// finish waits for the last packets and ends both captures.
func (r *rig) finish() (*pcapread.File, []reference) {
	r.t.Helper()
	for _, dev := range r.devs {
		dev.full.waitFor(dev.last)
		dev.cut.waitFor(dev.last)
	}
	r.eachTcpdump((*tcpdump).interrupt)
	references := make([]reference, len(r.devs))
	expected := 0
	for i, dev := range r.devs {
		ref := reference{full: dev.full.result()}
		if ref.cut = ref.full; dev.cut != dev.full {
			ref.cut = dev.cut.result()
		}
		references[i] = ref
		expected += len(r.expect(dev, ref))
	}
	// The hook comes right after tcpdump. What it has not seen soon is missing: the comparison will say which one.
	for deadline := time.Now().Add(guest.Limit(time.Second)); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if r.capture.Stats().Received >= uint64(expected) {
			break
		}
	}
	return r.capture.StopRead(), references
}

// checkCounted checks the counters against the number of packets that were compared.
func (r *rig) checkCounted(n int) {
	r.t.Helper()
	stats := r.capture.Stats()
	require.EqualValues(r.t, n, stats.Received, "received; tcpdump and the oracle say %d", n)
	require.EqualValues(r.t, n, stats.Written, "%+v", *stats)
}

// expected is a packet as it has to be in ksnif's file.
type expected struct {
	pcapread.Packet
	frame int // number of tcpdump's packet
}

// expect lists what PRE_ROUTING must have seen of tcpdump's frames.
func (r *rig) expect(dev *watched, ref reference) []expected {
	r.t.Helper()
	require.Equal(r.t, dev.link, ref.full.Interfaces[0].LinkType, "tcpdump's link type")
	require.Equal(r.t, len(ref.full.Packets), len(ref.cut.Packets), "packets of two tcpdumps")
	var list []expected
	for i, p := range ref.full.Packets {
		require.Equal(r.t, p.Length, p.Caplen, "tcpdump's packet %d is not whole", i)
		cut := ref.cut.Packets[i]
		require.True(r.t, cut.Length == p.Length && bytes.Equal(cut.Data, p.Data[:min(r.snaplen, p.Length)]),
			"two tcpdumps do not agree on packet %d", i)
		seen, family := dev.oracle.look(p.Data)
		if family == 0 || r.family == genl.IPFamilyIP && family != family4 || r.family == genl.IPFamilyIP6 && family != family6 {
			continue
		}
		want := expected{frame: i}
		want.Time, want.Length, want.Caplen = p.Time, len(seen), min(r.snaplen, len(seen))
		want.Data = seen[:want.Caplen]
		list = append(list, want)
	}
	return list
}

// check compares packet for packet, and returns how many there are.
func (r *rig) check(dev *watched, ref reference, got []pcapread.Packet) int {
	r.t.Helper()
	want := r.expect(dev, ref)
	for i := range min(len(want), len(got)) {
		if err := want[i].same(got[i]); err != nil {
			r.t.Fatalf("%s: packet %d, tcpdump's %d: %v\nwant %s\ngot  %s\ntcpdump has %s", dev.dev, i, want[i].frame, err,
				describe(want[i].Packet), describe(got[i]), describe(ref.full.Packets[want[i].frame]))
		}
	}
	require.Equal(r.t, len(want), len(got), "%s: number of packets, after %d equal ones", dev.dev, min(len(want), len(got)))
	require.NotEmpty(r.t, got, "%s: nothing was compared", dev.dev)
	return len(got)
}

func (want *expected) same(got pcapread.Packet) error {
	switch {
	case got.Length != want.Length:
		return fmt.Errorf("original length %d instead of %d", got.Length, want.Length)
	case got.Caplen != want.Caplen:
		return fmt.Errorf("captured length %d instead of %d", got.Caplen, want.Caplen)
	case !bytes.Equal(got.Data, want.Data):
		return fmt.Errorf("other bytes")
	case got.Time.Truncate(time.Microsecond).Before(want.Time):
		// The packet passes tcpdump first. Its times are in microseconds.
		return fmt.Errorf("captured %s before tcpdump did", want.Time.Sub(got.Time))
	}
	return nil
}

func describe(p pcapread.Packet) string {
	return fmt.Sprintf("%s, length %d, captured %d\n%s", p.Time, p.Length, p.Caplen, hex.Dump(p.Data[:min(len(p.Data), 160)]))
}

// checkSent checks that a device received exactly the frames that were sent, and that the oracle finds for each of
// them what is known from its making.
func checkSent(t testing.TB, o oracle, sent []frame, received []pcapread.Packet) {
	t.Helper()
	checkReach(t, o, sent)
	require.Empty(t, withoutSent(t, sent, received), "frames that nobody sent")
}

// checkReach checks the oracle.
func checkReach(t testing.TB, o oracle, sent []frame) {
	t.Helper()
	for i, f := range sent {
		_, family := o.look(f.data)
		assert.Equal(t, f.reach, family != 0, "frame %d (%s) reaches PRE_ROUTING:\n%s", i, f.name, hex.Dump(f.data))
	}
}

// withoutSent checks that all frames that were sent were received in that order, and returns the others.
func withoutSent(t testing.TB, sent []frame, received []pcapread.Packet) []pcapread.Packet {
	t.Helper()
	var others []pcapread.Packet
	for _, p := range received {
		if len(sent) > 0 && bytes.Equal(sent[0].data, p.Data) {
			sent = sent[1:]
			continue
		}
		others = append(others, p)
	}
	if len(sent) > 0 {
		t.Fatalf("%d frames were not received in turn, the first is %s\n%s", len(sent), sent[0].name, hex.Dump(sent[0].data))
	}
	return others
}
