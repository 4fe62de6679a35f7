// SPDX-License-Identifier: GPL-2.0

// Package frontdoor has tests that use the project as people do: through make, in a copy of the tree, so that nobody's
// results are lost.
package frontdoor

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest"
)

const root = "../.."

// ran is how a command ended.
type ran struct {
	code           int
	stdout, stderr string
}

// makeCommand is a make in dir that knows nothing of one above it.
func makeCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "make", append([]string{"-C", dir, "--no-print-directory"}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "TMPDIR", "DESTDIR", "PREFIX"}, name)
	})
	return cmd
}

func runMake(t *testing.T, dir string, args ...string) ran {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	return run(t, makeCommand(ctx, dir, args...))
}

func run(t *testing.T, cmd *exec.Cmd) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return ran{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// succeeds runs make, which has to work.
func succeeds(t *testing.T, dir string, args ...string) ran {
	t.Helper()
	r := runMake(t, dir, args...)
	require.Zero(t, r.code, "make %v\n%s%s", args, r.stdout, r.stderr)
	return r
}

// slow skips what takes longer than make check may, or needs what is only installed for virtual machines.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long: make vmtest runs it")
	}
	if err := vmtest.CheckTools(); err != nil {
		t.Skipf("cannot run virtual machines: %v", err)
	}
}

// tree copies the project, with the module built for the kernel of the VMs.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		switch {
		case name == "out" || name == "bin" || name == ".git":
			return fs.SkipDir
		case name == ".config":
			return nil
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case !d.Type().IsRegular(), filepath.Ext(name) == ".ko":
			return nil
		}
		return copyFile(path, to)
	}))
	// What is built already is not built again.
	built := filepath.Join("out", "build", kernel()+"-list")
	if _, err := os.Stat(filepath.Join(root, built)); err == nil {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "out", "build"), 0o755))
		got := run(t, exec.Command("cp", "-a", filepath.Join(root, built), filepath.Join(dir, built)))
		require.Zero(t, got.code, got.stderr)
	}
	return dir
}

// kernel is what the VMs run.
func kernel() string {
	if k := os.Getenv("KERNEL"); k != "" {
		return filepath.Base(k)
	}
	return "6.1"
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode())
}

var targets = []string{
	"all", "demo", "vmtest", "vmtest-long", "vm-run", "shell", "bench", "mutants", "fuzz", "coverage", "lab", "check", "lint",
	"gen", "menuconfig", "olddefconfig", "fetch", "deps", "clean", "distclean", "help", "install", "uninstall",
}

// make help tells every target and every variable, and each target is one that make knows.
func TestHelp(t *testing.T) {
	got := succeeds(t, root, "help")
	assert.Empty(t, got.stderr)
	listed, variables, ok := strings.Cut(got.stdout, "Variables:\n")
	require.True(t, ok)
	names := func(text string) []string {
		var list []string
		for _, m := range regexp.MustCompile(`(?m)^  (\S+) +\S`).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	assert.ElementsMatch(t, targets, names(listed))
	for _, name := range []string{
		"KDIR", "KERNEL", "CONFIG", "RUN", "SCRIPT", "IN", "MEM", "CPUS", "TIMEOUT", "ACCEL", "ICOUNT", "GDB", "MIRROR", "UPDATE",
		"SEED", "FUZZTIME", "MODULE_COVERAGE", "PREFIX", "DESTDIR", "INSTALL_MOD_PATH",
	} {
		assert.Contains(t, names(variables), name)
	}
	for _, target := range targets {
		r := runMake(t, root, "--question", target)
		assert.NotEqual(t, 2, r.code, "make %s: %s", target, r.stderr)
	}
	assert.Equal(t, 2, runMake(t, root, "--question", "no-such-target").code)
}

// What comes later says so, and is no success.
func TestLater(t *testing.T) {
	for _, args := range [][]string{{"lab", "N=01"}} {
		r := runMake(t, root, args...)
		assert.NotZero(t, r.code, args)
		assert.Contains(t, r.stderr, "make "+args[0]+" comes with a later release\n")
		assert.Empty(t, r.stdout)
	}
}

// Wrong use is told before anything is built.
func TestWrongUse(t *testing.T) {
	slow(t)
	for _, row := range []struct {
		args []string
		says string
	}{
		{[]string{"vm-run"}, "no such file"},
		{[]string{"vm-run", "SCRIPT=/no/such/file"}, "/no/such/file"},
	} {
		r := runMake(t, root, row.args...)
		assert.NotZero(t, r.code, row.args)
		assert.Contains(t, r.stderr, row.says)
	}
}
