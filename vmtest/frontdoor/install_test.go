// SPDX-License-Identifier: GPL-2.0

package frontdoor

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// files lists what is no folder below dir, with its permissions.
func files(t *testing.T, dir string) map[string]fs.FileMode {
	t.Helper()
	list := map[string]fs.FileMode{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		list[name] = info.Mode()
		return err
	}))
	return list
}

// pages are the manual pages: one of the tool and one of each command.
func pages() []string {
	list := []string{"ksnifctl.8"}
	for _, command := range []string{
		"completion", "events", "flush", "get", "help", "restart", "set", "start", "stats", "status", "stop", "version",
	} {
		list = append(list, "ksnifctl-"+command+".8")
	}
	return list
}

// want is the exact list of what make install installs.
func want(prefix, modules string) map[string]fs.FileMode {
	list := map[string]fs.FileMode{
		prefix + "/sbin/ksnifctl":                                 0o755,
		prefix + "/share/bash-completion/completions/ksnifctl":    0o644,
		prefix + "/share/zsh/site-functions/_ksnifctl":            0o644,
		prefix + "/share/fish/vendor_completions.d/ksnifctl.fish": 0o644,
		modules + "/updates/ksnif.ko":                             0o644,
	}
	for _, page := range pages() {
		list[prefix+"/share/man/man8/"+page] = 0o644
	}
	// depmod's
	for _, name := range []string{
		"alias", "alias.bin", "builtin.alias.bin", "builtin.bin", "dep", "dep.bin", "devname", "softdep", "symbols", "symbols.bin",
	} {
		list[modules+"/modules."+name] = 0o644
	}
	return list
}

// installs checks that install puts everything where PREFIX, DESTDIR and INSTALL_MOD_PATH say, and nothing anywhere
// else, that it works there, and that uninstall takes all of it away.
func installs(t *testing.T, dir string) {
	succeeds(t, dir, "bin/ksnifctl", "module")
	require.NoError(t, copyFile(filepath.Join(dir, "out", "build", kernel()+"-list", "ksnif.ko"), filepath.Join(dir, "kmod", "ksnif.ko")))
	release := releaseOf(t, filepath.Join(dir, "kmod", "ksnif.ko"))

	for _, row := range []struct{ name, prefix, path, where string }{
		{"system", "/usr", "", "lib/modules/" + release},
		{"modules apart", "/usr/local", "/mnt/root", "mnt/root/lib/modules/" + release},
	} {
		t.Run(row.name, func(t *testing.T) {
			dest := t.TempDir()
			args := []string{"DESTDIR=" + dest, "INSTALL_MOD_PATH=" + row.path}
			if row.prefix != "/usr/local" { // the default
				args = append(args, "PREFIX="+row.prefix)
			}
			before := files(t, dir)
			got := succeeds(t, dir, append([]string{"install"}, args...)...)
			assert.Empty(t, got.stderr)
			assert.Equal(t, want(strings.TrimPrefix(row.prefix, "/"), row.where), files(t, dest))
			assert.Equal(t, before, files(t, dir), "install changed the tree")
			works(t, filepath.Join(dest, row.prefix))

			got = succeeds(t, dir, append([]string{"uninstall"}, args...)...)
			assert.Empty(t, got.stderr)
			assert.Empty(t, files(t, dest), "left by uninstall")
		})
	}
}

// releaseOf is the kernel that a module is for.
func releaseOf(t *testing.T, module string) string {
	t.Helper()
	got := run(t, exec.Command("modinfo", "-F", "vermagic", module))
	require.Zero(t, got.code, got.stderr)
	release, _, _ := strings.Cut(got.stdout, " ")
	return release
}

// works runs the installed tool and loads the script that completes its commands.
func works(t *testing.T, prefix string) {
	t.Helper()
	tool := run(t, exec.Command(filepath.Join(prefix, "sbin", "ksnifctl"), "--help"))
	assert.Zero(t, tool.code, tool.stderr)
	script := `source "$1"; complete -p ksnifctl`
	bash := run(t, exec.Command("bash", "--norc", "-euc", script, "-", filepath.Join(prefix, "share/bash-completion/completions/ksnifctl")))
	assert.Zero(t, bash.code, bash.stderr)
	assert.Contains(t, bash.stdout, "-F __start_ksnifctl ksnifctl")
}

// readable renders a manual page without a warning.
func readable(t *testing.T, page string) {
	t.Helper()
	cmd := exec.Command("man", "--warnings", "--local-file", page)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "MANWIDTH=80", "MANROFFSEQ=")
	got := run(t, cmd)
	assert.Zero(t, got.code)
	assert.Empty(t, got.stderr, page)
	name := strings.TrimSuffix(filepath.Base(page), ".8")
	assert.Contains(t, got.stdout, strings.ToUpper(name)+"(8)")
	assert.Regexp(t, `(?m)^NAME\n +`+name+` +- `, got.stdout)
}

// There is a page for every command, and each is rendered without a warning.
func TestManualPages(t *testing.T) {
	if _, err := exec.LookPath("man"); err != nil {
		t.Skip("man is not installed")
	}
	if testing.Short() {
		t.Skip("takes long: make vmtest runs it")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "run", "-buildvcs=false", "./ctl/ksnifctl", "man", dir)
	cmd.Dir = root
	got := run(t, cmd)
	require.Zero(t, got.code, got.stderr)
	var names []string
	for name := range files(t, dir) {
		names = append(names, name)
		readable(t, filepath.Join(dir, name))
	}
	sort.Strings(names)
	assert.ElementsMatch(t, pages(), names)
}
