// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a netlink attribute cannot carry is refused as the kernel would.
func TestSettingsThatCannotBeSent(t *testing.T) {
	long := strings.Repeat("x", 1<<16-6)
	for _, tt := range []struct {
		name     string
		settings Settings
		errno    unix.Errno
		want     string
	}{
		{"long logfile", Settings{Logfile: ptr("/" + long)}, unix.ERANGE, "set: logfile: must be 1..4095 bytes"},
		{"long device_name", Settings{DeviceName: ptr(long + "x")}, unix.ERANGE, "set: device_name: must be 1..15 bytes"},
		{"NUL", Settings{Logfile: ptr("/a\x00b")}, unix.EINVAL, "set: logfile: must not contain a NUL byte"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := encodeSettings(tt.settings)
			require.ErrorIs(t, err, tt.errno)
			assert.EqualError(t, err, tt.want)
		})
	}
	b, err := encodeSettings(Settings{Logfile: &long})
	require.NoError(t, err, "the longest that fits is left to the kernel to judge")
	ad, err := netlink.NewAttributeDecoder(b)
	require.NoError(t, err)
	require.True(t, ad.Next())
	assert.Equal(t, long, ad.String())
}

func TestEnums(t *testing.T) {
	assert.Equal(t, "ip6", IPFamilyIP6.String())
	assert.Equal(t, "family(7)", IPFamily(7).String())
	assert.Equal(t, "event(3)", EventType(3).String(), "a hole in the numbers")
	assert.Equal(t, "lost", EventLost.String())
	assert.Equal(t, []string{"stopped", "running", "stopping", "failed"}, StateNames())

	io, err := ParseIO("discard")
	require.NoError(t, err)
	assert.Equal(t, IODiscard, io)
	_, err = ParseIPFamily("IP")
	require.EqualError(t, err, "family: must be inet, ip or ip6")
	_, err = ParseFormat("")
	require.EqualError(t, err, "format: must be pcapng or pcap")
	_, err = ParseEventType("")
	require.Error(t, err)

	b, err := json.Marshal(map[string]any{"state": StateFailed})
	require.NoError(t, err)
	assert.JSONEq(t, `{"state":"failed"}`, string(b))
	var back struct{ State State }
	require.NoError(t, json.Unmarshal(b, &back))
	assert.Equal(t, StateFailed, back.State)
}

// The parsers' texts are the kernel's.
func TestParseErrorsAreTheKernelsRefusals(t *testing.T) {
	parsers := map[string]func(string) error{
		"family": func(s string) error { _, err := ParseIPFamily(s); return err },
		"format": func(s string) error { _, err := ParseFormat(s); return err },
		"io":     func(s string) error { _, err := ParseIO(s); return err },
	}
	for _, r := range Requests() {
		for _, a := range r.Attrs {
			if parse := parsers[a.Name]; parse != nil {
				assert.EqualError(t, parse("?"), a.Refusal)
				delete(parsers, a.Name)
			}
		}
	}
	assert.Empty(t, parsers)
}
