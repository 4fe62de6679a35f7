// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// TestTortureNetlinkRandom sends random and mutated datagrams and has a model say what comes of each, while others keep
// the module busy: a capture of another namespace starts and stops, and readers of this one's counters begin dumps with
// the smallest buffer and go away in the middle.
func TestTortureNetlinkRandom(t *testing.T) {
	messages, seed := guest.Size(20_000, 100_000), guest.Seed(t)
	p := newPlaceIn(t, mountTmpfs(t, "size=1m"))
	r := newNetlinkRig(p, randomPaths(t, p))
	if guest.Debug() {
		r.patience = 5
	}
	enough := startCompany(p)
	g := newGenerator(seed, r.m)
	happened := map[string]int{}
	for n := 1; n <= messages; n++ {
		if guest.Debug() && guest.Config() == "ring" {
			r.shrinkQueue()
		}
		b, next, want := g.next(r.m)
		about := fmt.Sprintf("SEED=%d, message %d: %s", seed, n, hex.EncodeToString(b))
		before := r.m
		r.exchange(next, want, b, about)
		if what := changeOf(before, r.m); what != "" {
			happened[what]++
			require.Equal(t, r.m.capture, r.live(), about)
		}
		if n%1000 == 0 || n == messages {
			require.Equal(t, r.m.capture, r.live(), about)
		}
	}
	enough()
	t.Logf("%d messages: %v", messages, happened)
	for _, what := range []string{
		"settings", "stopped -> running", "running -> stopped", "stopped -> failed", "failed -> stopped", "failed -> running",
	} {
		assert.NotZero(t, happened[what], "%s: too rare to be a test", what)
	}
}

// shrinkQueue makes do with less than a quarter of the memory, of which a ring takes seconds to make, and to free, where
// the kernel looks after each page.
func (r *netlinkRig) shrinkQueue() {
	r.T.Helper()
	const enough = 1 << 20
	if size, _ := r.m.capture["queue_size"].(uint64); size > enough && r.m.state() != genl.StateRunning {
		small := r.m.clone()
		small.capture["queue_size"] = uint64(enough)
		r.ask(genl.CmdSet, small.settings(func(name string) bool { return name == "queue_size" })...)
	}
}

// randomPaths are the capture files that a start may meet. One is on a file system that is full.
func randomPaths(t testing.TB, p *place) map[string]opening {
	t.Helper()
	require.NoError(t, os.Symlink(p.File, p.path("link")))
	refused := func(errno unix.Errno, text string) opening { return opening{refused: refusal(errno, "logfile: "+text)} }
	full := fullTmpfs(t) + "/capture"
	return map[string]opening{
		p.File:             openable(t, p.File, false),
		p.path("other"):    openable(t, p.path("other"), false),
		full:               openable(t, full, true),
		p.dir:              refused(unix.EISDIR, "is a directory"),
		p.path("link"):     refused(unix.ELOOP, "is a symbolic link"),
		p.path("no/where"): refused(unix.ENOENT, "no such directory"),
		"/dev/null":        refused(unix.EINVAL, "not a regular file"),
		"/proc/version":    refused(unix.EINVAL, "on a file system of the kernel's own"),
	}
}

// changeOf names what a datagram changed, "" if nothing.
func changeOf(before, after *model) string {
	switch {
	case before.state() != after.state():
		return before.state().String() + " -> " + after.state().String()
	case !maps.Equal(before.capture, after.capture):
		return "settings"
	}
	return ""
}
