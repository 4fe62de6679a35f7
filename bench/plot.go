// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"image/color"
	"path/filepath"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// Plot draws the report as SVG files in dir. It returns their names.
func (r *Report) Plot(dir string) ([]string, error) {
	p, err := partOf(r.Part)
	if err != nil {
		return nil, err
	}
	files, err := p.plot(r, dir)
	if err != nil {
		return nil, fmt.Errorf("plot %s: %w", r.Part, err)
	}
	return files, nil
}

// distinct are the different values of the rows, in their order.
func distinct(rows []Row, of func(*Row) string) []string {
	var list []string
	seen := map[string]bool{}
	for i := range rows {
		if v := of(&rows[i]); !seen[v] {
			seen[v] = true
			list = append(list, v)
		}
	}
	return list
}

// Sizes of what is drawn.
const (
	barWidth   = 9 * vg.Millimeter / 2
	groupWidth = 25 * vg.Millimeter // with the space to the next
	plotWidth  = 180 * vg.Millimeter
	plotHeight = 120 * vg.Millimeter
)

// addBars draws a group of bars for each name, and in it one for each series, darker from one to the next.
func addBars(p *plot.Plot, names, series []string, value func(name, series int) float64) error {
	for i, title := range series {
		values := make(plotter.Values, len(names))
		for j := range names {
			values[j] = value(j, i)
		}
		bars, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return err
		}
		shade := uint8(200 - 160*i/max(len(series)-1, 1))
		bars.Color = color.RGBA{R: shade / 2, G: shade, B: 220, A: 255}
		bars.LineStyle.Width = 0
		bars.Offset = barWidth * vg.Length(float64(i)-float64(len(series)-1)/2)
		p.Add(bars)
		p.Legend.Add(title, bars)
	}
	p.NominalX(names...)
	p.X.Min, p.X.Max = -0.5, float64(len(names))-0.5 // room for the names
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	return nil
}

// turnNames has room for long names below the bars.
func turnNames(p *plot.Plot) {
	p.X.Tick.Label.Rotation = 0.5
	p.X.Tick.Label.XAlign = -0.9
}

// plotCost draws a file for each packet size, and in it a group of bars for each contender.
func (r *Report) plotCost(dir string) ([]string, error) {
	var files []string
	for _, size := range distinct(r.Rows, (*Row).Size) {
		p := plot.New()
		p.Title.Text = fmt.Sprintf("Cost of a captured packet, %s bytes", size)
		p.Y.Label.Text = "instructions per captured packet"
		names, snaps := distinct(r.Rows, (*Row).Name), distinct(r.Rows, (*Row).Snap)
		var series []string
		for _, snap := range snaps {
			series = append(series, "snaplen "+snap)
		}
		err := addBars(p, names, series, func(name, snap int) float64 {
			return r.find(func(row *Row) bool {
				return row.Name() == names[name] && row.Size() == size && row.Snap() == snaps[snap]
			}).Instructions
		})
		if err != nil {
			return nil, err
		}
		turnNames(p)
		file := filepath.Join(dir, fmt.Sprintf("%s-%s.svg", r.Part, size))
		if err := p.Save(vg.Length(len(names))*groupWidth, plotHeight, file); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// find is the first row that is meant; an empty one if it was not measured.
func (r *Report) find(meant func(*Row) bool) *Row {
	for i := range r.Rows {
		if meant(&r.Rows[i]) {
			return &r.Rows[i]
		}
	}
	return &Row{}
}
