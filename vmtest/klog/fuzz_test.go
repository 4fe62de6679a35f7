// SPDX-License-Identifier: GPL-2.0

package klog

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzScan: no log can hide a report that comes behind it, none is told twice, and time stamps make no difference.
func FuzzScan(f *testing.F) {
	f.Add("all is well\n")
	f.Add("------------[ cut here ]------------\nWARNING: CPU: 0 PID: 1 at x.c:1 f\nCall Trace:\n---[ end trace 0 ]---\nRIP: 0010:f\n")
	f.Add("==================================\nBUG: KASAN: use-after-free in f\n==================================\n")
	f.Add("Spectre V2 : WARNING: Unprivileged eBPF is enabled\r\n<4>[    1.5][  T12] list_del corruption\n\n</TASK>\n")
	f.Add(strings.Repeat("Call Trace:\n", 120))
	f.Fuzz(func(t *testing.T, log string) {
		const planted = "kernel BUG at planted.c:1!"
		log += "\n" + planted
		splats := Scan(log)
		var told, started int
		for _, s := range splats {
			require.NotEmpty(t, s.Lines)
			require.LessOrEqual(t, len(s.Lines), maxLines)
			require.Contains(t, s.Lines, s.Title)
			for _, line := range s.Telling {
				require.Contains(t, s.Lines, line)
				if line == planted {
					told++
				}
			}
		}
		require.Equal(t, told, strings.Count("\n"+clean(log)+"\n", "\n"+planted), "every plant is told of, once")

		one := NewScanner()
		for _, line := range strings.Split(clean(log), "\n") {
			if one.Line("<6>[   12.345678][  T42] " + line + "\r") {
				started++
			}
		}
		require.Equal(t, started, len(splats))
		require.Equal(t, splats, one.Splats())
		require.Empty(t, one.Splats())
	})
}

// clean is the log without what Strip takes off its lines.
func clean(log string) string {
	lines := strings.Split(log, "\n")
	for i, line := range lines {
		lines[i] = Strip(line)
	}
	return strings.Join(lines, "\n")
}

// FuzzTaint: every bit that has a name is named, once.
func FuzzTaint(f *testing.F) {
	f.Add(uint64(0))
	f.Add(uint64(12288))
	f.Add(^uint64(0))
	f.Fuzz(func(t *testing.T, mask uint64) {
		var parts []string
		for bit := range 64 {
			if text := Taint(mask & (1 << bit)); text != "" {
				require.NotContains(t, text, ", ")
				parts = append(parts, text)
			}
		}
		require.Equal(t, strings.Join(parts, ", "), Taint(mask))
	})
}
