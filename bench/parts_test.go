// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shown is what people see of a report: its table, and the text in its one plot.
func shown(t *testing.T, r *Report) (table, plot string) {
	t.Helper()
	var b strings.Builder
	require.NoError(t, r.Table(&b))
	files, err := r.Plot(t.TempDir())
	require.NoError(t, err)
	require.Len(t, files, 1)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	return b.String(), string(text)
}

func TestRoundTripOf(t *testing.T) {
	var times []time.Duration
	for i := range 1000 {
		times = append(times, time.Duration(999-i))
	}
	assert.Equal(t, &RoundTrip{Median: 500, P99: 990, Max: 999}, RoundTripOf(times))
	assert.Equal(t, &RoundTrip{Median: 7, P99: 7, Max: 7}, RoundTripOf([]time.Duration{7}))
}

func TestLatency(t *testing.T) {
	table, plot := shown(t, &Report{
		Part: "latency", Machine: Machine{Kernel: "6.1.0", Accel: Icount, CPUs: 1},
		Rows: []Row{
			{Contender: "none", PacketSize: 60, RoundTrip: &RoundTrip{Median: 30_000, P99: 31_000, Max: 90_000}},
			{Contender: "tcpdump", PacketSize: 60, Instructions: 2500, RoundTrip: &RoundTrip{Median: 32_500, P99: 40_000, Max: 95_000}},
		},
	})
	assert.Equal(t, `6.1.0, instructions counted, 1 CPU; nanoseconds for a packet there and back, of a processor that takes one for an
instruction; it is captured as it comes back

  packet  median  added   99 %   most  contender
      60   30000      0  31000  90000  none
      60   32500   2500  40000  95000  tcpdump
`, table)
	assert.Contains(t, plot, "60 bytes")
}

func TestCPUs(t *testing.T) {
	table, plot := shown(t, &Report{
		Part: "cpus", Machine: Machine{Kernel: "6.1.0", Accel: "kvm", CPUs: 4, BufferKB: 16 << 10},
		Rows: []Row{
			{Contender: "none", CPUs: 1, Offered: 3000, Seconds: 0.5, Repeats: 3},
			{Contender: "tcpdump", CPUs: 1, Offered: 3000, Captured: 1500, Seconds: 1, Repeats: 3},
			{Contender: "none", CPUs: 2, Offered: 6000, Seconds: 0.5, Repeats: 3},
		},
	})
	assert.Equal(t, `6.1.0, real time with kvm, 4 CPUs, 16 MB of buffers each; as many packets as the machine can receive, medians of 3

  receive  packets a second  came    kept  contender
        1              6000  3000       -  none
        1              3000  3000  50.0 %  tcpdump

  receive  packets a second  came  kept  contender
        2             12000  6000     -  none
`, table)
	assert.Contains(t, plot, "2 CPUs")
}

func TestMemory(t *testing.T) {
	table, plot := shown(t, &Report{
		Part: "memory", Machine: Machine{Kernel: "6.1.0", Accel: "tcg", CPUs: 1},
		Rows: []Row{{
			Contender: "ksnif", Queue: "ring", IO: "direct", Offered: 200, Captured: 100, Limit: 1 << 20,
			Memory: []Point{{0, 1000 << 10}, {1, 1124 << 10}, {2, 4 << 10}},
		}},
	})
	assert.Equal(t, `6.1.0, real time with tcg, 1 CPU, a disk that takes less than there comes; memory of the kernel, without its page
cache, above that before the capture, in KB

  most  given  above  after  came  kept  contender
  1124   1024    100      4   200   100  ksnif ring direct
`, table)
	assert.Contains(t, plot, "ksnif ring direct")
}
