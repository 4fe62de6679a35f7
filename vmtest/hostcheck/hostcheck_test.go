// SPDX-License-Identifier: GPL-2.0

package hostcheck

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
)

// leave writes a capture file of two packets, two seconds apart, and counters beside it.
func leave(t *testing.T, apart time.Duration, books genl.Stats) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	at := filepath.Join(dir, "out-1", Dir)
	require.NoError(t, os.MkdirAll(at, 0o755))
	file = filepath.Join(at, "TestX.pcapng")
	f, err := os.Create(file)
	require.NoError(t, err)
	defer f.Close()
	w, err := pcapgo.NewNgWriter(f, layers.LinkTypeEthernet)
	require.NoError(t, err)
	now := time.Now()
	for _, when := range []time.Time{now, now.Add(apart)} {
		require.NoError(t, w.WritePacket(gopacket.CaptureInfo{Timestamp: when, Length: 60, CaptureLength: 60}, make([]byte, 60)))
	}
	require.NoError(t, w.WriteInterfaceStats(0, pcapgo.NgInterfaceStatistics{
		LastUpdate: now, StartTime: now, EndTime: now, PacketsReceived: 9, PacketsDropped: 7,
	}))
	require.NoError(t, w.Flush())
	text, err := json.Marshal(books)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(strings.TrimSuffix(file, ".pcapng")+".json", text, 0o600))
	return dir, file
}

func needTools(t *testing.T) {
	t.Helper()
	for _, name := range []string{"capinfos", "tshark"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed (apt-get install tshark)", name)
		}
	}
}

func TestFind(t *testing.T) {
	dir, file := leave(t, time.Second, genl.Stats{})
	got, err := Find(dir, "TestX")
	require.NoError(t, err)
	require.Equal(t, file, got)
	_, err = Find(dir, "TestY")
	require.ErrorIs(t, err, ErrMissing)
}

func TestCapinfos(t *testing.T) {
	needTools(t)
	for name, c := range map[string]struct {
		apart   time.Duration
		written uint64
		err     string
	}{
		"good":       {time.Second, 2, ""},
		"less":       {time.Second, 1, "capinfos finds 2 packets, written is 1"},
		"out of row": {-time.Second, 2, "in order: False"},
	} {
		t.Run(name, func(t *testing.T) {
			_, file := leave(t, c.apart, genl.Stats{})
			err := capinfos(t.Context(), file, &genl.Stats{Written: c.written})
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
		})
	}
}

// What tshark prints of a statistics block of ksnif's.
const printed = `
                Option: Number of Received Packets = 200000
                    Number of Received Packets: 200000
                Option: Number of Packets Dropped by OS = 186732
                    Number of Dropped Packets by OS: 186732
`

func TestSums(t *testing.T) {
	twice := []byte(printed + printed)
	require.NoError(t, sums([]byte(printed), "Number of Received Packets", 200000))
	require.NoError(t, sums(twice, "Number of Dropped Packets by OS", 2*186732))
	require.ErrorContains(t, sums(twice, "Number of Dropped Packets by OS", 186732), "373464, the counters say 186732")
	require.ErrorContains(t, sums(twice, "Number of Delivered to the User Packets", 0), "tshark shows no")
}

// pcapgo writes only one of the options that are compared: the others have to be missed, not taken for zero.
func TestCheckMissesOptions(t *testing.T) {
	needTools(t)
	_, file := leave(t, time.Second, genl.Stats{Received: 9, Written: 2})
	err := Check(t.Context(), file)
	require.ErrorContains(t, err, "tshark shows no Number of Delivered to the User Packets")
	require.NotContains(t, err.Error(), "Number of Received Packets")
}
