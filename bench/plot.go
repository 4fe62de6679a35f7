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

// Plot draws the report as SVG files in dir, that of cost as one for each packet size. It returns their names.
func (r *Report) Plot(dir string) ([]string, error) {
	if len(r.Tests) > 0 {
		file, err := r.plotSlides(dir)
		return []string{file}, err
	}
	if r.Part == "scale" {
		file, err := r.plotScale(dir)
		return []string{file}, err
	}
	var files []string
	for _, size := range distinct(r.Rows, (*Row).Size) {
		file := filepath.Join(dir, fmt.Sprintf("%s-%s.svg", r.Part, size))
		if err := r.plotSize(file, size); err != nil {
			return files, fmt.Errorf("%s: %w", file, err)
		}
		files = append(files, file)
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

// barWidth is that of one contender's bar.
const barWidth = 9 * vg.Millimeter / 2

// plotSize has a group of bars for each contender, and in it one for each snaplen.
func (r *Report) plotSize(file, size string) error {
	p := plot.New()
	p.Title.Text = fmt.Sprintf("Cost of a captured packet, %s bytes", size)
	p.Y.Label.Text = "instructions per captured packet"
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	names := distinct(r.Rows, (*Row).Name)
	snaps := distinct(r.Rows, (*Row).Snap)
	for i, snap := range snaps {
		values := make(plotter.Values, len(names))
		for j, name := range names {
			values[j] = r.cost(name, size, snap)
		}
		bars, err := plotter.NewBarChart(values, barWidth)
		if err != nil {
			return err
		}
		shade := uint8(200 - 160*i/max(len(snaps)-1, 1))
		bars.Color = color.RGBA{R: shade / 2, G: shade, B: 220, A: 255}
		bars.LineStyle.Width = 0
		bars.Offset = barWidth * vg.Length(float64(i)-float64(len(snaps)-1)/2)
		p.Add(bars)
		p.Legend.Add("snaplen "+snap, bars)
	}
	p.NominalX(names...)
	p.X.Tick.Label.Rotation = 0.5
	p.X.Tick.Label.XAlign = -0.9
	return p.Save(vg.Length(len(names))*25*vg.Millimeter, 120*vg.Millimeter, file)
}

// cost is that of a contender, 0 if it was not measured so.
func (r *Report) cost(name, size, snap string) float64 {
	for i := range r.Rows {
		if row := &r.Rows[i]; row.Name() == name && row.Size() == size && row.Snap() == snap {
			return row.Instructions
		}
	}
	return 0
}
