// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

func TestGeneratedFilesAreUpToDate(t *testing.T) {
	differ, err := run(root, true)
	require.NoError(t, err)
	assert.Empty(t, differ, "run make gen and commit the result")
}

func TestRunNamesTheFilesThatDiffer(t *testing.T) {
	tmp := t.TempDir()
	data, err := os.ReadFile(filepath.Join(root, specPath))
	require.NoError(t, err)
	require.NoError(t, write(filepath.Join(tmp, specPath), data))

	differ, err := run(tmp, false)
	require.NoError(t, err)
	assert.Len(t, differ, len(outputs()))

	require.NoError(t, write(filepath.Join(tmp, "docs/netlink.md"), []byte("edited\n")))
	require.NoError(t, os.Remove(filepath.Join(tmp, "kmod/genl_gen.c")))
	for range 2 { // a check writes nothing
		differ, err = run(tmp, true)
		require.NoError(t, err)
		assert.Equal(t, []string{"kmod/genl_gen.c", "docs/netlink.md"}, differ)
	}
}

func TestSpecIsRefused(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, specPath))
	require.NoError(t, err)
	tests := []struct {
		name, old, new, want string
	}{
		{"no licence", "# SPDX-License-Identifier: ", "# ", "no SPDX licence line"},
		{"unknown key", "protocol: genetlink", "protocol: genetlink\nfuture: 1", "future"},
		{"protocol", "protocol: genetlink", "protocol: genetlink-legacy", "only genetlink"},
		{"limit against constant", "max: 262144", "max: 262143", "constant snaplen-max is 262144"},
		{"constant of a length", "max-len: logfile-max", "max-len: logfile-maximum", "neither a number nor a constant"},
		{"enum", "enum: ip-family", "enum: ip-families", `enum "ip-families"`},
		{"type", "type: u64\n        doc: Bytes of kernel", "type: s64\n        doc: Bytes of kernel", `type "s64"`},
		{"attribute of an operation", "request:\n          attributes: [ name ]", "request:\n          attributes: [ nom ]", `"nom" is not in set`},
		{"privilege", "flags: [ admin-perm ]\n      do:", "do:", "flags must be"},
		{"multicast group", "mcgrp: events", "mcgrp: news", `"news" is not defined`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Contains(t, string(data), tt.old)
			_, err := parseSpec([]byte(strings.Replace(string(data), tt.old, tt.new, 1)))
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestRefusalNamesAttributeAndRange(t *testing.T) {
	s, err := loadSpec(filepath.Join(root, specPath))
	require.NoError(t, err)
	capture := s.set("capture")
	for name, want := range map[string]string{
		"device_name":   "device_name: must be 1..15 bytes",
		"family":        "family: must be inet, ip or ip6",
		"snaplen":       "snaplen: must be 0..262144",
		"queue_size":    "queue_size: must be 65536..4294967296",
		"format":        "format: must be pcapng or pcap",
		"sync_interval": "sync_interval: must be 0..3600",
	} {
		assert.Equal(t, want, capture.attr(name).refusal())
	}
}

// The kernel's own generator is the judge of the spec and of the header.
func TestHeaderIsWhatTheKernelsGeneratorPrints(t *testing.T) {
	linux := os.Getenv("KSNIF_LINUX_SOURCE")
	if linux == "" {
		t.Skip("KSNIF_LINUX_SOURCE names no linux 6.12 source tree with tools/net/ynl")
	}
	out, err := exec.Command("./ynl_check.sh", linux).CombinedOutput()
	require.NoError(t, err, "%s", bytes.TrimSpace(out))
}
