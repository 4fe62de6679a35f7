// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// badCommand is a command line that ksnifctl or the module behind it refuses. It is written as in a shell, without
// quotes: \x00 stands for an empty argument, \x01 for a blank inside of one.
type badCommand struct {
	line string
	says string // without "ksnifctl: " and, for wrong usage, without where to read on
	help string // wrong usage: "see ksnifctl HELP --help"; "-": see ksnifctl --help
}

const (
	namesOfSettings = "unknown setting: must be device_name, family, logfile, snaplen, queue_size, format, io or sync_interval"
	noNumber        = "must be a number, as in 4096, 64K, 16M or 1G"
	noInterval      = "must be seconds, as in 2 or 0.5, from 0.1 to 86400"
	whoMay          = "needs CAP_NET_ADMIN: run as root"
)

// TestBadCommandLines runs command lines that are wrong in every way the grammar leaves.
func TestBadCommandLines(t *testing.T) {
	rows := []badCommand{
		{"", "no command: try completion, events, flush, get, restart, set, start, stats, status, stop, version", "-"},
		{"strat", "strat: unknown command: did you mean start or stats?", "-"},
		{"frobnicate", "frobnicate: unknown command", "-"},
		{"START", "START: unknown command: did you mean start, restart or stats?", "-"},
		{"--frob", "unknown flag: --frob", "-"},
		{"help frob", "help frob: unknown command", "help"},
		{"get frob", "get frob: " + namesOfSettings, "get"},
		{"get state", "get state: " + namesOfSettings, "get"},
		{"get \x00", `get "": ` + namesOfSettings, "get"},
		{"get snaplen io", "get snaplen io: takes one NAME at most", "get"},
		{"get --frob", "get: unknown flag: --frob", "get"},
		{"get -x", "get: unknown shorthand flag: 'x' in -x", "get"},
		{"set", "set: NAME and VALUE are missing", "set"},
		{"set snaplen", "set snaplen: VALUE is missing", "set"},
		{"set snaplen 64 io", "set io: VALUE is missing", "set"},
		{"set frob 1", "set frob: " + namesOfSettings, "set"},
		{"set name other", "set name: " + namesOfSettings, "set"},
		{"set Snaplen 64", "set Snaplen: " + namesOfSettings, "set"},
		{"set snaplen=64", "set snaplen=64: " + namesOfSettings, "set"},
		{"set snaplen 64 frob 1", "set frob: " + namesOfSettings, "set"},
		{"set snaplen 64 snaplen 65", "set snaplen: given twice", "set"},
		{"set snaplen many", "set snaplen many: " + noNumber, "set"},
		{"set snaplen \x00", `set snaplen "": ` + noNumber, "set"},
		{"set snaplen 0x40", "set snaplen 0x40: " + noNumber, "set"},
		{"set snaplen 64\x01B", `set snaplen "64 B": ` + noNumber, "set"},
		{"set queue_size 1.5M", "set queue_size 1.5M: " + noNumber, "set"},
		{"set queue_size 1T", "set queue_size 1T: " + noNumber, "set"},
		{"set queue_size K", "set queue_size K: " + noNumber, "set"},
		{"set family ipv4", "set family ipv4: must be inet, ip or ip6", "set"},
		{"set family 1", "set family 1: must be inet, ip or ip6", "set"},
		{"set format PCAP", "set format PCAP: must be pcapng or pcap", "set"},
		{"set io fast", "set io fast: must be buffered, direct, auto or discard", "set"},
		{"set snaplen 64 io fast", "set io fast: must be buffered, direct, auto or discard", "set"},
		{"set --json snaplen 64", "set: unknown flag: --json", "set"},
		{"start now", "start now: takes no argument", "start"},
		{"start --force", "start: unknown flag: --force", "start"},
		{"stop all", "stop all: takes no argument", "stop"},
		{"restart now", "restart now: takes no argument", "restart"},
		{"flush now", "flush now: takes no argument", "flush"},
		{"stats now", "stats now: takes no argument", "stats"},
		{"status now", "status now: takes no argument", "status"},
		{"stats --watch 2", "stats 2: takes no argument: write an interval as --watch=2", "stats"},
		{"stats --watch=0", `stats: invalid argument "0" for "--watch" flag: ` + noInterval, "stats"},
		{"status --watch=soon", `status: invalid argument "soon" for "--watch" flag: ` + noInterval, "status"},
		{"events --watch", "events: unknown flag: --watch", "events"},
		{"completion", "completion: name of a shell (bash, zsh or fish) is missing", "completion"},
		{"completion sh", "completion sh: must be bash, zsh or fish", "completion"},
		{"version 1", "version 1: takes no argument", "version"},
	}
	p := newPlace(t)
	p.captured(5)
	silent := p.silent()
	before := p.snapshot()
	for _, row := range rows {
		t.Run(row.line, func(t *testing.T) {
			where := "ksnifctl " + row.help
			if row.help == "-" {
				where = "ksnifctl"
			}
			want := told{Code: 2, Stderr: "ksnifctl: " + row.says + " (see " + where + " --help)\n"}
			assert.Equal(t, want, p.at(t).ksnifctl(row.args()...))
			p.at(t).unchanged(before)
		})
	}
	silent()
	t.Logf("%d rows", len(rows))
}

func (c badCommand) args() []string {
	args := strings.Fields(c.line)
	for i := range args {
		args[i] = strings.NewReplacer("\x00", "", "\x01", " ").Replace(args[i])
	}
	return args
}

// TestBadSettings has well-formed command lines that the module refuses.
func TestBadSettings(t *testing.T) {
	most := queueSizeMax(t)
	size := fmt.Sprintf("must be 65536..%d", most)
	long := strings.Repeat("x", 5000)
	rows := []badCommand{
		{line: "set snaplen 262145", says: "set snaplen 262145: must be 1..262144"},
		{line: "set snaplen 300000", says: "set snaplen 300000: must be 1..262144"},
		{line: "set snaplen 1G", says: "set snaplen 1G: must be 1..262144"},
		{line: "set snaplen 4294967296", says: "set snaplen 4294967296: must be 1..262144"},
		{line: "set -- snaplen -1", says: "set snaplen -1: must be 1..262144"},
		{line: "set queue_size 0", says: "set queue_size 0: " + size},
		{line: "set queue_size 65535", says: "set queue_size 65535: " + size},
		{line: fmt.Sprintf("set queue_size %d", most+1), says: fmt.Sprintf("set queue_size %d: %s", most+1, size)},
		{line: "set queue_size 64G", says: "set queue_size 64G: " + size},
		{line: "set queue_size 99999999999G", says: "set queue_size 99999999999G: must be 65536..4294967296"},
		{line: "set snaplen 64 queue_size 1K", says: "set queue_size 1K: " + size},
		{line: "set queue_size 1K snaplen 64", says: "set queue_size 1K: " + size},
		{line: "set device_name \x00", says: `set device_name "": must be 1..15 bytes`},
		{line: "set device_name abcdefghijklmnop", says: "set device_name abcdefghijklmnop: must be 1..15 bytes"},
		{line: "set device_name a/b", says: "set device_name a/b: no device can have that name"},
		{line: "set device_name a\x01b", says: `set device_name "a b": no device can have that name`},
		{line: "set device_name ..", says: "set device_name ..: no device can have that name"},
		{line: "set logfile \x00", says: `set logfile "": must be 1..4095 bytes`},
		{line: "set logfile /" + long, says: "set logfile /" + long[:59] + "…: must be 1..4095 bytes"},
		{line: "flush", says: "flush: no capture is running: run ksnifctl start first"},
	}
	p := newPlace(t)
	p.captured(5)
	p.Stop()
	refuse(t, p, rows)

	p.Set(genl.Settings{DeviceName: ptr("nosuch0")})
	refuse(t, p, []badCommand{{
		line: "start", says: "start: device_name nosuch0: no such device: see ip link for the devices there are",
	}})
	p.Set(genl.Settings{DeviceName: ptr("any")})
	refuse(t, p, []badCommand{{line: "start", says: "start: format pcap: pcap needs a device_name other than any"}})
	p.Set(genl.Settings{DeviceName: ptr("lo"), Snaplen: ptr(uint32(128))})

	const first = "cannot change while running: run ksnifctl stop first"
	running := []badCommand{
		{line: "start", says: "start: already running: use restart"},
		{line: "set device_name any", says: "set device_name any: " + first},
		{line: "set family ip6", says: "set family ip6: " + first},
		{line: "set logfile /tmp/never", says: "set logfile /tmp/never: " + first},
		{line: "set queue_size 1M", says: "set queue_size 1M: " + first},
		{line: "set format pcapng", says: "set format pcapng: " + first},
		{line: "set io discard", says: "set io discard: " + first},
		{line: "set snaplen 64 io discard", says: "set io discard: " + first},
		{line: "set snaplen 0 queue_size 0", says: "set queue_size 0: " + size},
	}
	p.captured(5)
	refuse(t, p, running)
	t.Logf("%d rows", len(rows)+len(running)+2)
}

// refuse checks rows whose refusal comes from the module.
func refuse(t *testing.T, p *place, rows []badCommand) {
	t.Helper()
	silent := p.silent()
	before := p.snapshot()
	for _, row := range rows {
		name := row.line[:min(len(row.line), 40)]
		t.Run(before.Capture.State.String()+"/"+name, func(t *testing.T) {
			assert.Equal(t, told{Code: 1, Stderr: "ksnifctl: " + row.says + "\n"}, p.at(t).ksnifctl(row.args()...))
			p.at(t).unchanged(before)
		})
	}
	silent()
}

// TestCommandsNeedPrivilege runs every command as somebody without it.
func TestCommandsNeedPrivilege(t *testing.T) {
	p := newPlace(t)
	p.captured(5)
	silent := p.silent()
	before := p.snapshot()
	for _, line := range []string{
		"get", "get snaplen", "get --json", "set snaplen 64", "start", "stop", "restart", "flush", "stats", "stats --per-cpu",
		"stats --watch", "status", "status --json", "events",
	} {
		for _, w := range []person{{uid: anyUser}, {uid: anyUser, caps: []uint{unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE}}} {
			t.Run(fmt.Sprintf("%s/%v", line, w.caps), func(t *testing.T) {
				args := strings.Fields(line)
				want := told{Code: 1, Stderr: "ksnifctl: " + args[0] + ": " + whoMay + "\n"}
				assert.Equal(t, want, p.at(t).ksnifctlAs(w, args...))
				p.at(t).unchanged(before)
			})
		}
	}
	silent()
	// What tells nothing needs nothing, and CAP_NET_ADMIN is enough.
	version := p.ksnifctlAs(person{uid: anyUser}, "version")
	assert.Equal(t, 0, version.Code, version.Stderr)
	got := p.ksnifctlAs(person{uid: anyUser, caps: []uint{unix.CAP_NET_ADMIN}}, "get", "snaplen")
	require.Equal(t, told{Stdout: "777\n"}, got)
}
