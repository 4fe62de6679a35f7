// SPDX-License-Identifier: GPL-2.0

package images

import (
	"os/exec"
	"path/filepath"
)

// sbin finds a system tool also where a plain user's PATH does not look.
func sbin(name string) string {
	if file, err := exec.LookPath(name); err == nil {
		return file
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if file := filepath.Join(dir, name); exists(file) {
			return file
		}
	}
	return name
}
