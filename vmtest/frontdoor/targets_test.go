// SPDX-License-Identifier: GPL-2.0

package frontdoor

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// demonstrates runs make demo, and has Wireshark's tools say what they think of the file.
func demonstrates(t *testing.T, dir string) {
	got := succeeds(t, dir, "demo")
	file := filepath.Join(dir, "out", "demo.pcapng")
	written := regexp.MustCompile(`(?m)^written +(\d+)$`).FindStringSubmatch(got.stdout)
	require.NotNil(t, written, got.stdout)

	info := run(t, exec.Command("capinfos", "-Mco", file))
	require.Zero(t, info.code, info.stderr)
	assert.Regexp(t, `Number of packets: +`+written[1]+`\n`, info.stdout)
	assert.Regexp(t, `Strict time order: +True\n`, info.stdout)

	protocols := run(t, exec.Command("tshark", "-r", file, "-q", "-z", "io,phs"))
	require.Zero(t, protocols.code, protocols.stderr)
	for _, name := range []string{"icmp", "icmpv6", "tcp", "udp"} {
		assert.Regexp(t, `(?m)^ +`+name+` +frames:`, protocols.stdout)
	}
}

// runsTests runs one test, and asks for one that there is not.
func runsTests(t *testing.T, dir string) {
	got := succeeds(t, dir, "vmtest", "KERNEL="+kernel(), "RUN=^TestSetAsTyped$")
	assert.Regexp(t, `\n1 passed, 0 failed, 0 skipped\n$`, got.stdout)
	got = runMake(t, dir, "vmtest", "KERNEL="+kernel(), "RUN=^TestThatThereIsNot$")
	assert.NotZero(t, got.code)
	assert.Regexp(t, `\n0 passed, 0 failed, 0 skipped\n$`, got.stdout)
	got = runMake(t, dir, "vmtest-long", "KERNEL="+kernel(), "RUN=^TestThatThereIsNot$")
	assert.NotZero(t, got.code)
	assert.Regexp(t, `\n0 passed, 0 failed, 0 skipped\n$`, got.stdout)
}

// plants one bug that a quick test sees, and asks for one that there is not.
func plants(t *testing.T, dir string) {
	got := succeeds(t, dir, "mutants", "KERNEL="+kernel(), "RUN=^disclaim-missing$")
	assert.Regexp(t, `\ndisclaim-missing: killed by TestStartStopCycles .*\n1 mutants: 1 killed, 0 survived\n$`, got.stdout)
	got = runMake(t, dir, "mutants", "KERNEL="+kernel(), "RUN=^no-such-mutant$")
	assert.NotZero(t, got.code)
	assert.Contains(t, got.stderr, `no mutant matches "^no-such-mutant$"`)
}

// generates brings back a generated file that was lost, as it is in the tree.
func generates(t *testing.T, dir string) {
	const header = "kmod/uapi/ksnif.h"
	require.NoError(t, os.Remove(filepath.Join(dir, header)))
	succeeds(t, dir, "gen")
	assert.Equal(t, read(t, root, header), read(t, dir, header))
}

// takesOptions makes a .config, and leaves the menu again.
func takesOptions(t *testing.T, dir string) {
	succeeds(t, dir, "olddefconfig")
	assert.Contains(t, read(t, dir, ".config"), "CONFIG_KSNIF_PROCFS=y\n")
	if _, err := exec.LookPath("kconfig-mconf"); err != nil {
		t.Skip("kconfig-mconf is not installed")
	}
	s := onTerminal(t, dir, "menuconfig")
	s.expect("ksnif: packet capture inside the kernel", "ueue between the hook and the writer (Linked list)")
	s.send("\x1b\x1b") // the menu's way out
	s.ends()
}

// fetches asks for what is there already, the second time at least.
func fetches(t *testing.T, dir string) {
	if got := runMake(t, dir, "deps"); got.code != 0 {
		t.Skipf("packages are missing that cannot be installed: %s", got.stderr)
	}
	got := succeeds(t, dir, "deps")
	assert.Empty(t, got.stdout+got.stderr)
	succeeds(t, dir, "fetch")
}

// cleans leaves the tree as it came.
func cleans(t *testing.T, dir string) {
	var made []string
	look := func() {
		made = nil
		require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			name, _ := filepath.Rel(dir, path)
			if _, there := os.Lstat(filepath.Join(root, name)); os.IsNotExist(there) || name == ".config" || strings.HasPrefix(name, "out") {
				made = append(made, name)
			}
			return err
		}))
	}
	succeeds(t, dir, "clean")
	look()
	assert.Equal(t, []string{".config"}, made)
	got := succeeds(t, dir, "distclean")
	assert.Contains(t, got.stdout, "downloads are kept in ")
	look()
	assert.Empty(t, made)
}
