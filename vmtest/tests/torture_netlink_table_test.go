// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// treated is an attribute as it should be, or as somebody spoiled it.
type treated struct {
	name  string
	attrs []byte
}

// treatments are the ways to send an attribute, from the spec: number may be any, for requests that do not know it.
func treatments(a genl.RequestAttr) []treated {
	var all []treated
	add := func(name string, attrs ...[]byte) {
		var b []byte
		for _, part := range attrs {
			b = append(b, part...)
		}
		all = append(all, treated{name, b})
	}
	good := goodAttr(a)
	add("nested", withFlags(good, 0x80))
	add("of the other byte order", withFlags(good, 0x40))
	add("nested and of the other byte order", withFlags(good, 0xc0))
	add("nested for real", withFlags(attr(a.Number, good), 0x80))
	add("inside of another", attr(a.Number, good))
	add("twice", good, good)
	add("twice, the second empty", good, attr(a.Number, nil))
	add("twice, the second nested", good, withFlags(good, 0x80))
	for _, unknown := range []uint16{0, genl.AttrCaptureState, genl.AttrCaptureTorn + 10, attrTypeMask} {
		add(fmt.Sprintf("behind attribute %d", unknown), attrU32(unknown, 1), good)
		add(fmt.Sprintf("before attribute %d", unknown), good, attrU32(unknown, 1))
	}
	add("cut off", good[:len(good)-4])
	add("before a header only", good, []byte{4, 0})
	add("before zeros", good, make([]byte, 4))
	for _, length := range []uint16{0, 3, uint16(len(good)) + 1, 0xffff} {
		b := append([]byte{}, good...)
		binary.NativeEndian.PutUint16(b, length)
		add(fmt.Sprintf("said to have %d bytes", length), b)
	}
	for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 60000} {
		add(fmt.Sprintf("%d zeros", n), attr(a.Number, make([]byte, n)))
		add(fmt.Sprintf("%d letters", n), attr(a.Number, []byte(strings.Repeat("x", n))))
	}
	for _, data := range values(a) {
		v, name := attr(a.Number, data), fmt.Sprintf("%.40q of %d", data, len(data))
		add(name, v)
		add(name+", behind a good one", good, v)
	}
	return all
}

// withFlags is an attribute with flags in its type.
func withFlags(attr []byte, flags byte) []byte {
	b := append([]byte{}, attr...)
	b[3] |= flags
	return b
}

// values are data of the right type, in range and out of it.
func values(a genl.RequestAttr) [][]byte {
	var all [][]byte
	if a.Type != "string" {
		for _, v := range append(edges(a), 0, 1, 2, 1<<20, 1<<31, 1<<32-1, 1<<32, 1<<63, 1<<64-1) {
			all = append(all, edgeAttr(a, v)[sizeofAttr:])
		}
		return all
	}
	text := func(s string) { all = append(all, []byte(s)) }
	for _, n := range edges(a) {
		s := edgeText(a, n)
		text(s) // unterminated
		text(s + "\x00")
		text(s + "\x00\x00\x00")
		text(s + "\x00x\x00")
	}
	for _, s := range []string{
		"default", "Default", "defaul", "default ", "any", "lo", "nodev0", ".", "..", "a/b", "a b", "a:b", "a\n", "a\xa0", "\xff", "ü",
		"/", "//", "/tmp/never", "tmp/never", "./never", "~/never", " /tmp/never", "/tmp/\xff", strings.Repeat("/x", 30000),
	} {
		text(s + "\x00")
	}
	text("\x00" + goodText(a) + "\x00")
	text(goodText(a) + "\x00\xff")
	return all
}

// edges are the values around the ends of an attribute's range; of a string, the lengths.
func edges(a genl.RequestAttr) []uint64 {
	values := []uint64{a.Min, a.Max, a.Max + 1}
	if a.Min > 0 {
		values = append(values, a.Min-1)
	}
	return values
}

func edgeAttr(a genl.RequestAttr, v uint64) []byte {
	switch a.Type {
	case "u64":
		return attrU64(a.Number, v)
	case "u32":
		return attrU32(a.Number, uint32(v))
	}
	return attrString(a.Number, edgeText(a, v))
}

// edgeText is a string of that length.
func edgeText(a genl.RequestAttr, length uint64) string {
	if a.Name == "logfile" && length > 0 {
		return "/" + strings.Repeat("x", int(length)-1)
	}
	return strings.Repeat("x", int(length))
}

// goodText is a string that a request takes.
func goodText(a genl.RequestAttr) string {
	return map[string]string{"name": "default", "device_name": "any", "logfile": "/tmp/never"}[a.Name]
}

// goodAttr is an attribute that a request takes.
func goodAttr(a genl.RequestAttr) []byte {
	if a.Type == "string" {
		return attrString(a.Number, goodText(a))
	}
	return edgeAttr(a, a.Min)
}

// netlinkRow is a request of the table.
type netlinkRow struct {
	name    string
	message []byte
}

// netlinkTable goes through the spec: each attribute in each command, alone and, if asked for, in a set beside good ones.
func netlinkTable(family uint16, beside bool) []netlinkRow {
	var rows []netlinkRow
	settings := captureNames()
	for _, r := range genl.Requests() {
		row := func(name string, attrs ...[]byte) {
			parts := append([][]byte{header(r.Command)}, attrs...)
			rows = append(rows, netlinkRow{r.Name + ": " + name, netlinkMessage(family, requestFlags, parts...)})
			if r.Dump || len(attrs) == 0 {
				dump := netlinkMessage(family, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, parts...)
				rows = append(rows, netlinkRow{"dump of " + r.Name + ": " + name, dump})
			}
		}
		row("no attribute")
		taken := map[uint16]genl.RequestAttr{}
		for _, a := range r.Attrs {
			taken[a.Number] = a
		}
		for number := range uint16(len(settings) + 4) {
			a, ok := taken[number]
			if !ok {
				row(fmt.Sprintf("attribute %d", number), attrU32(number, 1))
				row(fmt.Sprintf("attribute %d, nested", number), withFlags(attrU32(number, 1), 0x80))
				row(fmt.Sprintf("attribute %d, empty", number), attr(number, nil))
				continue
			}
			good := goodAttr(settings[genl.AttrCaptureSnaplen])
			if number == genl.AttrCaptureSnaplen {
				good = goodAttr(settings[genl.AttrCaptureName])
			}
			for _, as := range treatments(a) {
				row(a.Name+" "+as.name, as.attrs)
				if beside && r.Command == genl.CmdSet {
					row(a.Name+" "+as.name+", behind a good one", good, as.attrs)
					row(a.Name+" "+as.name+", before a good one", as.attrs, good)
				}
			}
		}
	}
	return rows
}

// TestTortureNetlinkTable sends every attribute of the spec in every command, in every way to spoil it, in every state,
// and has a model say what comes of it: what is refused changes nothing, and is told which attribute it was.
func TestTortureNetlinkTable(t *testing.T) {
	p := newPlace(t)
	rig := newNetlinkRig(p, map[string]opening{p.File: openable(t, p.File, false)})
	p.captured(5)
	t.Run("running", func(t *testing.T) { rig.at(t).table(genl.StateRunning) })
	p.Stop()
	t.Run("stopped", func(t *testing.T) { rig.at(t).table(genl.StateStopped) })

	full := newPlaceIn(t, fullTmpfs(t))
	failed := newNetlinkRig(full, map[string]opening{full.File: openable(t, full.File, true)})
	failed.ask(genl.CmdStart)
	t.Run("failed", func(t *testing.T) { failed.at(t).table(genl.StateFailed) })

	frozen := newPlaceIn(t, mountExt4(t))
	thaw := frozen.stopping()
	stopping := newNetlinkRig(frozen, nil)
	t.Run("stopping", func(t *testing.T) { stopping.at(t).table(genl.StateStopping) })
	thaw()
	guest.Poll(t, 10*time.Second, "the capture stops after the thaw", func() bool { return frozen.Get().State == genl.StateStopped })
}

func (r *netlinkRig) table(state genl.State) {
	r.T.Helper()
	r.adopt()
	require.Equal(r.T, state, r.m.state())
	base := r.m.clone()
	// a failed capture is set like a stopped one, and one that stops is not set at all
	rows, accepted := netlinkTable(r.m.family, state == genl.StateStopped || state == genl.StateRunning), 0
	before := r.look()
	for i := range rows {
		row := &rows[i]
		next := r.m.clone()
		want := next.datagram(row.message)
		if next.waits { // TestStateTableStopping has those that wait
			continue
		}
		if want[len(want)-1].Errno != 0 {
			r.refused(row, before)
			continue
		}
		accepted++
		r.exchange(next, want, row.message, row.name)
		require.Equal(r.T, r.m.capture, r.live(), row.name)
		r.back(base)
		if state == genl.StateRunning { // the file has its header
			r.ask(genl.CmdFlush)
		}
		before = r.look()
	}
	require.Equal(r.T, before, r.look(), "after all rows")
	r.T.Logf("%d rows, %d of them accepted", len(rows), accepted)
}

// refused sends a row that is refused, with two questions behind it in the same datagram: what there was before has not
// changed.
func (r *netlinkRig) refused(row *netlinkRow, before counted) {
	r.T.Helper()
	b := append([]byte{}, row.message...)
	for _, command := range []uint8{genl.CmdGet, genl.CmdStats} {
		b = append(b, make([]byte, aligned(len(b))-len(b))...)
		b = append(b, netlinkMessage(r.m.family, unix.NLM_F_REQUEST, header(command))...)
	}
	next := r.m.clone()
	r.exchange(next, next.datagram(b), b, row.name)
	require.Equal(r.T, r.m.capture, r.w.capture(), row.name)
	require.Equal(r.T, before, r.countedBeside(r.w.answers[genl.CmdStats]), "%s: a refusal changed something", row.name)
}
