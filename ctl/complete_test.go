// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a shell is offered, as cobra's scripts ask for it. The last line is the
// directive: 0 files, 4 nothing else, 16 folders.
func TestComplete(t *testing.T) {
	const all = "device_name family logfile snaplen queue_size format io sync_interval"
	for _, tt := range []struct {
		line string // the last word is to be completed
		want string
	}{
		{"", "completion events flush get help restart set start stats status stop version :4"},
		{"sta", "start stats status :4"},
		{"get ", all + " :4"},
		{"get s", "snaplen sync_interval :4"},
		{"get snaplen ", ":4"},
		{"set ", all + " :4"},
		{"set snaplen ", ":4"},
		{"set snaplen 96 ", "device_name family logfile queue_size format io sync_interval :4"},
		{"set family ", "inet ip ip6 :4"},
		{"set family in", "inet :4"},
		{"set format ", "pcapng pcap :4"},
		{"set io ", "buffered direct auto discard :4"},
		{"set snaplen 96 io d", "direct discard :4"},
		{"set logfile ", ":0"},
		{"set logfile /va", ":0"},
		{"set frob ", ":4"},
		{"start ", ":4"},
		{"completion ", "bash zsh fish :4"},
		{"help st", "start stats status stop :4"},
		{"help start ", ":4"},
		{"man ", ":16"},
		{"stats --w", "--watch :4"},
		{"stats --j", "--json :4"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			assert.Equal(t, strings.Fields(tt.want), offered(t, tt.line))
		})
	}
}

func TestCompleteDeviceNames(t *testing.T) {
	devices, err := net.Interfaces()
	require.NoError(t, err)
	require.NotEmpty(t, devices)
	want := []string{"any"}
	for _, d := range devices {
		want = append(want, d.Name)
	}
	assert.Equal(t, append(want, ":4"), offered(t, "set device_name "))
}

// offered asks for completions without their descriptions.
func offered(t *testing.T, line string) []string {
	t.Helper()
	got := run(t, nil, append([]string{"__completeNoDesc"}, strings.Split(line, " ")...)...)
	require.Equal(t, exitOK, got.code)
	return strings.Fields(got.stdout)
}

func TestCompleteTellsWhatASettingIs(t *testing.T) {
	got := run(t, nil, "__complete", "set", "snap")
	assert.Contains(t, got.stdout, "snaplen\tbytes kept of each packet")
}

// The shells themselves take the scripts.
func TestCompletionScripts(t *testing.T) {
	for shell, check := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		t.Run(shell, func(t *testing.T) {
			got := run(t, nil, "completion", shell)
			require.Equal(t, exitOK, got.code)
			assert.Contains(t, got.stdout, "__complete")
			if _, err := exec.LookPath(shell); err != nil {
				t.Skipf("%s is not installed", shell)
			}
			cmd := exec.Command(shell, check...)
			cmd.Stdin = strings.NewReader(got.stdout)
			out, err := cmd.CombinedOutput()
			assert.NoError(t, err)
			assert.Empty(t, string(out))
		})
	}
}
