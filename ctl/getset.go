// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

func (a *app) getCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "get [NAME]",
		Short: "Print the settings, or one of them",
		Long: `get prints all settings, one a line. With a NAME it prints that setting's value
alone, in a form that set takes.

` + settingsHelp(),
		Example: `  ksnifctl get
  ksnifctl get logfile
  ksnifctl get --json`,
		Args: atMost(1, "NAME"),
		ValidArgsFunction: func(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return offer(nil, typed)
			}
			return offer(settingNames(nil), typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			which := settings()
			if len(args) == 1 {
				s, err := findSetting(args[0])
				if err != nil {
					return err
				}
				which = []setting{s}
			}
			return a.with(cmd, func(ctx context.Context, c Client) error {
				capture, err := c.Get(ctx)
				if err != nil {
					return err
				}
				switch {
				case asJSON:
					return a.json(settingsObject(which, capture))
				case len(args) == 1:
					fmt.Fprintln(a.out, which[0].text(capture))
				default:
					a.out.Write(settingRows(which, capture).align())
				}
				return nil
			})
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (a *app) setCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME VALUE [NAME VALUE ...]",
		Short: "Change settings",
		Long: `set changes settings, all of those named or, if one is refused, none. While a
capture runs only snaplen can change; it holds for the packets from then on.

` + settingsHelp() + `

Numbers may end in K, M or G, powers of 1024. A relative logfile is taken from
the current directory, as tcpdump -w does.

io direct writes past the page cache, pcapng only; where the file system cannot,
start is refused. auto is direct where it can, else buffered: status says which,
as io_used. discard captures without a file.`,
		Example: `  ksnifctl set snaplen 96
  ksnifctl set device_name eth0 family ip6 queue_size 64M
  ksnifctl set logfile /var/tmp/eth0.pcapng
  ksnifctl set device_name any`,
		Args: pairs,
		// Of flags there is only --help.
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     completeSet,
		RunE:                  a.set,
	}
	// A value may begin with a dash: "set snaplen -1" is a wrong number.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func settingsHelp() string {
	rows := rows{}
	for _, s := range settings() {
		help := s.help
		switch {
		case s.words != nil:
			help += ": " + oneOf(s.words)
		case s.takes != "":
			help += ": " + s.takes
		}
		rows.add("    "+s.name, help+" ["+s.def+"]")
	}
	return "Settings, and their defaults:\n\n" + strings.TrimRight(string(rows.align()), "\n")
}

func pairs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("", "NAME and VALUE are missing")
	}
	for i := 0; i < len(args); i += 2 {
		if args[i] == "--help" || args[i] == "-h" {
			return pflag.ErrHelp // not parsed behind a NAME
		}
		if _, err := findSetting(args[i]); err != nil {
			return err
		}
		if i+1 == len(args) {
			return usagef(args[i], "VALUE is missing")
		}
		if j := slices.Index(args[i+2:], args[i]); j >= 0 && j%2 == 0 {
			return usagef(args[i], "given twice")
		}
	}
	return nil
}

func (a *app) set(cmd *cobra.Command, args []string) error {
	var change genl.Settings
	for i := 0; i < len(args); i += 2 {
		s, err := findSetting(args[i])
		if err != nil {
			return err
		}
		if err := s.put(&change, args[i+1]); err != nil {
			return about(args[i:i+2], err)
		}
	}
	return a.with(cmd, func(ctx context.Context, c Client) error {
		return refusedSetting(args, c.Set(ctx, change))
	})
}

// about says which NAME VALUE an error is about.
func about(pair []string, err error) error {
	var e *cmdError
	if !errors.As(err, &e) {
		return err
	}
	named := *e
	named.what = pair[0] + " " + quote(pair[1])
	return &named
}

// refusedSetting words the module's refusal of one of the settings. The
// module's text begins with the setting's name, which the line has already.
func refusedSetting(args []string, err error) error {
	var kernel *genl.Error
	if !errors.As(err, &kernel) {
		return err
	}
	name, text := splitName(kernel)
	i := 0
	for i < len(args) && args[i] != name {
		i += 2
	}
	if i >= len(args) {
		return err
	}
	// 0 is taken, as another word for the maximum, but is no length.
	if name == "snaplen" && kernel.Err == unix.ERANGE {
		text = strings.Replace(text, "must be 0..", "must be 1..", 1)
	}
	short := *kernel
	short.Attr, short.Message = name, text
	return &cmdError{
		what: name + " " + quote(args[i+1]),
		text: explain("set", &short), code: exitFailed, err: err,
	}
}

// splitName takes the setting's name off the module's text; where there is
// none the attribute that the refusal points at is the name.
func splitName(e *genl.Error) (name, text string) {
	if name, text, ok := strings.Cut(e.Message, ": "); ok {
		if _, err := findSetting(name); err == nil {
			return name, text
		}
	}
	return e.Attr, e.Message
}

// refusedStart names the value of the setting that a start was refused for:
// the module's text can only say "logfile", not which.
func (a *app) refusedStart(ctx context.Context, c Client, err error) error {
	var kernel *genl.Error
	if !errors.As(err, &kernel) || kernel.Message == "" {
		return err
	}
	name, text := splitName(kernel)
	s, e := findSetting(name)
	if e != nil {
		return err
	}
	capture, e := c.Get(ctx)
	if e != nil {
		return err // the refusal is what counts
	}
	named := *kernel
	named.Attr = name // the text does not begin with it any more
	named.Message = name + " " + quote(s.text(capture)) + ": " + text
	return &named
}

func settingsObject(which []setting, c *genl.Capture) object {
	var o object
	for _, s := range which {
		o.add(s.name, s.value(c))
	}
	return o
}

func settingRows(which []setting, c *genl.Capture) *rows {
	r := &rows{}
	for _, s := range which {
		r.add(s.name, s.display(c))
	}
	return r
}

// settingNames lists the names for a shell, with their help, without those
// that are on the line already.
func settingNames(used []string) []string {
	var names []string
	for _, s := range settings() {
		if !slices.Contains(used, s.name) {
			names = append(names, s.name+"\t"+s.help)
		}
	}
	return names
}

func completeSet(_ *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args)%2 == 0 {
		var used []string
		for i := 0; i < len(args); i += 2 {
			used = append(used, args[i])
		}
		return offer(settingNames(used), typed)
	}
	switch name := args[len(args)-1]; name {
	case "logfile":
		return nil, cobra.ShellCompDirectiveDefault
	case "device_name":
		return offer(append([]string{"any\tevery device"}, deviceNames()...), typed)
	default:
		s, _ := findSetting(name)
		return offer(s.words, typed)
	}
}

func deviceNames() []string {
	devices, _ := net.Interfaces() // no names to offer is all that an error means here
	var names []string
	for _, d := range devices {
		names = append(names, d.Name)
	}
	return names
}
