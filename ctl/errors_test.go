// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// Wrong usage is told in one line that ends in where to read on, and exits 2
// without asking the module.
func TestUsageErrors(t *testing.T) {
	const names = "must be device_name, family, logfile, snaplen, queue_size, format, io or sync_interval"
	const number = "must be a number, as in 4096, 64K, 16M or 1G"
	const interval = "must be seconds, as in 2 or 0.5, from 0.1 to 86400"
	for _, tt := range []struct {
		args []string
		want string // without "ksnifctl: " and " (see ksnifctl X --help)"
	}{
		{[]string{"strat"}, "strat: unknown command: did you mean start or stats?"},
		{[]string{"strat", "--json"}, "strat: unknown command: did you mean start or stats?"},
		{[]string{"frobnicate"}, "frobnicate: unknown command"},
		{[]string{"--frob"}, "unknown flag: --frob"},
		{[]string{"help", "frob"}, "help frob: unknown command"},
		{[]string{"help", "get", "set"}, "help get set: takes one COMMAND at most"},
		{[]string{"get", "--frob"}, "get: unknown flag: --frob"},
		{[]string{"get", "-x"}, "get: unknown shorthand flag: 'x' in -x"},
		{[]string{"get", "frob"}, "get frob: unknown setting: " + names},
		{[]string{"get", ""}, `get "": unknown setting: ` + names},
		{[]string{"get", "snaplen", "io"}, "get snaplen io: takes one NAME at most"},
		{[]string{"get", "state"}, "get state: unknown setting: " + names},
		{[]string{"set"}, "set: NAME and VALUE are missing"},
		{[]string{"set", "snaplen"}, "set snaplen: VALUE is missing"},
		{[]string{"set", "snaplen", "96", "io"}, "set io: VALUE is missing"},
		{[]string{"set", "frob", "1"}, "set frob: unknown setting: " + names},
		{[]string{"set", "Snaplen", "1"}, "set Snaplen: unknown setting: " + names},
		{[]string{"set", "snaplen=96"}, "set snaplen=96: unknown setting: " + names},
		{[]string{"set", "--json", "snaplen", "96"}, "set: unknown flag: --json"},
		{[]string{"set", "snaplen", "1", "io", "buffered", "snaplen", "2"}, "set snaplen: given twice"},
		{[]string{"set", "snaplen", "many"}, "set snaplen many: " + number},
		{[]string{"set", "snaplen", ""}, `set snaplen "": ` + number},
		{[]string{"set", "snaplen", "9\n6"}, `set snaplen "9\n6": ` + number},
		{[]string{"set", "queue_size", "1.5M"}, "set queue_size 1.5M: " + number},
		{[]string{"set", "queue_size", strings.Repeat("x", 5000)}, "set queue_size " + strings.Repeat("x", 60) + "…: " + number},
		{[]string{"set", "family", "ipv4"}, "set family ipv4: must be inet, ip or ip6"},
		{[]string{"set", "format", "PCAP"}, "set format PCAP: must be pcapng or pcap"},
		{[]string{"set", "io", "fast"}, "set io fast: must be buffered, direct, auto or discard"},
		{[]string{"set", "snaplen", "96", "io", "fast"}, "set io fast: must be buffered, direct, auto or discard"},
		{[]string{"start", "now"}, "start now: takes no argument"},
		{[]string{"stats", "--json=3"}, "stats --json: takes no value"},
		{[]string{"stop", "--help=3"}, "stop --help: takes no value"},
		{[]string{"stop", "--json"}, "stop: unknown flag: --json"},
		{[]string{"stats", "--watch=0"}, `stats: invalid argument "0" for "--watch" flag: ` + interval},
		{[]string{"stats", "--watch=soon"}, `stats: invalid argument "soon" for "--watch" flag: ` + interval},
		{[]string{"stats", "--watch=NaN"}, `stats: invalid argument "NaN" for "--watch" flag: ` + interval},
		{[]string{"status", "--watch=-1"}, `status: invalid argument "-1" for "--watch" flag: ` + interval},
		{[]string{"stats", "--watch", "2"}, "stats 2: takes no argument: write an interval as --watch=2"},
		{[]string{"events", "--watch"}, "events: unknown flag: --watch"},
		{[]string{"completion"}, "completion: name of a shell (bash, zsh or fish) is missing"},
		{[]string{"completion", "sh"}, "completion sh: must be bash, zsh or fish"},
		{[]string{"completion", "bash", "zsh"}, "completion bash zsh: takes one name of a shell (bash, zsh or fish) only"},
		{[]string{"man"}, "man: DIR is missing"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			help := " (see ksnifctl " + tt.args[0] + " --help)"
			if !strings.HasPrefix(tt.want, tt.args[0]) || strings.Contains(tt.want, "unknown command") && tt.args[0] != "help" {
				help = " (see ksnifctl --help)"
			}
			assert.Equal(t, result{code: exitUsage, stderr: "ksnifctl: " + tt.want + help + "\n"}, run(t, nil, tt.args...))
		})
	}
}

func TestNoCommand(t *testing.T) {
	got := run(t, nil)
	assert.Equal(t, exitUsage, got.code)
	assert.Empty(t, got.stdout)
	assert.Equal(t, "ksnifctl: no command: try completion, events, flush, get, restart, set, start, stats, status, stop, version"+
		" (see ksnifctl --help)\n", got.stderr)
}

// What the module refuses is told in its words, without the name twice, and
// with what to do about it.
func TestRefusals(t *testing.T) {
	kernel := func(command, attr, message string, errno unix.Errno) error {
		return &genl.Error{Command: command, Attr: attr, Message: message, Err: errno}
	}
	for _, tt := range []struct {
		args []string
		err  error
		want string
	}{
		{
			[]string{"set", "snaplen", "300000"},
			kernel("set", "snaplen", "snaplen: must be 0..262144", unix.ERANGE),
			"set snaplen 300000: must be 1..262144",
		},
		{
			[]string{"set", "snaplen", "300000"}, // an old kernel's own text, which has no name
			kernel("set", "snaplen", "integer out of range", unix.ERANGE),
			"set snaplen 300000: integer out of range",
		},
		{
			[]string{"set", "snaplen", "96", "queue_size", "1K"},
			kernel("set", "", "queue_size: must be 65536..1073741824", unix.ERANGE),
			"set queue_size 1K: must be 65536..1073741824",
		},
		{
			[]string{"set", "queue_size", "32M"},
			kernel("set", "queue_size", "queue_size: cannot change while running", unix.EBUSY),
			"set queue_size 32M: cannot change while running: run ksnifctl stop first",
		},
		{
			[]string{"set", "snaplen", "96"},
			kernel("set", "", "set: the capture is stopping: settings cannot change", unix.EBUSY),
			"set: the capture is stopping: settings cannot change: run ksnifctl stop first",
		},
		{
			[]string{"set", "device_name", ""},
			kernel("set", "device_name", "device_name: must be 1..15 bytes", unix.ERANGE),
			`set device_name "": must be 1..15 bytes`,
		},
		{
			[]string{"set", "logfile", "/" + strings.Repeat("x", 5000)},
			kernel("set", "logfile", "logfile: must be 1..4095 bytes", unix.ERANGE),
			"set logfile /" + strings.Repeat("x", 59) + "…: must be 1..4095 bytes",
		},
		{
			[]string{"start"},
			kernel("start", "", "io: the file system cannot do direct I/O: set io auto or buffered", unix.EINVAL),
			"start: io buffered: the file system cannot do direct I/O: set io auto or buffered",
		},
		{
			[]string{"set", "device_name", "io", "io", "direct"}, // a value that is a setting's name
			kernel("set", "io", "io: no", unix.EINVAL), "set io direct: no",
		},
		{
			[]string{"start"}, kernel("start", "", "start: already running: use restart", unix.EALREADY),
			"start: already running: use restart",
		},
		{[]string{"start"}, kernel("start", "", "", unix.EALREADY), "start: operation already in progress: use restart"},
		{[]string{"start"}, kernel("start", "", "", unix.EPERM), "start: needs CAP_NET_ADMIN: run as root"},
		{[]string{"events"}, kernel("events", "", "", unix.EPERM), "events: needs CAP_NET_ADMIN: run as root"},
		{
			[]string{"start"}, kernel("start", "", "logfile: no such directory", unix.ENOENT),
			"start: logfile /var/log/ksnif.pcapng: no such directory: create it or set another logfile",
		},
		{
			[]string{"restart"}, kernel("restart", "", "logfile: is a symbolic link", unix.ELOOP),
			"restart: logfile /var/log/ksnif.pcapng: is a symbolic link: set another logfile",
		},
		{
			[]string{"start"}, kernel("start", "", "device_name: no such device", unix.ENODEV),
			"start: device_name any: no such device: see ip link for the devices there are",
		},
		{[]string{"start"}, kernel("start", "", "", unix.ENOENT), "start: no such file or directory"},
		{[]string{"flush"}, genl.ErrNotLoaded, "flush: ksnif is not loaded: run modprobe ksnif, or insmod kmod/ksnif.ko where it was built"},
		{
			[]string{"flush"}, kernel("flush", "", "flush: not running", unix.ENOTCONN),
			"flush: not running: run ksnifctl start first",
		},
		{
			[]string{"stop"}, kernel("stop", "", "", unix.ENOSPC),
			"stop: no space left on device: free space or set logfile to another disk",
		},
		{[]string{"stop"}, errors.New("odd\nerror\x1b[2J"), "stop: odd error [2J"},
		{[]string{"stop"}, fmt.Errorf("receive: %w", unix.ECONNRESET), "stop: receive: connection reset by peer"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			f := newFake(t)
			f.err = tt.err
			assert.Equal(t, result{code: exitFailed, stderr: "ksnifctl: " + tt.want + "\n"}, run(t, f, tt.args...))
		})
	}
}

// Whoever flushes a capture that has failed is not advised to start it: that would empty its file.
func TestFlushOfFailed(t *testing.T) {
	f := newFake(t)
	f.capture.Errno = unix.ENOSPC
	f.err = &genl.Error{Command: "flush", Message: "flush: no capture is running", Err: unix.ENOTCONN}
	want := "ksnifctl: flush: the capture has failed: ENOSPC (no space left on device): see ksnifctl status\n"
	assert.Equal(t, result{code: exitFailed, stderr: want}, run(t, f, "flush"))
}

// A number that fits no message is refused like one that the module refuses.
func TestNumbersOutOfAnyRange(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"snaplen", "-1", "must be 1..262144"},
		{"snaplen", "4294967296", "must be 1..262144"},
		{"snaplen", "99999999999999999999", "must be 1..262144"},
		{"sync_interval", "-1", "must be 0..3600"},
		{"sync_interval", "4294967296", "must be 0..3600"},
		{"queue_size", "-16M", "must be 65536..4294967296"},
		{"queue_size", "99999999999G", "must be 65536..4294967296"},
	} {
		assert.Equal(t,
			result{code: exitFailed, stderr: fmt.Sprintf("ksnifctl: set %s %s: %s\n", tt.name, tt.value, tt.want)},
			run(t, nil, "set", tt.name, tt.value))
	}
}

func TestNotLoaded(t *testing.T) {
	for _, args := range [][]string{
		{"get"}, {"get", "io"}, {"set", "io", "buffered"}, {"start"}, {"stop"}, {"restart"}, {"flush"},
		{"stats"}, {"stats", "--watch"}, {"status"}, {"events"},
	} {
		var stdout, stderr bytes.Buffer
		env := fakeEnv(t, nil, args...)
		env.Stdout, env.Stderr = &stdout, &stderr
		env.Dial = func() (Client, error) { return nil, fmt.Errorf("dial: %w", genl.ErrNotLoaded) }
		assert.Equal(t, exitFailed, Main(t.Context(), env))
		assert.Empty(t, stdout.String())
		assert.Equal(t, "ksnifctl: "+args[0]+": ksnif is not loaded: run modprobe ksnif, or insmod kmod/ksnif.ko where it was built\n", stderr.String())
	}
}

func TestReadErrorsLeaveNoOutput(t *testing.T) {
	for _, args := range [][]string{
		{"get"}, {"get", "--json"}, {"stats"}, {"stats", "--per-cpu"}, {"stats", "--json"}, {"stats", "--watch"},
		{"status"}, {"status", "--json"}, {"status", "--watch"},
	} {
		f := newFake(t)
		f.readErr = &genl.Error{Command: args[0], Err: unix.EPERM}
		assert.Equal(t,
			result{code: exitFailed, stderr: "ksnifctl: " + args[0] + ": needs CAP_NET_ADMIN: run as root\n"},
			run(t, f, args...))
	}
}

// Results that cannot be written are an error, whatever printed them.
func TestFullOutput(t *testing.T) {
	for _, args := range [][]string{
		{"get"}, {"get", "io"}, {"get", "--json"}, {"stats"}, {"stats", "--watch"}, {"stats", "--json", "--watch"}, {"status"},
		{"events"}, {"version"}, {"version", "--json"}, {"completion", "bash"}, {"help"}, {"set", "--help"}, {"--version"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			require.NoError(t, err)
			defer full.Close()
			f := newFake(t)
			f.events <- genl.Event{Type: genl.EventStarted}
			var stderr bytes.Buffer
			env := fakeEnv(t, f, args...)
			env.Stdout, env.Stderr = full, &stderr
			assert.Equal(t, exitFailed, Main(soon(t), env))
			assert.Regexp(t, `^ksnifctl: ([a-z]+: )?cannot write the output: no space left on device\n$`, stderr.String())
		})
	}
}

// A reader that goes away, as head does, is no news.
func TestClosedPipeIsQuiet(t *testing.T) {
	for _, args := range [][]string{{"get"}, {"stats", "--watch"}, {"completion", "bash"}} {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		require.NoError(t, r.Close())
		var stderr bytes.Buffer
		env := fakeEnv(t, newFake(t), args...)
		env.Stdout, env.Stderr = w, &stderr
		assert.Equal(t, exitFailed, Main(soon(t), env))
		assert.Empty(t, stderr.String())
		require.NoError(t, w.Close())
	}
}
