// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"image/color"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// slidesTable has the talk's figures beside today's.
func (r *Report) slidesTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %s, %d CPU, %d KB of buffers each, a disk that takes %.1f MB a second; packets in the file,\n"+
		"medians of %d\n", m.Kernel, m.Accel, m.CPUs, m.BufferKB, float64(m.DiskRate)/1e6, r.repeats()); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, test := range r.Tests {
		fmt.Fprintf(t, "\ntest %s\tcaptured\tof\tof what could be held\teach\t  snaplen %d, %d packets a second\n", test.Name, test.Snaplen, test.Rate)
		for _, who := range slices.Sorted(maps.Keys(test.Talk)) {
			fmt.Fprintf(t, "\t%d\t%d\t\t\t  the talk: %s\n", test.Talk[who], test.Packets, who)
		}
		for i := range r.Rows {
			if row := &r.Rows[i]; row.Test == test.Name {
				fmt.Fprintf(t, "\t%d\t%d\t%.1f %%\t%v\t  %s\n", row.Captured, row.Offered,
					100*float64(row.Captured)/float64(max(row.Most, 1)), row.Each, row.Name())
			}
		}
	}
	return t.Flush()
}

// plotSlides has a group of bars for each test: what the talk says, and what each contender kept, in parts of what came.
func (r *Report) plotSlides(dir string) (string, error) {
	p := plot.New()
	p.Title.Text = "The talk's three tests"
	p.Y.Label.Text = "packets kept, in % of those sent"
	p.Y.Min, p.Y.Max = 0, 110
	p.Legend.Top = true
	names := append(slices.Sorted(maps.Keys(r.Tests[0].Talk)), distinct(r.Rows, (*Row).Name)...)
	for i, name := range names {
		values := make(plotter.Values, len(r.Tests))
		for j := range r.Tests {
			values[j] = r.kept(&r.Tests[j], i < len(r.Tests[0].Talk), name)
		}
		bars, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return "", err
		}
		shade := uint8(220 - 200*i/max(len(names)-1, 1))
		bars.Color = color.RGBA{R: shade / 2, G: shade, B: 220, A: 255}
		bars.LineStyle.Width = 0
		bars.Offset = barWidth * vg.Length(float64(i)-float64(len(names)-1)/2)
		p.Add(bars)
		if i < len(r.Tests[0].Talk) {
			name = "the talk: " + name
		}
		p.Legend.Add(name, bars)
	}
	var labels []string
	for _, test := range r.Tests {
		labels = append(labels, fmt.Sprintf("test %s: snaplen %d, %d/s", test.Name, test.Snaplen, test.Rate))
	}
	p.NominalX(labels...)
	file := filepath.Join(dir, "slides.svg")
	return file, p.Save(200*vg.Millimeter, 120*vg.Millimeter, file)
}

// kept is how many per cent of a test's packets a contender of the talk, or of today, kept.
func (r *Report) kept(test *Test, talk bool, name string) float64 {
	if talk {
		return 100 * float64(test.Talk[name]) / float64(test.Packets)
	}
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Test == test.Name && row.Name() == name {
			return 100 * float64(row.Captured) / float64(max(row.Offered, 1))
		}
	}
	return 0
}
