// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		change func(t *testing.T, f *fake)
	}{
		{name: "get", args: []string{"get"}},
		{name: "get_json", args: []string{"get", "--json"}},
		{name: "get_odd", args: []string{"get"}, change: func(t *testing.T, f *fake) {
			f.capture.Logfile = "/tmp/a\nb c"
			f.capture.QueueSize = 65537
			f.capture.Family = parsed(t, genl.ParseIPFamily, "ip6")
		}},
		{name: "stats", args: []string{"stats"}},
		{name: "stats_clean", args: []string{"stats"}, change: func(_ *testing.T, f *fake) {
			f.stats = genl.Stats{Name: "default", Received: 7, Captured: 7, Written: 7}
		}},
		{name: "stats_per_cpu", args: []string{"stats", "--per-cpu"}},
		{name: "stats_json", args: []string{"stats", "--json"}},
		{name: "stats_per_cpu_json", args: []string{"stats", "--per-cpu", "--json"}},
		{name: "status", args: []string{"status"}},
		{name: "status_failed", args: []string{"status"}, change: failed},
		{name: "status_json", args: []string{"status", "--json"}},
		{name: "status_failed_json", args: []string{"status", "--json"}, change: failed},
		{name: "version", args: []string{"version"}},
		{name: "help", args: []string{"help"}},
		{name: "help_set", args: []string{"help", "set"}},
		{name: "help_restart", args: []string{"restart", "--help"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			if tt.change != nil {
				tt.change(t, f)
			}
			got := run(t, f, tt.args...)
			assert.Equal(t, exitOK, got.code)
			assert.Empty(t, got.stderr)
			golden(t, tt.name, got.stdout)
		})
	}
}

func failed(t *testing.T, f *fake) {
	f.capture.State = parsed(t, genl.ParseState, "failed")
	f.capture.Errno = unix.ENOSPC
	f.capture.Unsynced = true
	f.capture.Family = parsed(t, genl.ParseIPFamily, "ip")
}

// What get prints for one setting is what set takes, and means the same.
func TestGetNameGivesWhatSetTakes(t *testing.T) {
	for _, s := range settings() {
		t.Run(s.name, func(t *testing.T) {
			f := newFake(t)
			got := run(t, f, "get", s.name)
			require.Equal(t, exitOK, got.code)
			value := strings.TrimSuffix(got.stdout, "\n")

			var back genl.Settings
			require.NoError(t, s.put(&back, value))
			applied := genl.Capture{}
			apply(&applied, back)
			assert.Equal(t, s.value(&f.capture), s.value(&applied))
		})
	}
}

// apply does what the module does with a set.
func apply(c *genl.Capture, s genl.Settings) {
	if s.DeviceName != nil {
		c.DeviceName = *s.DeviceName
	}
	if s.Family != nil {
		c.Family = *s.Family
	}
	if s.Logfile != nil {
		c.Logfile = *s.Logfile
	}
	if s.Snaplen != nil {
		c.Snaplen = *s.Snaplen
	}
	if s.QueueSize != nil {
		c.QueueSize = *s.QueueSize
	}
	if s.Format != nil {
		c.Format = *s.Format
	}
	if s.IO != nil {
		c.IO = *s.IO
	}
	if s.SyncInterval != nil {
		c.SyncInterval = *s.SyncInterval
	}
}

func TestVersionOfModule(t *testing.T) {
	for _, tt := range []struct {
		name   string
		files  map[string]string
		want   string
		asJSON string
	}{
		{name: "not loaded", want: "ksnif     not loaded\n", asJSON: `{"ksnifctl":"1.2.3","ksnif":null}`},
		{
			name: "loaded", files: map[string]string{"version": "0.9\n"},
			want: "ksnif     0.9\n", asJSON: `{"ksnifctl":"1.2.3","ksnif":"0.9"}`,
		},
		{
			name: "without a version", files: map[string]string{"refcnt": "0\n"},
			want: "ksnif     unknown\n", asJSON: `{"ksnifctl":"1.2.3","ksnif":"unknown"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sys := t.TempDir()
			for name, text := range tt.files {
				dir := filepath.Join(sys, "module", "ksnif")
				require.NoError(t, os.MkdirAll(dir, 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
			out := func(args ...string) string {
				var stdout bytes.Buffer
				env := fakeEnv(t, nil, args...)
				env.Sysfs, env.Stdout, env.Stderr = sys, &stdout, &stdout
				require.Equal(t, exitOK, Main(t.Context(), env))
				return stdout.String()
			}
			assert.Equal(t, "ksnifctl  1.2.3\n"+tt.want, out("version"))
			assert.Equal(t, tt.asJSON+"\n", out("version", "--json"))
		})
	}
}

// Each command says what it does with --help, asks no module and exits 0.
func TestEveryHelp(t *testing.T) {
	for _, name := range []string{
		"get", "set", "start", "stop", "restart", "flush", "stats", "status", "events",
		"version", "completion", "help", "man",
	} {
		for _, args := range [][]string{{name, "--help"}, {"help", name}} {
			got := run(t, nil, args...)
			assert.Equal(t, exitOK, got.code, args)
			assert.Empty(t, got.stderr, args)
			assert.Contains(t, got.stdout, "Usage:\n  ksnifctl "+name, args)
			if name != "man" {
				assert.Contains(t, got.stdout, "\nExamples:\n", args)
			}
		}
	}
	assert.NotContains(t, run(t, nil, "--help").stdout, "  man ", "man is hidden")
	assert.Contains(t, run(t, nil, "set", "snaplen", "96", "--help").stdout, "Usage:\n  ksnifctl set")
}
