// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// netlinkRig is a place with a model beside it.
type netlinkRig struct {
	*place
	m *model
	w *nlSocket
	// how many more stops may take longer than a command waits
	patience int
}

func newNetlinkRig(p *place, paths map[string]opening) *netlinkRig {
	p.T.Helper()
	r := &netlinkRig{place: p, m: newModel(p.T, p, paths), w: p.nlSocketIn()}
	r.adopt()
	return r
}

// adopt has the model begin with what the capture is now.
func (r *netlinkRig) adopt() {
	r.T.Helper()
	r.m.capture = r.live()
	r.m.failing, r.m.racy, r.m.stray, r.m.waits = false, false, false, false
}

func (r *netlinkRig) live() map[string]any {
	r.T.Helper()
	live, err := r.w.live(r.m.family)
	require.NoError(r.T, err)
	return live
}

// settle waits for what a start brings that cannot but fail.
func (r *netlinkRig) settle() {
	r.T.Helper()
	if r.m.failing {
		guest.Poll(r.T, 10*time.Second, "the capture fails", func() bool { return r.live()["state"] == uint64(genl.StateFailed) })
		r.m.failing = false
	}
}

// exchange sends a datagram and checks the replies against those of next, the model as it will be.
func (r *netlinkRig) exchange(next *model, want []reply, b []byte, about string) {
	r.T.Helper()
	got, err := r.w.exchange(b)
	require.NoError(r.T, err, about)
	for i := range got { // before 6.10, the end of a dump points at nothing
		if i < len(want) && got[i].Done && got[i].Offset == 0 {
			got[i].Offset = want[i].Offset
		}
	}
	slow := slices.IndexFunc(got, stillWriting)
	if r.patience > 0 && next.ends && slow >= 0 && slices.Equal(got[:slow], want[:min(slow, len(want))]) {
		r.patience--
		r.stopAfterAll(b, about)
		return
	}
	require.Equal(r.T, want, got, about)
	r.m = next
	r.settle()
}

// stillWriting says whether a command did not wait on: how long a stop takes is the machine's affair.
func stillWriting(r reply) bool { return r.Errno == unix.EINPROGRESS && r.Text == textStill }

// stopAfterAll asks again, as it is for who was told that the capture is still writing. A message alone has stopped the
// capture then, and that is all. After several the model begins anew: the others came while it was stopping, or after.
func (r *netlinkRig) stopAfterAll(b []byte, about string) {
	r.T.Helper()
	r.T.Logf("%s: took longer than a command waits", about)
	stop := netlinkMessage(r.m.family, requestFlags, header(genl.CmdStop))
	var got []reply
	guest.Poll(r.T, time.Minute, "the capture stops", func() bool {
		var err error
		got, err = r.w.exchange(stop)
		require.NoError(r.T, err, about)
		return !slices.ContainsFunc(got, stillWriting)
	})
	r.m = r.m.clone() // who called compares with what was before
	if size := int(binary.NativeEndian.Uint32(b)); aligned(size) >= len(b) {
		require.Equal(r.T, []reply{{}}, got, about)
		r.m.setState(genl.StateStopped, 0)
		require.Equal(r.T, r.m.capture, r.live(), about)
		return
	}
	r.m.told = slices.Equal(got, []reply{refusal(unix.ENOSPC, textCutShort)})
	require.True(r.T, r.m.told || slices.Equal(got, []reply{{}}), "%s: %+v", about, got)
	r.adopt()
}

// at is the rig for use by a subtest.
func (r *netlinkRig) at(t testing.TB) *netlinkRig {
	c := *r
	c.place = r.place.at(t)
	return &c
}

// back brings the capture to the state and the settings of base.
func (r *netlinkRig) back(base *model) {
	r.T.Helper()
	if maps.Equal(r.m.capture, base.capture) {
		return
	}
	set := base.settings(func(name string) bool { return r.m.state() != genl.StateRunning || name == "snaplen" })
	r.ask(genl.CmdSet, set...)
	if r.m.state() == base.state() {
		return
	}
	if base.state() == genl.StateStopped {
		r.ask(genl.CmdStop)
	} else {
		r.ask(genl.CmdStart)
	}
	require.Equal(r.T, base.capture, r.m.capture)
}

// ask makes a request that has to succeed.
func (r *netlinkRig) ask(command uint8, attrs ...[]byte) {
	r.T.Helper()
	next := r.m.clone()
	b := netlinkMessage(r.m.family, requestFlags, append([][]byte{header(command)}, attrs...)...)
	want := next.datagram(b)
	require.Equal(r.T, []reply{{}}, want, requestNames[command])
	r.exchange(next, want, b, requestNames[command])
}

// settings are the attributes of a set of those settings that choose picks.
func (m *model) settings(choose func(name string) bool) [][]byte {
	var attrs [][]byte
	for _, a := range m.requests[genl.CmdSet].Attrs {
		switch v := m.capture[a.Name].(type) {
		case string:
			if a.Name != "name" && choose(a.Name) {
				attrs = append(attrs, attrString(a.Number, v))
			}
		case uint64:
			if choose(a.Name) {
				attrs = append(attrs, edgeAttr(a, v))
			}
		}
	}
	return attrs
}

// counted is what else a refusal must leave as it was.
type counted struct {
	Stats string
	File  fileState
}

// look sees the counters and, from outside, the file.
func (r *netlinkRig) look() counted {
	r.T.Helper()
	_, err := r.w.exchange(netlinkMessage(r.m.family, requestFlags, header(genl.CmdStats)))
	require.NoError(r.T, err)
	return r.countedBeside(r.w.answers[genl.CmdStats])
}

// countedBeside sees the file, beside an answer to stats.
func (r *netlinkRig) countedBeside(stats []byte) counted {
	r.T.Helper()
	info, err := os.Stat(r.File)
	require.NoError(r.T, err)
	return counted{Stats: string(stats), File: fileState{Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime()}}
}

// fullTmpfs mounts a file system that takes files, and not a byte in them.
func fullTmpfs(t testing.TB) string {
	t.Helper()
	dir := mountTmpfs(t, "size=4k")
	require.NoError(t, os.WriteFile(dir+"/filler", make([]byte, 4096), 0o600))
	return dir
}
