// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sampleReport() *Report {
	return &Report{
		Part:    "cost",
		Machine: Machine{Kernel: "6.1.0", Accel: "icount", CPUs: 1, BufferKB: 16 << 10, Processor: "a processor"},
		Rows: []Row{
			{Contender: "ksnif", Queue: "list", IO: "buffered", Snaplen: 96, PacketSize: 1496, Packets: 100, Offered: 100,
				Captured: 99, Instructions: 700.4, Spread: 3, Seconds: 0.5, Repeats: 3},
			{Contender: "tcpdump", Snaplen: 96, PacketSize: 1496, Offered: 100, Captured: 100, Instructions: 1400, Repeats: 3},
			{Contender: "tcpdump", Snaplen: 0, PacketSize: 0, Offered: 100, Captured: 100, Instructions: 5000, Repeats: 3},
		},
	}
}

func TestMedianSpread(t *testing.T) {
	for _, row := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{7}, 7, 0},
		{[]float64{9, 1, 5}, 5, 8},
		{[]float64{4, 1, 3, 2}, 2.5, 3},
	} {
		assert.Equal(t, row.median, Median(row.values), row.values)
		assert.Equal(t, row.spread, Spread(row.values), row.values)
	}
}

func TestReportFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cost.json")
	require.NoError(t, sampleReport().Write(file))
	got, err := ReadReport(file)
	require.NoError(t, err)
	assert.Equal(t, sampleReport(), got)

	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, key := range []string{"contender", "queue", "io", "snaplen", "packet_size", "packets", "offered", "captured",
		"instructions_per_packet", "seconds", "machine", "kernel"} {
		assert.Contains(t, string(text), `"`+key+`":`)
	}
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err = ReadReport(file)
	assert.ErrorContains(t, err, "cost.json")
}

func TestTable(t *testing.T) {
	var b strings.Builder
	require.NoError(t, sampleReport().Table(&b))
	assert.Equal(t, `6.1.0, instructions counted, 1 CPU, 16 MB of buffers each; instructions per captured packet,
above the same load without a capture, medians of 3

  packet  snaplen  instructions  spread  captured  offered  contender
    1496       96           700       3        99      100  ksnif list buffered
    1496       96          1400       0       100      100  tcpdump

  packet  snaplen  instructions  spread  captured  offered  contender
    IMIX    whole          5000       0       100      100  tcpdump
`, b.String())
}

func TestPlot(t *testing.T) {
	dir := t.TempDir()
	files, err := sampleReport().Plot(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(dir, "cost-1496.svg"), filepath.Join(dir, "cost-IMIX.svg")}, files)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for _, word := range []string{"<svg", "ksnif list buffered", "tcpdump", "snaplen 96", "instructions per captured packet"} {
		assert.Contains(t, string(text), word)
	}
}

func TestPlan(t *testing.T) {
	for _, part := range Parts() {
		p, err := PlanOf(part)
		require.NoError(t, err)
		assert.Equal(t, part, p.Part)
		assert.LessOrEqual(t, 2*p.Burst*2048, p.BufferKB<<10, "a burst of the largest packets fits into half of the memory")
	}
	_, err := PlanOf("none")
	assert.EqualError(t, err, "PART=none: must be one of: cost")
}
