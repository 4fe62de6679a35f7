// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"

	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// generator makes datagrams, the same for the same seed.
type generator struct {
	rng    *rand.Rand
	family uint16
	paths  []string
	attrs  []genl.RequestAttr
	spoilt [][]treated // of each of attrs
	recent [][]byte    // to be mutated
}

func newGenerator(seed uint64, m *model) *generator {
	g := &generator{rng: rand.New(rand.NewPCG(seed, 0)), family: m.family, attrs: slices.Clone(m.requests[genl.CmdSet].Attrs)}
	for i, a := range g.attrs {
		g.spoilt = append(g.spoilt, treatments(a))
		switch a.Name { // beyond the limit of this machine, or what it can do, half the time
		case "queue_size":
			g.attrs[i].Max = 2 * m.queueMax
		case "io":
			g.attrs[i].Max++
		}
	}
	for _, path := range slices.Sorted(maps.Keys(m.paths)) {
		g.paths = append(g.paths, path)
		if file := m.paths[path]; file.full { // a failure is the rarest of all
			g.paths = append(g.paths, slices.Repeat([]string{path}, 7)...)
		} else if file.refused.Errno == 0 {
			g.paths = append(g.paths, path, path)
		}
	}
	return g
}

// next is a datagram of which m can say what comes: m as it will be then, and the replies.
func (g *generator) next(m *model) ([]byte, *model, []reply) {
	for {
		b := g.datagram()
		next := m.clone()
		want := next.datagram(b)
		switch {
		case next.stray: // leave that path first
			path := g.pick(g.paths)
			b = netlinkMessage(g.family, requestFlags, header(genl.CmdSet), attrString(genl.AttrCaptureLogfile, path))
			next = m.clone()
			want = next.datagram(b)
		case len(b) == 0 || next.racy || next.foreign:
			continue
		}
		g.remember(b)
		return b, next, want
	}
}

func (g *generator) remember(b []byte) {
	const most = 64
	if len(g.recent) < most {
		g.recent = append(g.recent, b)
		return
	}
	g.recent[g.rng.IntN(most)] = b
}

// one in n times.
func (g *generator) one(n int) bool { return g.rng.IntN(n) == 0 }

func (g *generator) pick(from []string) string { return from[g.rng.IntN(len(from))] }

func (g *generator) datagram() []byte {
	switch n := g.rng.IntN(10); {
	case n < 6:
		return g.message()
	case n < 7:
		var b []byte
		for range 2 + g.rng.IntN(3) {
			b = append(b, make([]byte, -len(b)&3)...)
			b = append(b, g.message()...)
		}
		return b
	case n < 9 && len(g.recent) > 0:
		return g.mutate(g.recent[g.rng.IntN(len(g.recent))])
	}
	return g.mutate(g.message())
}

// message is a request, in order or not.
func (g *generator) message() []byte {
	kind, flags, head := g.family, uint16(requestFlags), header(g.command())
	if g.one(20) {
		flags = uint16(g.rng.Uint32())
	}
	if g.one(10) {
		flags = unix.NLM_F_REQUEST | unix.NLM_F_DUMP
		head[0] = genl.CmdStats
	}
	if g.one(50) {
		kind = uint16(g.rng.Uint32())
	}
	if g.one(20) {
		head[g.rng.IntN(len(head))] = byte(g.rng.Uint32())
	}
	parts := [][]byte{head}
	if head[0] == genl.CmdSet {
		for range g.rng.IntN(4) {
			parts = append(parts, g.attr(g.rng.IntN(len(g.attrs))))
		}
	} else if g.one(3) {
		parts = append(parts, g.attr(0))
	}
	return netlinkMessage(kind, flags, parts...)
}

// command prefers what is quick: a stop waits for grace periods.
func (g *generator) command() uint8 {
	quick := []uint8{genl.CmdSet, genl.CmdSet, genl.CmdSet, genl.CmdGet, genl.CmdStats}
	slow := []uint8{genl.CmdStart, genl.CmdStart, genl.CmdStop, genl.CmdRestart, genl.CmdFlush}
	if g.one(8) {
		return slow[g.rng.IntN(len(slow))]
	}
	return quick[g.rng.IntN(len(quick))]
}

// attr is an attribute of a set: mostly one that could be taken.
func (g *generator) attr(i int) []byte {
	a := g.attrs[i]
	if g.one(6) {
		return g.spoilt[i][g.rng.IntN(len(g.spoilt[i]))].attrs
	}
	switch a.Name {
	case "name":
		return goodAttr(a)
	case "device_name":
		return attrString(a.Number, g.pick([]string{"any", "lo", "lo", "nodev0"}))
	case "logfile":
		return attrString(a.Number, g.pick(g.paths))
	}
	return edgeAttr(a, a.Min+g.rng.Uint64N(a.Max-a.Min+1))
}

// mutate changes a copy of a datagram here and there.
func (g *generator) mutate(b []byte) []byte {
	b = slices.Clone(b)
	for range 1 + g.rng.IntN(4) {
		at := g.rng.IntN(len(b) + 1)
		end := min(at+1+g.rng.IntN(8), len(b))
		switch n := g.rng.IntN(6); {
		case n == 0:
			b = slices.Delete(b, at, end)
		case n == 1:
			b = b[:at]
		case n == 2:
			b = slices.Insert(b, at, b[at:end]...)
		case at == len(b):
			b = append(b, byte(g.rng.Uint32()))
		case n == 3:
			b[at] = byte(g.rng.Uint32())
		default:
			b[at] ^= 1 << g.rng.IntN(8)
		}
	}
	if len(b) >= sizeofHeader && !g.one(4) { // so that it gets further
		binary.NativeEndian.PutUint32(b, uint32(len(b)))
	}
	return b
}
