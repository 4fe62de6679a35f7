// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// promises are the sections that only the page of ksnifctl itself has.
//
//go:embed promises.md
var promises []byte

// manCommand is for `make install`, not for users: it is hidden.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages",
		Long:   "man writes a page of section 8 for ksnifctl and each of its commands into DIR.",
		Hidden: true,
		Args:   exactlyOne("DIR"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := pageDate()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("manual pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			for _, c := range append(root.Commands(), root) {
				if c.Hidden {
					continue
				}
				name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".8"
				if err := a.manualPage(c, filepath.Join(args[0], name), date); err != nil {
					return fmt.Errorf("manual pages: %w", err)
				}
			}
			return nil
		},
	}
}

func (a *app) manualPage(c *cobra.Command, path string, date time.Time) error {
	var page bytes.Buffer
	err := doc.GenMan(c, &doc.GenManHeader{
		Section: "8",
		Date:    &date,
		Source:  "ksnif " + a.Version,
		Manual:  "System Administration",
	}, &page)
	if err != nil {
		return err
	}
	// cobra shows defaults that a manual page does not: --json[=false].
	text := strings.NewReplacer("[=false]", "", "[=]", "[=interval]").Replace(page.String())
	if !c.HasParent() {
		text = strings.Replace(text, "ksnifctl [flags]", "ksnifctl COMMAND [flags]", 1)
		text = strings.Replace(text, ".SH SEE ALSO", commandsRoff(c)+promisesRoff()+".SH SEE ALSO", 1)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// commandsRoff lists the commands, as the help does; cobra only names their pages.
func commandsRoff(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".SH COMMANDS\n")
	for _, c := range root.Commands() {
		if !c.Hidden {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fP\n%s\n", c.Name(), c.Short)
		}
	}
	return b.String()
}

// promisesRoff is [promises] without the title that md2man gives a page.
func promisesRoff() string {
	roff := string(md2man.Render(promises))
	return roff[strings.Index(roff, ".SH"):]
}

// pageDate is the pages' date: never today's, so that the same sources always
// give the same pages.
func pageDate() (time.Time, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		return time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: must be seconds since 1970: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
