// SPDX-License-Identifier: GPL-2.0

package images

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// touch writes files below dir.
func touch(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	}
}

func TestKernelPackages(t *testing.T) {
	closure := []pkg{
		{"libc6", "2.36"},
		{"linux-headers-cloud-amd64", "6.1.176-1"},
		{"linux-headers-6.1.0-50-common", "6.1.176-1"},
		{"linux-headers-6.1.0-50-cloud-amd64", "6.1.176-1"},
		{"linux-kbuild-6.1", "6.1.176-1"},
	}
	kv, err := kernelPackages(closure)
	require.NoError(t, err)
	assert.Equal(t, "6.1.0-50-cloud-amd64", kv.Release)
	assert.Equal(t, []pkg{
		{"linux-headers-6.1.0-50-cloud-amd64", "6.1.176-1"},
		{"linux-headers-6.1.0-50-common", "6.1.176-1"},
		{"linux-image-6.1.0-50-cloud-amd64", "6.1.176-1"},
		{"linux-kbuild-6.1", "6.1.176-1"},
	}, kv.Packages)

	for missing := range closure[2:] {
		_, err := kernelPackages(append(append([]pkg{}, closure[:2+missing]...), closure[3+missing:]...))
		require.Error(t, err, "without %s", closure[2+missing].Name)
	}
}

func TestKernelFromCache(t *testing.T) {
	const release = "6.1.0-50-cloud-amd64"
	t.Setenv("PATH", "/nonexistent") // no apt: a cached kernel must not need it
	c := &Cache{Dir: t.TempDir()}
	v, err := c.resolved()
	require.NoError(t, err)
	v.Kernels["6.1"] = kernelVersion{Release: release}
	require.NoError(t, c.saveResolved(v))

	_, err = c.Kernel(t.Context(), "6.1")
	require.ErrorContains(t, err, "apt-get", "an incomplete kernel is fetched")

	touch(t, c.kernelDir(release), map[string]string{
		"boot/vmlinuz-" + release:                       "",
		"usr/src/linux-headers-" + release + "/.config": "",
		"lib/modules/" + release + "/modules.dep":       "",
	})
	k, err := c.Kernel(t.Context(), "6.1")
	require.NoError(t, err)
	assert.Equal(t, release, k.Release)
	assert.Equal(t, filepath.Join(c.kernelDir(release), "usr/src/linux-headers-"+release), k.KDIR)
	for _, file := range []string{k.Image, k.Config, filepath.Join(k.ModDir, "modules.dep")} {
		require.NoError(t, os.Rename(file, file+".gone"))
		_, err := c.Kernel(t.Context(), "6.1")
		require.ErrorContains(t, err, "apt-get", "without %s", file)
		require.NoError(t, os.Rename(file+".gone", file))
	}
}

func TestKernelNames(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	_, err := c.Kernel(t.Context(), "2.6")
	require.ErrorContains(t, err, "6.1, 6.12")
	for _, name := range KernelNames() {
		_, ok := kernelSuite(name)
		assert.True(t, ok, name)
	}
}

func TestLocalKernel(t *testing.T) {
	dir := t.TempDir()
	c := &Cache{Dir: t.TempDir()}
	image, kdir := filepath.Join(dir, "bzImage"), filepath.Join(dir, "build")
	touch(t, dir, map[string]string{"bzImage": "", "build/.config": ""})

	t.Setenv("KDIR", "")
	_, err := c.Kernel(t.Context(), image)
	require.ErrorContains(t, err, "KDIR=")

	t.Setenv("KDIR", kdir)
	_, err = c.Kernel(t.Context(), image)
	require.ErrorIs(t, err, fs.ErrNotExist)

	touch(t, kdir, map[string]string{"include/generated/utsrelease.h": "#define UTS_RELEASE \"6.9.0-own\"\n"})
	k, err := c.Kernel(t.Context(), image)
	require.NoError(t, err)
	assert.Equal(t, &Kernel{Name: image, Release: "6.9.0-own", Image: image, KDIR: kdir, Config: kdir + "/.config"}, k)

	_, err = c.Kernel(t.Context(), filepath.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestResolvedIsKept(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	want := &versions{
		Kernels:  map[string]kernelVersion{"6.1": {Release: "r", Packages: []pkg{{"n", "v"}}}},
		Userland: []pkg{{"busybox-static", "1"}},
	}
	require.NoError(t, c.saveResolved(want))
	got, err := c.resolved()
	require.NoError(t, err)
	assert.Equal(t, want, got)

	touch(t, c.Dir, map[string]string{"versions.json": "{"})
	_, err = c.resolved()
	require.ErrorContains(t, err, "delete it")
}

func TestFixHeaders(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir, map[string]string{
		"usr/src/linux-headers-1-cloud/Makefile": "include /usr/src/linux-headers-1-common/Makefile\n",
		"usr/src/linux-headers-1-cloud/vmlinux":  "types",
		"usr/src/linux-headers-1-common/Makefile": "here := $(abspath $(lastword $(MAKEFILE_LIST)))\n" +
			"all:\n\t@echo $(here)\n",
	})
	require.NoError(t, fixHeaders(dir, "1-cloud"))
	out, err := run(t.Context(), t.TempDir(), "make", "--no-print-directory", "-C", filepath.Join(dir, "usr/src/linux-headers-1-cloud"))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dir, "usr/src/linux-headers-1-common/Makefile")+"\n", out)
	assert.NoFileExists(t, filepath.Join(dir, "usr/src/linux-headers-1-cloud/vmlinux"))

	require.ErrorContains(t, fixHeaders(dir, "1-cloud"), "no longer", "a tree of another shape must not pass")
}
