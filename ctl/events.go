// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ksnif/genl"
)

// timeFormat is how lines of watches and events begin: sortable, with the zone.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

func (a *app) eventsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print what happens to the capture, until ^C",
		Long: `events prints a line for each event until ^C:

    started, stopped   by anybody's command
    failed             a write failed; errno says why
    device_gone        the captured device was removed or left the namespace
    device_back        a device of that name is there again and is captured
    settings_changed   the settings as they are now (logfile is not told)
    lost               too many events at once: some are missing here

Events need CAP_NET_ADMIN only in the user namespace that owns this network
namespace.`,
		Example: `  ksnifctl events
  ksnifctl events --json`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd, func(ctx context.Context, c Client) error {
				return a.events(ctx, c, asJSON)
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) events(ctx context.Context, c Client, asJSON bool) error {
	reader, err := c.Events(ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	for a.out.err == nil {
		e, err := reader.Next()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if asJSON {
			err = a.json(eventObject(e))
		} else {
			_, err = io.WriteString(a.out, eventLine(e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eventObject(e *genl.Event) object {
	var o object
	o.add("time", e.Time)
	o.add("event", e.Type.String())
	for _, f := range eventFields(e) {
		o.add(f.name, f.value(&e.Capture))
	}
	return o
}

// eventLine is "TIME EVENT" and, for a person, what the event tells.
func eventLine(e *genl.Event) string {
	words := []string{e.Time.Format(timeFormat), e.Type.String()}
	if e.Type == genl.EventLost {
		words = append(words, "some events are missing: see ksnifctl status")
	}
	for _, f := range eventFields(e) {
		if f.always || f.display(&e.Capture) != f.display(&genl.Capture{}) {
			words = append(words, f.name, f.display(&e.Capture))
		}
	}
	return strings.Join(words, " ") + "\n"
}

// eventFields are the attributes that the event carries.
func eventFields(e *genl.Event) []field {
	var carried []field
	for _, name := range e.Attrs {
		for _, f := range captureFields() {
			if f.name == name {
				carried = append(carried, f)
			}
		}
	}
	return carried
}
