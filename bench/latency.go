// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"gonum.org/v1/plot"
)

// RoundTrip is how long packets took there and back again, in nanoseconds.
type RoundTrip struct {
	Median float64 `json:"median_ns"`
	P99    float64 `json:"p99_ns"` // all but one in a hundred
	Max    float64 `json:"max_ns"`
}

// RoundTripOf sums times up. There must be some.
func RoundTripOf(times []time.Duration) *RoundTrip {
	v := slices.Sorted(slices.Values(times))
	ns := func(i int) float64 { return float64(v[i].Nanoseconds()) }
	return &RoundTrip{Median: ns(len(v) / 2), P99: ns(len(v) * 99 / 100), Max: ns(len(v) - 1)}
}

func (r *Report) latencyTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %s, %d CPU; nanoseconds for a packet there and back, of a processor that takes one for an\n"+
		"instruction; it is captured as it comes back\n", m.Kernel, m.How(), m.CPUs); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	var last string
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Size() != last {
			last = row.Size()
			fmt.Fprintf(t, "\npacket\tmedian\tadded\t99 %%\tmost\t  contender\n")
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.0f\t%.0f\t  %s\n", row.Size(), row.RoundTrip.Median, row.Instructions, row.RoundTrip.P99,
			row.RoundTrip.Max, row.Name())
	}
	return t.Flush()
}

// plotLatency has a group of bars for each contender: what it adds, by packet size.
func (r *Report) plotLatency(dir string) ([]string, error) {
	p := plot.New()
	p.Title.Text = "What a capture adds to a packet's way there and back"
	p.Y.Label.Text = "ns at one instruction in each, median"
	names, sizes := distinct(r.Rows, (*Row).Name), distinct(r.Rows, (*Row).Size)
	var series []string
	for _, size := range sizes {
		series = append(series, size+" bytes")
	}
	err := addBars(p, names, series, func(name, size int) float64 {
		return r.find(func(row *Row) bool { return row.Name() == names[name] && row.Size() == sizes[size] }).Instructions
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "latency.svg")
	return []string{file}, p.Save(plotWidth, plotHeight, file)
}
