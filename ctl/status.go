// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"ksnif/genl"
)

func (a *app) statusCommand() *cobra.Command {
	var asJSON bool
	var every interval
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print state, settings, file and counters of the capture",
		Long: `status prints all there is to know: the state, the error that ended the last
capture, the settings, the bytes of the file that hold whole packets, what is
seen (not in --json), and the counters (see ksnifctl stats).

States: stopped; running; stopping (the rest of the queue is being written);
failed (errno says why). unsynced yes means that the disk reported an error
late: the file may hold fewer packets than written says. torn yes means that the
file could not be cut back after an error: its last packet may be incomplete.
flush_wanted counts the flushes asked for since the start, flush_done says up to
which of them all is on disk. runs counts the starts. io_used says how the file
is written, where io is auto.`,
		Example: `  ksnifctl status
  ksnifctl status --watch
  ksnifctl status --json | jq -r .state`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c Client) error {
				first := true
				return a.watch(ctx, every, func() ([]byte, error) {
					capture, err := c.Get(ctx)
					if err != nil {
						return nil, err
					}
					stats, err := c.Stats(ctx)
					if err != nil {
						return nil, err
					}
					if asJSON {
						return statusJSON(capture, stats, every != 0)
					}
					text := statusText(capture, stats)
					if !first && !isTerminal(a.Stdout) {
						text = append([]byte{'\n'}, text...)
					}
					first = false
					return text, nil
				})
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	watchFlag(cmd, &every)
	return cmd
}

func statusJSON(c *genl.Capture, s *genl.Stats, stamp bool) ([]byte, error) {
	var o object
	if stamp {
		o.add("time", time.Now())
	}
	for _, f := range captureFields() {
		o.add(f.name, f.value(c))
	}
	o.addCounters(counters(s))
	line, err := marshal(o)
	return append(line, '\n'), err
}

func statusText(c *genl.Capture, s *genl.Stats) []byte {
	var r rows
	for _, f := range captureFields() {
		r.add(f.name, f.display(c))
	}
	r.add("sees", sees(c))
	for _, counter := range forPeople(counters(s)) {
		r.add(counter.name, strconv.FormatUint(counter.value, 10))
	}
	var b bytes.Buffer
	b.Write(r.align())
	b.Write(hints(s))
	return b.Bytes()
}

// sees says what a hook at PRE_ROUTING can see at all: nothing that is sent.
func sees(c *genl.Capture) string {
	versions := map[string]string{"inet": "IPv4 and IPv6", "ip": "IPv4", "ip6": "IPv6"}[c.Family.String()]
	return versions + ", received packets only"
}

// field is an attribute of a capture, a setting or not.
type field struct {
	name    string
	always  bool                         // told by an event even if zero
	value   func(c *genl.Capture) any    // as JSON
	display func(c *genl.Capture) string // as a person reads it
}

// captureFields lists all attributes of a capture, in the order of status.
func captureFields() []field {
	fields := []field{
		{
			name: "name", always: true,
			value:   func(c *genl.Capture) any { return c.Name },
			display: func(c *genl.Capture) string { return quote(c.Name) },
		},
		{
			name: "state", always: true,
			value:   func(c *genl.Capture) any { return c.State.String() },
			display: func(c *genl.Capture) string { return c.State.String() },
		},
		{
			name:    "errno",
			value:   func(c *genl.Capture) any { return errnoObject(c.Errno) },
			display: func(c *genl.Capture) string { return errnoWords(c.Errno) },
		},
		{
			name:    "unsynced",
			value:   func(c *genl.Capture) any { return c.Unsynced },
			display: func(c *genl.Capture) string { return yesNo(c.Unsynced) },
		},
		{
			name:    "torn",
			value:   func(c *genl.Capture) any { return c.Torn },
			display: func(c *genl.Capture) string { return yesNo(c.Torn) },
		},
	}
	for _, s := range settings() {
		fields = append(fields, field{name: s.name, always: true, value: s.value, display: s.display})
	}
	return append(fields,
		numberField("file_size", func(c *genl.Capture) uint64 { return c.FileSize }),
		numberField("flush_wanted", func(c *genl.Capture) uint64 { return c.FlushWanted }),
		numberField("flush_done", func(c *genl.Capture) uint64 { return c.FlushDone }),
		numberField("runs", func(c *genl.Capture) uint64 { return uint64(c.Runs) }),
		field{
			name:    "io_used",
			value:   func(c *genl.Capture) any { return c.IOUsed.String() },
			display: func(c *genl.Capture) string { return c.IOUsed.String() },
		})
}

func numberField(name string, number func(c *genl.Capture) uint64) field {
	return field{
		name:    name,
		value:   func(c *genl.Capture) any { return number(c) },
		display: func(c *genl.Capture) string { return strconv.FormatUint(number(c), 10) },
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
