// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDisks takes files to an image and back.
func TestDisks(t *testing.T) {
	if err := CheckTools(); err != nil {
		t.Skip(err)
	}
	src, dir := t.TempDir(), t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(src, "a", "b c"), 0o755))
	big := strings.Repeat("0123456789abcdef", 100_000)
	require.NoError(t, os.WriteFile(filepath.Join(src, "a", "b c", "big"), []byte(big), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(src, "locked"), []byte("x"), 0o000))
	require.NoError(t, os.Chmod(filepath.Join(src, "locked"), 0o400))
	require.NoError(t, os.Symlink("locked", filepath.Join(src, "link")))
	for name, makeDisk := range map[string]func(image string) error{
		"out": func(image string) error { return makeOutDisk(t.Context(), image, src, 64) },
		"in":  func(image string) error { return makeInDisk(t.Context(), image, src) },
	} {
		t.Run(name, func(t *testing.T) {
			image, back := filepath.Join(dir, name+".img"), filepath.Join(dir, name)
			require.NoError(t, makeDisk(image))
			require.NoError(t, fetchDisk(t.Context(), image, back))
			b, err := os.ReadFile(filepath.Join(back, "a", "b c", "big"))
			require.NoError(t, err)
			assert.Equal(t, big, string(b))
			info, err := os.Stat(filepath.Join(back, "locked"))
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the caller can read and remove it")
			target, err := os.Readlink(filepath.Join(back, "link"))
			require.NoError(t, err)
			assert.Equal(t, "locked", target)
			assert.NoDirExists(t, filepath.Join(back, "lost+found"))
		})
	}
}

func TestFetchDiskOfGarbage(t *testing.T) {
	if err := CheckTools(); err != nil {
		t.Skip(err)
	}
	image := filepath.Join(t.TempDir(), "img")
	require.NoError(t, os.WriteFile(image, make([]byte, 1<<20), 0o644))
	require.Error(t, fetchDisk(t.Context(), image, t.TempDir()))
}

func TestOptions(t *testing.T) {
	env := map[string]string{
		"MEM": "2G", "CPUS": "4", "TIMEOUT": "90", "ACCEL": "tcg", "ICOUNT": "1", "GDB": "1", "KSNIF_SLOW": "3",
		"QEMU_ARGS": "-device e1000", "OUT_OPTS": "throttling.bps-write=1", "OUT_MB": "100", "IO": "auto", "SEED": "18446744073709551615",
	}
	o, err := OptionsFromEnv(func(name string) string { return env[name] })
	require.NoError(t, err)
	assert.Equal(t, Options{
		MemMB: 2048, CPUs: 4, Timeout: 90e9, Accel: "tcg", Icount: true, GDB: "1234", Slow: 3,
		Extra: []string{"-device", "e1000"}, OutOpts: "throttling.bps-write=1", OutMB: 100, IO: "auto", Seed: 1<<64 - 1,
	}, o)
	for name, values := range map[string][]string{
		"MEM": {"x", "1", "-5", "1T"}, "CPUS": {"0", "two"}, "TIMEOUT": {"0", "-1", "soon"}, "ACCEL": {"hvf"}, "OUT_MB": {"0"}, "IO": {"direct"},
		"SEED": {"-1", "x"}, "GDB": {"x", "2", "65536"},
	} {
		for _, v := range values {
			_, err := OptionsFromEnv(func(n string) string { return map[string]string{name: v}[n] })
			assert.ErrorContains(t, err, name+"="+v)
		}
	}
	_, err = OptionsFromEnv(func(n string) string { return map[string]string{"ICOUNT": "1", "ACCEL": "kvm"}[n] })
	assert.Error(t, err)
}

// TestMachine looks for what must be in every command line.
func TestMachine(t *testing.T) {
	m := &machine{opts: Options{MemMB: 512, CPUs: 1}, accel: TCG, kernel: "k", initrd: "i", outDisk: "a,b"}
	args := strings.Join(m.args([]channel{{fd: 3}, {name: "p", fd: 4}}), " ")
	for _, part := range []string{
		"-cpu max,-cx16,-erms,-fsrm,-la57", "-no-reboot", "panic=-1", "oops=panic", "panic_on_warn=1", "-m 512M", "file=a,,b",
		"socket,id=ch1,fd=4", "virtserialport,chardev=ch1,name=p", "-serial chardev:ch0",
	} {
		assert.Contains(t, args, part)
	}
	m.opts.Icount = true
	assert.Contains(t, strings.Join(m.args(nil), " "), "-icount shift=0,sleep=off")
	m.opts.Icount, m.accel, m.inDisk = false, KVM, "in"
	args = strings.Join(m.args(nil), " ")
	assert.Contains(t, args, "-accel kvm -cpu host")
	assert.Contains(t, args, "file=in,read-only=on")
}
