// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// renders fails if man has anything to say about the page.
func renders(t *testing.T, page string) {
	t.Helper()
	man, err := exec.LookPath("man")
	if err != nil {
		t.Skip("man is not installed")
	}
	cmd := exec.Command(man, "--warnings", "-l", page)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80", "PAGER=cat")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	assert.Empty(t, stderr.String(), page)
	assert.Contains(t, stdout.String(), "NAME")
}

// The program itself: static, takes its version from the build, and hands on
// arguments and exit codes.
func TestProgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ksnifctl")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=7.8.9", "-o", path, "./ksnifctl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	f, err := elf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		assert.NotEqual(t, elf.PT_INTERP, p.Type, "needs no loader")
	}

	out, err = exec.Command(path, "version").Output()
	require.NoError(t, err)
	assert.Contains(t, string(out), "ksnifctl  7.8.9\n")

	cmd := exec.Command(path, "set", "snaplen")
	out, err = cmd.CombinedOutput()
	assert.Error(t, err)
	assert.Equal(t, exitUsage, cmd.ProcessState.ExitCode())
	assert.Equal(t, "ksnifctl: set snaplen: VALUE is missing (see ksnifctl set --help)\n", string(out))
}
