// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
)

func TestSetSaysNothing(t *testing.T) {
	f := newFake(t)
	got := run(t, f, "set", "snaplen", "96")
	assert.Equal(t, result{}, got)
	snaplen := uint32(96)
	assert.Equal(t, genl.Settings{Snaplen: &snaplen}, f.set, "only what was named is sent")
	assert.Equal(t, []string{"set"}, f.calls)
}

func TestSetAllInOneMessage(t *testing.T) {
	f := newFake(t)
	got := run(t, f, "set", "device_name", "eth0", "family", "ip6", "logfile", "/x/y", "snaplen", "64k",
		"queue_size", "1M", "format", "pcap", "io", "discard", "sync_interval", "5")
	require.Equal(t, result{}, got)
	assert.Equal(t, []string{"set"}, f.calls)
	applied := genl.Capture{}
	apply(&applied, f.set)
	assert.Equal(t, genl.Capture{
		DeviceName: "eth0", Family: parsed(t, genl.ParseIPFamily, "ip6"), Logfile: "/x/y", Snaplen: 65536,
		QueueSize: 1 << 20, Format: parsed(t, genl.ParseFormat, "pcap"), IO: parsed(t, genl.ParseIO, "discard"),
		SyncInterval: 5,
	}, applied)
}

func TestSetLogfileIsMadeAbsolute(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	require.NoError(t, err)
	for value, want := range map[string]string{
		"x.pcapng":       dir + "/x.pcapng",
		"sub/../x":       dir + "/sub/../x",
		"sub/":           dir + "/sub/",
		"-x":             dir + "/-x",
		"/abs/../x":      "/abs/../x",
		"":               "",
		"with space":     dir + "/with space",
		"snaplen":        dir + "/snaplen",
		"./x\n":          dir + "/./x\n",
		"--help":         dir + "/--help",
		"/" + "\xff\xfe": "/\xff\xfe",
	} {
		f := newFake(t)
		require.Equal(t, result{}, run(t, f, "set", "logfile", value), value)
		require.NotNil(t, f.set.Logfile, value)
		assert.Equal(t, want, *f.set.Logfile)
	}
}

func TestSetLogfileInRootDirectory(t *testing.T) {
	t.Chdir("/")
	f := newFake(t)
	require.Equal(t, result{}, run(t, f, "set", "logfile", "x"))
	assert.Equal(t, "/x", *f.set.Logfile)
}

func TestParseSize(t *testing.T) {
	for in, want := range map[string]uint64{
		"0": 0, "-0": 0, "96": 96, "007": 7, "1K": 1024, "1k": 1024, "64K": 65536, "16M": 16 << 20, "16m": 16 << 20,
		"4G": 4 << 30, "4g": 4 << 30, "18446744073709551615": math.MaxUint64, "17179869183G": 17179869183 << 30,
	} {
		got, err := parseSize(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got, in)
	}
	for _, in := range []string{
		"", "K", "-", "-K", "x", "1.5M", "1KiB", "1KB", "1B", "0x10", "+5", " 5", "5 ", "1 K", "1_000", "K1", "1MM", "--5", "٣", "1T",
	} {
		_, err := parseSize(in)
		assert.ErrorIs(t, err, errNoNumber, in)
	}
	for _, in := range []string{"-1", "-1K", "18446744073709551616", "17179869184G", strings.Repeat("9", 100)} {
		_, err := parseSize(in)
		assert.ErrorIs(t, err, errRange, in)
	}
}

func TestFormatSizeIsTakenBack(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 1: "1", 1023: "1023", 1024: "1K", 1025: "1025", 65536: "64K", 16 << 20: "16M", 4 << 30: "4G",
		1<<30 + 1<<20: "1025M", math.MaxUint64: "18446744073709551615",
	} {
		assert.Equal(t, want, formatSize(n))
		back, err := parseSize(want)
		require.NoError(t, err)
		assert.Equal(t, n, back)
	}
}

func TestControlCommandsAskForWhatTheyAreCalled(t *testing.T) {
	for _, name := range []string{"start", "stop", "restart", "flush"} {
		f := newFake(t)
		assert.Equal(t, result{}, run(t, f, name))
		assert.Equal(t, []string{name}, f.calls)
	}
}
