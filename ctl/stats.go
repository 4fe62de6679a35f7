// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ksnif/genl"
)

// counter is a counter of the spec.
type counter struct {
	name  string
	value uint64
}

// counters lists all counters in the order of the spec.
func counters(s *genl.Stats) []counter {
	return []counter{
		{"received", s.Received},
		{"filtered", s.Filtered},
		{"captured", s.Captured},
		{"dropped_queue_full", s.DroppedQueueFull},
		{"dropped_no_memory", s.DroppedNoMemory},
		{"queued", s.Queued},
		{"written", s.Written},
		{"dropped_write", s.DroppedWrite},
		{"discarded", s.Discarded},
		{"errors", s.Errors},
	}
}

func cpuCounters(s genl.CPUStats) []counter {
	return []counter{
		{"received", s.Received},
		{"filtered", s.Filtered},
		{"captured", s.Captured},
		{"dropped_queue_full", s.DroppedQueueFull},
		{"dropped_no_memory", s.DroppedNoMemory},
	}
}

// forPeople puts received, captured and errors on top: the summary; the books
// that explain it follow.
func forPeople(all []counter) []counter {
	top, books := []counter{}, []counter{}
	for _, c := range all {
		switch c.name {
		case "received", "captured", "errors":
			top = append(top, c)
		default:
			books = append(books, c)
		}
	}
	return append(top, books...)
}

func (a *app) statsCommand() *cobra.Command {
	var s statsRun
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Print the counters of the capture",
		Long: `stats prints the counters, in packets since the last start. After received,
captured and errors follow the books:

    received = filtered + captured + dropped_queue_full + dropped_no_memory
    captured = written + queued + dropped_write + discarded
    errors   = dropped_no_memory + dropped_write

They hold exactly once the capture is stopped; queued is 0 then, and written is
the number of packets in the file. With --watch a terminal shows the rates too.`,
		Example: `  ksnifctl stats
  ksnifctl stats --watch=0.5
  ksnifctl stats --per-cpu
  ksnifctl stats --json | jq .written`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c Client) error {
				s.redraw = isTerminal(a.Stdout)
				return a.watch(ctx, s.every, func() ([]byte, error) { return s.frame(ctx, c) })
			})
		},
	}
	jsonFlag(cmd, &s.asJSON)
	watchFlag(cmd, &s.every)
	cmd.Flags().BoolVar(&s.perCPU, "per-cpu", false, "print the hook's counters for each CPU too")
	return cmd
}

// statsRun is one run of stats; a watch keeps the last values for the rates.
type statsRun struct {
	asJSON, perCPU, redraw bool
	every                  interval
	last                   []counter
	lastAt                 time.Time
}

func (r *statsRun) frame(ctx context.Context, c Client) ([]byte, error) {
	stats, err := c.Stats(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var cpus []genl.CPUStats
	if r.perCPU {
		if cpus, err = c.StatsPerCPU(ctx); err != nil {
			return nil, err
		}
	}
	switch {
	case r.asJSON:
		return r.jsonFrame(stats, cpus, now)
	case r.every != 0 && !r.redraw:
		return lineFrame(stats, cpus, now), nil
	}
	all := forPeople(counters(stats))
	var b bytes.Buffer
	b.Write(counterTable(all, r.rates(all, now)))
	if cpus != nil {
		b.WriteByte('\n')
		b.Write(cpuTable(cpus))
	}
	b.Write(hints(stats))
	return b.Bytes(), nil
}

func (r *statsRun) jsonFrame(stats *genl.Stats, cpus []genl.CPUStats, now time.Time) ([]byte, error) {
	var o object
	if r.every != 0 {
		o.add("time", now)
	}
	o.add("name", stats.Name)
	o.addCounters(counters(stats))
	if r.perCPU {
		list := []object{}
		for _, cpu := range cpus {
			var one object
			one.add("cpu", cpu.CPU)
			one.addCounters(cpuCounters(cpu))
			list = append(list, one)
		}
		o.add("cpus", list)
	}
	line, err := marshal(o)
	return append(line, '\n'), err
}

func (o *object) addCounters(all []counter) {
	for _, c := range all {
		o.add(c.name, c.value)
	}
}

// rates are the counters' changes a second since the last call, nil if there
// was none or this is no watch.
func (r *statsRun) rates(now []counter, at time.Time) []string {
	defer func() { r.last, r.lastAt = now, at }()
	if r.every == 0 {
		return nil
	}
	var rates []string
	for i, c := range now {
		rate := ""
		// queued is a level, and start sets the others back to zero.
		if r.last != nil && c.name != "queued" && c.value >= r.last[i].value {
			passed := at.Sub(r.lastAt).Seconds()
			rate = fmt.Sprintf("%.0f/s", float64(c.value-r.last[i].value)/passed)
		}
		rates = append(rates, rate)
	}
	return rates
}

// counterTable aligns the counters' digits; an empty line follows the summary.
func counterTable(all []counter, rates []string) []byte {
	names, digits := 0, 0
	for _, c := range all {
		names = max(names, len(c.name))
		digits = max(digits, len(strconv.FormatUint(c.value, 10)))
	}
	var b bytes.Buffer
	for i, c := range all {
		if i == 3 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%-*s  %*d", names, c.name, digits, c.value)
		if rates != nil && rates[i] != "" {
			fmt.Fprintf(&b, "  %10s", rates[i])
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// lineFrame is a frame of a watch that goes to a file or pipe: one line.
func lineFrame(stats *genl.Stats, cpus []genl.CPUStats, now time.Time) []byte {
	var b bytes.Buffer
	stamp := now.Format(timeFormat)
	line := func(all []counter) {
		b.WriteString(stamp)
		for _, c := range all {
			fmt.Fprintf(&b, " %s %d", c.name, c.value)
		}
		b.WriteByte('\n')
	}
	line(forPeople(counters(stats)))
	for _, cpu := range cpus {
		line(append([]counter{{"cpu", uint64(cpu.CPU)}}, cpuCounters(cpu)...))
	}
	return b.Bytes()
}

func cpuTable(cpus []genl.CPUStats) []byte {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', tabwriter.AlignRight)
	for i, cpu := range cpus {
		all := append([]counter{{"cpu", uint64(cpu.CPU)}}, cpuCounters(cpu)...)
		if i == 0 {
			for _, c := range all {
				fmt.Fprintf(w, "%s\t", c.name)
			}
			fmt.Fprintln(w)
		}
		for _, c := range all {
			fmt.Fprintf(w, "%d\t", c.value)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.Bytes()
}

// hints say what to do about losses, a line each, after an empty line.
func hints(s *genl.Stats) []byte {
	var b bytes.Buffer
	hint := func(n uint64, text string) {
		if n == 0 {
			return
		}
		if b.Len() == 0 {
			b.WriteByte('\n')
		}
		packets := "packets"
		if n == 1 {
			packets = "packet"
		}
		fmt.Fprintf(&b, "hint: %d %s lost, %s\n", n, packets, text)
	}
	hint(s.DroppedQueueFull, "the queue was full: raise queue_size or lower snaplen")
	hint(s.DroppedNoMemory, "the kernel had no memory: free some or lower queue_size")
	hint(s.DroppedWrite, "not written: errno in ksnifctl status says why")
	return b.Bytes()
}
