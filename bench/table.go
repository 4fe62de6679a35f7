// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Table writes the rows for people.
func (r *Report) Table(w io.Writer) error {
	p, err := partOf(r.Part)
	if err != nil {
		return err
	}
	return p.table(r, w)
}

func (r *Report) costTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, instructions counted, %d CPU, %d MB of buffers each; instructions per captured packet,\n"+
		"above the same load without a capture, medians of %d\n", m.Kernel, m.CPUs, m.BufferKB>>10, r.repeats()); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	var last string
	for i := range r.Rows {
		row := &r.Rows[i]
		if load := row.Size() + "/" + row.Snap(); load != last {
			last = load
			fmt.Fprintf(t, "\npacket\tsnaplen\tinstructions\tspread\tcaptured\toffered\t  contender\n")
		}
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%d\t%d\t  %s\n", row.Size(), row.Snap(), row.Instructions, row.Spread,
			row.Captured, row.Offered, row.Name())
	}
	return t.Flush()
}

func (r *Report) repeats() int {
	most := 0
	for _, row := range r.Rows {
		most = max(most, row.Repeats)
	}
	return most
}
