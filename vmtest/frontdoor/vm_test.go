// SPDX-License-Identifier: GPL-2.0

package frontdoor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// write makes a file below dir and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	require.NoError(t, err)
	return string(b)
}

// TestTree goes through the targets that build and boot, all in one copy of the tree: it takes long to make one.
func TestTree(t *testing.T) {
	slow(t)
	dir := tree(t)
	t.Run("install", func(t *testing.T) { installs(t, dir) })
	t.Run("vm-run", func(t *testing.T) { runsScript(t, dir) })
	t.Run("the README's transcript", func(t *testing.T) { typesTranscript(t, dir) })
	t.Run("vm-run of a script that fails", func(t *testing.T) { keepsStatus(t, dir) })
	t.Run("shell", func(t *testing.T) { givesShell(t, dir) })
	t.Run("demo", func(t *testing.T) { demonstrates(t, dir) })
	t.Run("vmtest", func(t *testing.T) { runsTests(t, dir) })
	t.Run("mutants", func(t *testing.T) { plants(t, dir) })
	t.Run("check", func(t *testing.T) { succeeds(t, dir, "check") })
	t.Run("gen", func(t *testing.T) { generates(t, dir) })
	t.Run("deps and fetch", func(t *testing.T) { fetches(t, dir) })
	t.Run("options", func(t *testing.T) { takesOptions(t, dir) })
	t.Run("clean", func(t *testing.T) { cleans(t, dir) })
}

// runsScript runs a script that finds everything it was promised, and brings back what it leaves.
func runsScript(t *testing.T, dir string) {
	results := filepath.Join(dir, "out", "vm-run")
	in := t.TempDir()
	write(t, in, "deep/hello", "hello from the host\n")
	write(t, results, "stale", "of the run before")
	script := write(t, t.TempDir(), "script.sh", `
set -eu
test "$(id -u)" = 0
cat /in/deep/hello
if touch /in/new 2>/dev/null; then echo '/in can be written' >&2; exit 1; fi
ksnifctl set snaplen 96
ksnifctl set logfile /out/lo.pcapng
ksnifctl start
ping -c 2 -i 0.2 127.0.0.1 >/dev/null
ksnifctl stop
tcpdump -nr /out/lo.pcapng icmp 2>/dev/null | wc -l
for tool in dumpcap ip tc nft busybox modprobe; do command -v $tool >/dev/null; done
for module in pktgen veth dummy nf_tables dm-flakey; do modprobe $module; done
mkdir /out/deep
echo from the guest >/out/deep/result
`)
	got := succeeds(t, dir, "vm-run", "SCRIPT="+script, "IN="+in)
	assert.Contains(t, got.stdout, "hello from the host\n4\n", "the script's output")
	assert.Equal(t, "0\n", read(t, results, "status"))
	assert.Equal(t, "from the guest\n", read(t, results, "deep", "result"))
	assert.Contains(t, read(t, results, "console.log"), "Linux version")
	assert.NoFileExists(t, filepath.Join(results, "stale"))
	assert.FileExists(t, filepath.Join(results, "lo.pcapng"))
}

// keepsStatus runs a script that fails.
func keepsStatus(t *testing.T, dir string) {
	results := filepath.Join(dir, "out", "vm-run")
	script := write(t, t.TempDir(), "script.sh", "echo left >/out/left; echo on stderr >&2; exit 7\n")
	got := runMake(t, dir, "vm-run", "SCRIPT="+script)
	assert.NotZero(t, got.code)
	assert.Contains(t, got.stdout+got.stderr, "on stderr\n")
	assert.Contains(t, got.stderr, "7", "the exit status is told")
	assert.Equal(t, "7\n", read(t, results, "status"))
	assert.Equal(t, "left\n", read(t, results, "left"))
	assert.NoFileExists(t, filepath.Join(results, "lo.pcapng"), "of the run before")
}

// givesShell types into a make shell on a terminal.
func givesShell(t *testing.T, dir string) {
	s := onTerminal(t, dir, "shell")
	s.expect("Leave with", "ksnif:/out# ")
	s.typ("ksnifctl get snaplen")
	s.expect("\n262144\n", "ksnif:/out# ")
	s.typ("stty size; ksnifctl set device_name l\t && ksnifctl get device_name")
	s.expect("\n33 101\nlo\n", "ksnif:/out# ")
	s.typ(`sh -c 'trap "echo caught; exit" INT; echo ready; while :; do :; done'`)
	s.expect("\nready\n")
	s.send("\x03") // ^C is the guest's, and ends nothing else
	s.expect("caught\n", "ksnif:/out# ")
	s.typ("echo kept >/out/kept")
	s.expect("ksnif:/out# ")
	s.typ("exit")
	s.ends()
	assert.Equal(t, "kept\n", read(t, dir, "out", "shell", "kept"))
}
