// SPDX-License-Identifier: GPL-2.0

package images

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/u-root/mkuimage/cpio"
)

// contents reads an archive: names in order, and records by name.
func contents(t *testing.T, name string) ([]string, map[string]cpio.Record) {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(f))
	require.NoError(t, err)
	var names []string
	byName := map[string]cpio.Record{}
	for _, r := range records {
		names = append(names, r.Name)
		byName[r.Name] = r
	}
	return names, byName
}

func TestArchive(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir, map[string]string{"tool": "tool's text", "data": "data's text"})
	out := filepath.Join(dir, "run.cpio")
	files := map[string]File{
		"/bin/ksnifctl":     {Host: filepath.Join(dir, "tool"), Mode: 0o755},
		"ksnif/a/plan.json": {Host: filepath.Join(dir, "data"), Mode: 0o600},
		"/lib/mod/6/k.ko":   {Host: filepath.Join(dir, "data"), Mode: 0o644},
		"/ksnif/ksnif.ko":   {Host: filepath.Join(dir, "data"), Mode: 0o644},
	}
	require.NoError(t, Archive(out, files))

	names, records := contents(t, out)
	// The kernel makes no folder by itself: each comes before what is in it.
	assert.Equal(t, []string{"bin", "bin/ksnifctl", "ksnif", "ksnif/ksnif.ko", "lib", "lib/mod", "lib/mod/6", "lib/mod/6/k.ko", "ksnif/a", "ksnif/a/plan.json"}, names)
	assert.Equal(t, uint64(cpio.S_IFDIR|0o755), records["ksnif/a"].Mode)
	assert.Equal(t, uint64(cpio.S_IFREG|0o755), records["bin/ksnifctl"].Mode)
	assert.Equal(t, uint64(cpio.S_IFREG|0o600), records["ksnif/a/plan.json"].Mode)
	assert.Zero(t, records["bin/ksnifctl"].UID)
	text := make([]byte, records["bin/ksnifctl"].FileSize)
	_, err := records["bin/ksnifctl"].ReadAt(text, 0)
	require.NoError(t, err)
	assert.Equal(t, "tool's text", string(text))

	first, err := os.ReadFile(out)
	require.NoError(t, err)
	require.NoError(t, Archive(out, files))
	second, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, first, second, "the same files make the same archive")
}

func TestArchiveRefuses(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir, map[string]string{"data": ""})
	for name, host := range map[string]string{
		"/usr/bin/tool": filepath.Join(dir, "data"), // a link in the base archive
		"../escape":     filepath.Join(dir, "data"),
		"/bin/missing":  filepath.Join(dir, "nothing"),
	} {
		out := filepath.Join(dir, "run.cpio")
		require.Error(t, Archive(out, map[string]File{name: {Host: host, Mode: 0o644}}), name)
		assert.NoFileExists(t, out)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".run*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestWriteInitramfs(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	user, mods, own := t.TempDir(), t.TempDir(), t.TempDir()
	touch(t, user, map[string]string{"bin/dash": "shell", "etc/passwd": "root"})
	require.NoError(t, os.Symlink("dash", filepath.Join(user, "bin/sh")))
	require.NoError(t, os.MkdirAll(filepath.Join(user, "lib"), 0o755))
	touch(t, mods, map[string]string{"modules.dep": "a.ko:", "kernel/a.ko": "module"})
	touch(t, own, map[string]string{"init": "first process"})

	out := c.path("initramfs", "x.cpio")
	k := &Kernel{Release: "6.1-x", ModDir: mods}
	require.NoError(t, c.writeInitramfs(k, user, filepath.Join(own, "init"), out))
	_, records := contents(t, out)
	for name, mode := range map[string]uint64{
		".": cpio.S_IFDIR | 0o755, "init": cpio.S_IFREG | 0o644, "bin/sh": cpio.S_IFLNK | 0o777, "tmp": cpio.S_IFDIR | 0o1777,
		"dev/console": cpio.S_IFCHR | 0o600, "lib/modules/6.1-x/kernel/a.ko": cpio.S_IFREG | 0o644,
		"lib/modules/6.1-x/modules.dep": cpio.S_IFREG | 0o644, "etc/passwd": cpio.S_IFREG | 0o644,
	} {
		require.Contains(t, records, name)
		assert.Equal(t, mode, records[name].Mode, name)
		assert.Zero(t, records[name].UID, name)
	}
	assert.Equal(t, uint64(5), records["dev/console"].Rmajor)
	assert.Equal(t, uint64(1), records["dev/console"].Rminor)

	k.ModDir = "" // a kernel of one's own, all built in
	require.NoError(t, c.writeInitramfs(k, user, filepath.Join(own, "init"), out))
	names, _ := contents(t, out)
	assert.NotContains(t, strings.Join(names, "\n"), "lib/modules")
}
