// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of the tool and of the loaded module",
		Long: `version prints the version of ksnifctl and, if it is loaded, of the kernel
module. It needs no privilege.`,
		Example: `  ksnifctl version
  ksnifctl version --json`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			module, err := a.moduleVersion()
			if err != nil {
				return err
			}
			if asJSON {
				var o object
				o.add("ksnifctl", a.Version)
				if module == "" {
					o.add("ksnif", nil)
				} else {
					o.add("ksnif", module)
				}
				return a.json(o)
			}
			if module == "" {
				module = "not loaded"
			}
			fmt.Fprintf(a.out, "ksnifctl  %s\nksnif     %s\n", a.Version, module)
			return nil
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// moduleVersion is the version of the loaded module, empty if none is loaded.
func (a *app) moduleVersion() (string, error) {
	dir := filepath.Join(a.Sysfs, "module", "ksnif")
	text, err := os.ReadFile(filepath.Join(dir, "version"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err == nil {
			return "unknown", nil // a build without MODULE_VERSION
		}
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("module's version: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
