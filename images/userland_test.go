// SPDX-License-Identifier: GPL-2.0

package images

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResolveInStaysInside(t *testing.T) {
	root := t.TempDir()
	touch(t, root, map[string]string{"bin/real": ""})
	for link, target := range map[string]string{
		"bin/relative": "real", "bin/absolute": "/bin/real", "bin/up": "../../../bin/real", "bin/twice": "absolute",
		"bin/loop": "loop", "bin/nowhere": "/etc/hostname-of-nobody",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(root, link)))
	}
	for _, name := range []string{"bin/real", "bin/relative", "bin/absolute", "bin/up", "bin/twice"} {
		got, err := resolveIn(root, name)
		require.NoError(t, err, name)
		assert.Equal(t, filepath.Join(root, "bin/real"), got, name)
	}
	for _, name := range []string{"bin/loop", "bin/nowhere", "bin/none"} {
		_, err := resolveIn(root, name)
		require.Error(t, err, name)
	}
}

func TestNeededPackages(t *testing.T) {
	all := []pkg{{"libwireshark16", "4"}, {"kmod", "30"}, {"python3.11", "3"}, {"busybox-static", "1"}}
	assert.Equal(t, []pkg{{"busybox-static", "1"}, {"kmod", "30"}}, neededPackages(all))
	for _, name := range userlandPackages() {
		assert.Len(t, neededPackages([]pkg{{name, "1"}}), 1, "%s is asked for and left out", name)
	}
	assert.True(t, hasAll(all, []string{"kmod"}))
	assert.False(t, hasAll(all, []string{"kmod", "nftables"}))
}

func TestGuestUsers(t *testing.T) {
	ids := map[string]string{}
	for line := range strings.Lines(etcFiles()["etc/passwd"]) {
		f := strings.Split(line, ":")
		require.Len(t, f, 7, line)
		ids[f[0]] = f[2]
	}
	assert.Equal(t, map[string]string{"root": "0", "tcpdump": "104", "user": "1000", "nobody": "65534"}, ids)
}

// TestAddProgram copies a program of this machine with all that it is linked
// to, and runs it in nothing but that.
func TestAddProgram(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "lib64"), 0o755))
	g := &guestRoot{packages: "/", dir: dir, libs: map[string]bool{}}
	if _, err := resolveIn("/", "lib/x86_64-linux-gnu/libc.so.6"); err != nil {
		t.Skip("this machine keeps its libraries elsewhere than Debian")
	}
	require.NoError(t, g.addProgram("ls"))
	loader := filepath.Join(dir, "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
	out, err := exec.Command(loader, "--inhibit-cache", "--library-path", filepath.Dir(loader), "--list", filepath.Join(dir, "bin/ls")).CombinedOutput()
	require.NoError(t, err, string(out))
	for line := range strings.Lines(string(out)) {
		if _, where, ok := strings.Cut(line, "=> /"); ok {
			assert.Contains(t, "/"+where, dir, "found outside")
		}
	}
	assert.Contains(t, string(out), "libc.so.6")

	require.ErrorContains(t, g.addProgram("no-such-program"), "no-such-program")
	require.ErrorContains(t, g.addLibrary("libnone.so.1"), "libnone.so.1")
}

func TestProgramLinksLeadToPrograms(t *testing.T) {
	have := map[string]bool{}
	for _, p := range programs() {
		have[p] = true
	}
	for link, target := range programLinks() {
		assert.True(t, have[filepath.Base(target)], "%s leads to %s", link, target)
	}
}
