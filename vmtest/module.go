// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// BuildModule builds the one module whose source is in a folder for a kernel, in out/build/, and returns its path.
func (h *Harness) BuildModule(ctx context.Context, kernel, source string) (string, error) {
	k, err := h.Cache.Kernel(ctx, kernel)
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(h.out("build", filepath.Base(source)+"-"+filepath.Base(kernel)))
	if err != nil {
		return "", err
	}
	if err := emptyDir(dir); err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return "", err
	}
	// Debian's headers name a compiler that other systems do not have by that name.
	build := exec.CommandContext(ctx, "make", "-s", "-C", k.KDIR, "M="+dir, "CC=gcc", "modules")
	build.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS=") // of a make above us
	})
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the module in %s: %w: %s", source, err, strings.TrimSpace(string(out)))
	}
	built, err := filepath.Glob(filepath.Join(dir, "*.ko"))
	if err != nil || len(built) != 1 {
		return "", errors.Join(err, fmt.Errorf("build the module in %s: it made %q, not one module", source, built))
	}
	return built[0], nil
}
