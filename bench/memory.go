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

// Point is how much memory was in use at a time.
type Point struct {
	Seconds float64 `json:"seconds"` // since the first packet
	Bytes   int     `json:"bytes"`   // more than before the contender began
}

// MostMemory is the most that was in use at any time.
func (r *Row) MostMemory() int {
	most := 0
	for _, p := range r.Memory {
		most = max(most, p.Bytes)
	}
	return most
}

func (r *Report) memoryTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %s, %d CPU, a disk that takes less than there comes; memory of the kernel, without its page\n"+
		"cache, above that before the capture, in KB\n\n", m.Kernel, m.How(), m.CPUs); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "most\tgiven\tabove\tafter\tcame\tkept\t  contender\n")
	for i := range r.Rows {
		row := &r.Rows[i]
		after := row.Memory[len(row.Memory)-1].Bytes
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", row.MostMemory()>>10, row.Limit>>10, (row.MostMemory()-row.Limit)>>10, after>>10,
			row.Offered, row.Captured, row.Name())
	}
	return t.Flush()
}

func (r *Report) plotMemory(dir string) ([]string, error) {
	p := plot.New()
	p.Title.Text = "Memory while more comes than the disk takes"
	p.X.Label.Text, p.Y.Label.Text = "seconds since the first packet", "MB above what there was before"
	p.X.Min = 0
	p.Legend.XOffs, p.Legend.YOffs = -plotWidth/3, plotHeight/3 // in the middle, where nothing is drawn
	var lines []any
	for i := range r.Rows {
		var points plotter.XYs
		for _, m := range r.Rows[i].Memory {
			points = append(points, plotter.XY{X: m.Seconds, Y: float64(m.Bytes) / (1 << 20)})
		}
		lines = append(lines, r.Rows[i].Name(), points)
	}
	if err := plotutil.AddLines(p, lines...); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "memory.svg")
	return []string{file}, p.Save(plotWidth, plotHeight, file)
}
