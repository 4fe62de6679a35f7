// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCountPackets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "capture")
	data := make([]byte, 60)
	info := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(data), Length: 100}

	var pcap bytes.Buffer
	w := pcapgo.NewWriter(&pcap)
	require.NoError(t, w.WriteFileHeader(96, layers.LinkTypeEthernet))
	var ng bytes.Buffer
	nw, err := pcapgo.NewNgWriter(&ng, layers.LinkTypeEthernet)
	require.NoError(t, err)
	for range 5 {
		require.NoError(t, w.WritePacket(info, data))
		require.NoError(t, nw.WritePacket(info, data))
	}
	require.NoError(t, nw.Flush())

	for _, text := range [][]byte{pcap.Bytes(), ng.Bytes()} {
		require.NoError(t, os.WriteFile(file, text, 0o600))
		n, err := countPackets(file)
		require.NoError(t, err)
		assert.Equal(t, 5, n)

		require.NoError(t, os.WriteFile(file, text[:len(text)-10], 0o600))
		n, err = countPackets(file)
		assert.ErrorContains(t, err, "behind packet 4")
		assert.Equal(t, 4, n)
	}
	_, err = countPackets(file + "-none")
	assert.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = countPackets(file)
	assert.Error(t, err)
}
