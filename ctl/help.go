// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"strings"

	"github.com/spf13/cobra"
)

// knownCommand is the root's check of its arguments; they are only looked at
// where no command of that name exists.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := "unknown command"
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += ": did you mean " + oneOf(near) + "?"
	}
	return usagef(args[0], "%s", text)
}

func noCommand(cmd *cobra.Command, _ []string) error {
	return usagef("", "no command: try %s", strings.Join(commandNames(cmd), ", "))
}

func commandNames(root *cobra.Command) []string {
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// helpCommand stands in for cobra's, which answers an unknown topic with a
// usage dump and exit code 0.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show what a command does",
		Long:  "help prints what a command does, its flags and examples. Without a COMMAND\nit lists the commands.",
		Example: `  ksnifctl help
  ksnifctl help set`,
		Args:                  atMost(1, "COMMAND"),
		DisableFlagsInUseLine: true,
		ValidArgsFunction: func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return offer(nil, typed)
			}
			return offer(commandNames(cmd.Root()), typed)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, _, err := cmd.Root().Find(args)
			if err != nil || (len(args) > 0 && topic == cmd.Root()) {
				return knownCommand(cmd.Root(), args)
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// none, atMost and oneOf check the number of arguments; cobra's own checks
// word their errors for programmers.
func none(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.Flags().Changed("watch"):
		return usagef(args[0], "takes no argument: write an interval as --watch=2")
	}
	return usagef(args[0], "takes no argument")
}

func atMost(n int, what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return usagef(strings.Join(args, " "), "takes one %s at most", what)
		}
		return nil
	}
}

func exactlyOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usagef("", "%s is missing", what)
		case len(args) > 1:
			return usagef(strings.Join(args, " "), "takes one %s only", what)
		}
		return nil
	}
}

// offer gives a shell those of the words that begin as typed.
func offer(words []string, typed string) ([]string, cobra.ShellCompDirective) {
	var fit []string
	for _, w := range words {
		if strings.HasPrefix(w, typed) {
			fit = append(fit, w)
		}
	}
	return fit, cobra.ShellCompDirectiveNoFileComp
}

func (a *app) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes ksnifctl's commands in a shell",
		Long: `completion prints a script that makes a shell complete ksnifctl's commands, the
names of settings, their values and the names of network devices.
'make install' installs it for all three shells.`,
		Example: `  source <(ksnifctl completion bash)
  ksnifctl completion zsh > "${fpath[1]}/_ksnifctl"
  ksnifctl completion fish | source`,
		Args:      exactlyOne("name of a shell (bash, zsh or fish)"),
		ValidArgs: shells,

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.out, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.out)
			case "fish":
				return cmd.Root().GenFishCompletion(a.out, true)
			}
			return usagef(args[0], "must be %s", oneOf(shells))
		},
	}
}
