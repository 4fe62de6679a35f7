// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"gonum.org/v1/plot"
)

// Rate is how many packets a second came.
func (r *Row) Rate() float64 {
	if r.Seconds == 0 {
		return 0
	}
	return float64(r.Offered) / r.Seconds
}

func (r *Report) cpusTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %s, %d CPUs, %d MB of buffers each; as many packets as the machine can receive, medians of %d\n",
		m.Kernel, m.How(), m.CPUs, m.BufferKB>>10, r.repeats()); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	last := 0
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.CPUs != last {
			last = row.CPUs
			fmt.Fprintf(t, "\nreceive\tpackets a second\tcame\tkept\t  contender\n")
		}
		kept := "-"
		if row.Contender != "none" {
			kept = fmt.Sprintf("%.1f %%", 100*float64(row.Captured)/float64(max(row.Offered, 1)))
		}
		fmt.Fprintf(t, "%d\t%.0f\t%d\t%s\t  %s\n", row.CPUs, row.Rate(), row.Offered, kept, row.Name())
	}
	return t.Flush()
}

// plotCPUs has a group of bars for each contender: the packets that came a second, by the number of processors.
func (r *Report) plotCPUs(dir string) ([]string, error) {
	p := plot.New()
	p.Title.Text = "Packets received a second with a capture, " + r.Machine.How()
	p.Y.Label.Text = "packets a second"
	cpus := func(row *Row) string { return fmt.Sprintf("%d CPUs", row.CPUs) }
	names, series := distinct(r.Rows, (*Row).Name), distinct(r.Rows, cpus)
	err := addBars(p, names, series, func(name, n int) float64 {
		return r.find(func(row *Row) bool { return row.Name() == names[name] && cpus(row) == series[n] }).Rate()
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "cpus.svg")
	return []string{file}, p.Save(plotWidth, plotHeight, file)
}
