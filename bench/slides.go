// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"gonum.org/v1/plot"
)

// slidesTable has the talk's figures beside today's.
func (r *Report) slidesTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %s, %d CPU, %d KB of buffers each and 51 MB of page cache, which with direct I/O the\n"+
		"queue has instead, a disk that takes %.1f MB a second; packets in the file, medians of %d\n", m.Kernel, m.How(), m.CPUs, m.BufferKB, float64(m.DiskRate)/1e6, r.repeats()); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, test := range r.Tests {
		fmt.Fprintf(t, "\ntest %s\tcaptured\tof\tcame\tlost none\tof what could be held\teach\t  snaplen %d, %d packets a second\n", test.Name, test.Snaplen, test.Rate)
		for _, who := range slices.Sorted(maps.Keys(test.Talk)) {
			fmt.Fprintf(t, "\t%d\t%d\t\t\t\t\t  the talk: %s\n", test.Talk[who], test.Packets, who)
		}
		for i := range r.Rows {
			if row := &r.Rows[i]; row.Test == test.Name {
				fmt.Fprintf(t, "\t%d\t%d\t%d\t%d of %d\t%.1f %%\t%v\t  %s\n", row.Captured, row.Packets, row.Offered, row.Whole, row.Repeats,
					100*float64(row.Captured)/float64(max(row.Most, 1)), row.Each, row.Name())
			}
		}
	}
	return t.Flush()
}

// plotSlides has a group of bars for each test: what the talk says, and what each contender kept, in parts of what came.
func (r *Report) plotSlides(dir string) ([]string, error) {
	p := plot.New()
	p.Title.Text = "The talk's three tests"
	p.Y.Label.Text = "packets kept, in % of those sent"
	p.Y.Max = 100
	talk, today := slices.Sorted(maps.Keys(r.Tests[0].Talk)), distinct(r.Rows, (*Row).Name)
	var tests, series []string
	for _, test := range r.Tests {
		tests = append(tests, fmt.Sprintf("test %s\nsnaplen %d\n%d/s", test.Name, test.Snaplen, test.Rate))
	}
	for _, who := range talk {
		series = append(series, "the talk: "+who)
	}
	err := addBars(p, tests, append(series, today...), func(i, who int) float64 {
		test := &r.Tests[i]
		if who < len(talk) {
			return 100 * float64(test.Talk[talk[who]]) / float64(test.Packets)
		}
		row := r.find(func(row *Row) bool { return row.Test == test.Name && row.Name() == today[who-len(talk)] })
		return 100 * float64(row.Captured) / float64(max(row.Packets, 1))
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "slides.svg")
	return []string{file}, p.Save(plotWidth, plotHeight, file)
}
