// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// FuzzParseSize compares with numbers that know no limit.
func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"0", "96", "64K", "16m", "4g", "-0", "-1", "18446744073709551615", "16777216G", "1e3", "K", "", "+1"} {
		f.Add(s)
	}
	number := regexp.MustCompile(`^(-?)([0-9]+)([kKmMgG]?)$`)
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSize(s)
		m := number.FindStringSubmatch(s)
		if m == nil {
			require.ErrorIs(t, err, errNoNumber)
			return
		}
		want, ok := new(big.Int).SetString(m[1]+m[2], 10)
		require.True(t, ok)
		want.Lsh(want, map[string]uint{"": 0, "k": 10, "m": 20, "g": 30}[strings.ToLower(m[3])])
		if !want.IsUint64() {
			require.ErrorIs(t, err, errRange)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want.Uint64(), n)
	})
}

// FuzzFormatSize: what is printed is what set takes back, in the largest unit.
func FuzzFormatSize(f *testing.F) {
	for _, n := range []uint64{0, 1, 1023, 1 << 10, 16 << 20, 4 << 30, 3<<30 + 1, 1<<64 - 1} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, n uint64) {
		text := formatSize(n)
		back, err := parseSize(text)
		require.NoError(t, err)
		require.Equal(t, n, back)
		require.LessOrEqual(t, len(text), len(strconv.FormatUint(n, 10)))
	})
}

// FuzzSettingText: the value that get prints is one that set takes, and sets the same.
func FuzzSettingText(f *testing.F) {
	f.Add("any", "/var/log/ksnif.pcapng", uint32(262144), uint64(16<<20), uint32(0), uint32(1), uint32(2), uint32(0))
	f.Add("", "/a b\n\xff", uint32(0), ^uint64(0), uint32(2), uint32(0), uint32(3), uint32(3600))
	f.Fuzz(func(t *testing.T, device, logfile string, snaplen uint32, queue uint64, family, format, io, sync uint32) {
		c := &genl.Capture{
			DeviceName: device, Logfile: "/" + logfile, Snaplen: snaplen, QueueSize: queue,
			Family: genl.IPFamily(family % uint32(len(genl.IPFamilyNames()))),
			Format: genl.Format(format % uint32(len(genl.FormatNames()))),
			IO:     genl.IO(io % uint32(len(genl.IONames()))),

			SyncInterval: sync,
		}
		var s genl.Settings
		for _, row := range settings() {
			require.NoError(t, row.put(&s, row.text(c)), row.name)
			require.NotContains(t, row.display(c), "\n")
		}
		require.Equal(t, genl.Settings{
			DeviceName: &c.DeviceName, Logfile: &c.Logfile, Snaplen: &c.Snaplen, QueueSize: &c.QueueSize,
			Family: &c.Family, Format: &c.Format, IO: &c.IO, SyncInterval: &c.SyncInterval,
		}, s)
	})
}

// FuzzSetCommand: whatever NAME VALUE a user types, the module is asked once or not at all; what keeps it from being
// asked, and what the module answers, is one printable line. Exit codes are the three that the manual names.
func FuzzSetCommand(f *testing.F) {
	f.Add("snaplen", "96", "", uint16(0))
	f.Add("snaplen", "300000", "snaplen: must be 0..262144", uint16(unix.ERANGE))
	f.Add("logfile", "/x\ny", "logfile: must be\x1b[2J", uint16(unix.EINVAL))
	f.Add("device_name", "\xff\x00", "", uint16(unix.ENODEV))
	f.Add("queue_size", "", "", uint16(unix.ENOMEM))
	f.Add("--help", "", "", uint16(0))
	f.Add("\u2028", "-h", "", uint16(999))
	f.Fuzz(func(t *testing.T, name, value, answer string, errno uint16) {
		module := newFake(t)
		if errno != 0 {
			module.err = &genl.Error{Command: "set", Message: answer, Err: unix.Errno(errno)}
		}
		r := run(t, module, "set", name, value)
		require.Contains(t, []int{exitOK, exitFailed, exitUsage}, r.code)
		require.LessOrEqual(t, len(module.calls), 1)
		if r.code == exitOK {
			require.Empty(t, r.stderr)
			require.Zero(t, len(module.calls)*int(errno), "the refusal got lost")
			return
		}
		require.True(t, len(module.calls) == 0 || r.code == exitFailed && errno != 0)
		require.Empty(t, r.stdout)
		oneErrorLine(t, r.stderr)
	})
}

func oneErrorLine(t *testing.T, text string) {
	t.Helper()
	line, ok := strings.CutSuffix(text, "\n")
	require.True(t, ok, "%q", text)
	require.True(t, strings.HasPrefix(line, "ksnifctl: "), "%q", line)
	require.False(t, strings.ContainsFunc(line, unicode.IsControl), "%q", line)
}

// FuzzQuote: a value is shown on one line, as it is or quoted as in Go; long ones are cut.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "eth0", " ", "a\tb", "\xff", "\u2028", `"`, strings.Repeat("ä", 31), strings.Repeat("x", 61)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := quote(s)
		require.NotEmpty(t, got)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, len(got), 4*60+len(`"…"`))
		require.False(t, strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || !unicode.IsPrint(r) }), "%q", got)
		if got == s || len(s) > 60 || !utf8.ValidString(s) {
			return
		}
		back, err := strconv.Unquote(got)
		require.NoError(t, err)
		require.Equal(t, s, back)
	})
}

// FuzzObject: keys and values come back from the JSON, in their order and on one line.
func FuzzObject(f *testing.F) {
	f.Add("state", "running", "errno", uint64(1<<63))
	f.Add("<&>", "\x00\u2028", "é", uint64(0))
	f.Fuzz(func(t *testing.T, key, value, other string, n uint64) {
		var o object
		o.add(key, value)
		o.add(other, n)
		line, err := marshal(o)
		require.NoError(t, err)
		require.NotContains(t, string(line), "\n")
		dec := json.NewDecoder(strings.NewReader(string(line)))
		dec.UseNumber()
		var tokens []any
		for {
			tok, err := dec.Token()
			if err != nil {
				break
			}
			tokens = append(tokens, tok)
		}
		if utf8.ValidString(key + value + other) {
			assert.Equal(t, []any{json.Delim('{'), key, value, other, json.Number(strconv.FormatUint(n, 10)), json.Delim('}')}, tokens)
		} else {
			assert.Len(t, tokens, 6)
		}
	})
}
