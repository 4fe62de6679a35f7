// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"os"
	"path/filepath"
	"slices"
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
	for _, part := range PartNames() {
		p, err := PlanOf(part, 0)
		require.NoError(t, err)
		assert.Equal(t, part, p.Part)
		assert.NotZero(t, p.Repeats)
		for _, size := range p.Sizes {
			if size == 0 {
				size = 1496
			}
			if !slices.Contains(p.Snaplens, 0) {
				size = min(size, slices.Max(p.Snaplens))
			}
			assert.LessOrEqual(t, 2*p.Burst*(size+132), p.BufferKB<<10, "a burst fits into half of the memory")
		}
		p, err = PlanOf(part, 1)
		require.NoError(t, err)
		assert.Equal(t, 1, p.Repeats)
	}
	_, err := PlanOf("none", 0)
	assert.EqualError(t, err, "PART=none: must be one of: cost, scale, slides, latency, cpus, memory, lines")
}

func sampleSlides() *Report {
	return &Report{
		Part:    "slides",
		Machine: Machine{Kernel: "6.1.0", Accel: "tcg", CPUs: 1, BufferKB: 2048, DiskRate: 34_100_000},
		Tests:   talk()[:1],
		Rows: []Row{
			{Test: "1", Contender: "ksnif", Queue: "ring", IO: "direct", Packets: 2_000_000, Offered: 2_000_000, Captured: 641_000, Most: 648_000,
				Each: []int{640_000, 641_000, 642_000}, Whole: 1, Repeats: 3},
			{Test: "1", Contender: "tcpdump", Packets: 2_000_000, Offered: 1_900_000, Captured: 600_000, Most: 648_000, Each: []int{600_000}, Repeats: 3},
		},
	}
}

func TestSlides(t *testing.T) {
	r := sampleSlides()
	var b strings.Builder
	require.NoError(t, r.Table(&b))
	assert.Equal(t, `6.1.0, real time with tcg, 1 CPU, 2048 KB of buffers each and 51 MB of page cache, which with direct I/O the
queue has instead, a disk that takes 34.1 MB a second; packets in the file, medians of 3

  test 1  captured       of     came  lost none  of what could be held                    each  snaplen 1500, 70800 packets a second
            603874  2000000                                                                     the talk: kernel sniffer
            589831  2000000                                                                     the talk: tcpdump
            641000  2000000  2000000     1 of 3                 98.9 %  [640000 641000 642000]  ksnif ring direct
            600000  2000000  1900000     0 of 3                 92.6 %                [600000]  tcpdump
`, b.String())

	files, err := r.Plot(t.TempDir())
	require.NoError(t, err)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	for _, word := range []string{"<svg", "ksnif ring direct", "the talk: tcpdump", "packets kept"} {
		assert.Contains(t, string(text), word)
	}
}

func TestScale(t *testing.T) {
	row := func(packets int, each float64) Row {
		return Row{Contender: "tcpdump", Packets: packets, Captured: packets, Instructions: each, Repeats: 1}
	}
	// 5,000 and 300 for each; a packet between the last two costs 310
	r := &Report{Part: "scale", Machine: Machine{Kernel: "6.1.0", CPUs: 1, BufferKB: 16 << 10}, Rows: []Row{
		row(100, 350), row(1000, 305), row(10_000, (305_000+9000*310)/10_000.0),
	}}
	l := lineOf(r.Rows)
	assert.InDeltaSlice(t, []float64{300, 310}, l.Slopes, 1e-6)
	assert.InDelta(t, 10.0/310, l.Bend(), 1e-6)
	assert.InDelta(t, 5_000, l.Fixed, 1e-3)
	var b strings.Builder
	require.NoError(t, r.Table(&b))
	assert.Contains(t, b.String(), "  100..1000  1000..10000   bend  fixed  contender\n        300          310  3.2 %   5000  tcpdump\n")
	files, err := r.Plot(t.TempDir())
	require.NoError(t, err)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	assert.Contains(t, string(text), "tcpdump")
}
