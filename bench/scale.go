// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
)

// Line is how a contender's cost grows with the number of packets.
type Line struct {
	Fixed  float64   // instructions that do not depend on it: where the line through the two smallest numbers begins
	Slopes []float64 // instructions for one packet more, from each number of packets to the next
}

// Bend is how far the slopes lie apart, as a part of the last.
func (l Line) Bend() float64 {
	if len(l.Slopes) == 0 {
		return 0
	}
	return Spread(l.Slopes) / l.Slopes[len(l.Slopes)-1]
}

// lineOf takes the rows of one contender, which go up in the number of packets.
func lineOf(rows []Row) Line {
	var l Line
	total := func(r Row) float64 { return r.Instructions * float64(r.Captured) }
	for i := 1; i < len(rows); i++ {
		a, b := rows[i-1], rows[i]
		l.Slopes = append(l.Slopes, (total(b)-total(a))/float64(b.Captured-a.Captured))
	}
	if len(l.Slopes) > 0 {
		l.Fixed = total(rows[0]) - l.Slopes[0]*float64(rows[0].Captured)
	}
	return l
}

// of are the rows of one contender.
func (r *Report) of(name string) []Row {
	var rows []Row
	for i := range r.Rows {
		if r.Rows[i].Name() == name {
			rows = append(rows, r.Rows[i])
		}
	}
	return rows
}

func (r *Report) scaleTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, instructions counted, %d CPU, %d MB of buffers each; what one packet more costs, between\n"+
		"the numbers of packets, and what does not depend on it\n\n", m.Kernel, m.CPUs, m.BufferKB>>10); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	names := distinct(r.Rows, (*Row).Name)
	rows := r.of(names[0])
	for i := 1; i < len(rows); i++ {
		fmt.Fprintf(t, "%d..%d\t", rows[i-1].Packets, rows[i].Packets)
	}
	fmt.Fprintf(t, "bend\tfixed\t  contender\n")
	for _, name := range names {
		l := lineOf(r.of(name))
		for _, slope := range l.Slopes {
			fmt.Fprintf(t, "%.0f\t", slope)
		}
		fmt.Fprintf(t, "%.1f %%\t%.0f\t  %s\n", 100*l.Bend(), l.Fixed, name)
	}
	return t.Flush()
}

// plotScale draws the cost of a packet, all told, against the size of the file.
func (r *Report) plotScale(dir string) ([]string, error) {
	p := plot.New()
	p.Title.Text = "Cost against the number of packets"
	p.X.Label.Text, p.Y.Label.Text = "packets", "instructions"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	var lines []any
	for _, name := range distinct(r.Rows, (*Row).Name) {
		var points plotter.XYs
		for _, row := range r.of(name) {
			points = append(points, plotter.XY{X: float64(row.Packets), Y: max(row.Instructions*float64(row.Captured), 1)})
		}
		lines = append(lines, name, points)
	}
	if err := plotutil.AddLinePoints(p, lines...); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "scale.svg")
	return []string{file}, p.Save(plotWidth, plotHeight, file)
}
