// SPDX-License-Identifier: GPL-2.0

package images

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzModuleDeps: every line of modules.dep is there, and the closure of some modules is the smallest set that needs
// nothing outside of it.
func FuzzModuleDeps(f *testing.F) {
	f.Add("kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\n", "a")
	f.Add("a.ko: b.ko\nb.ko: a.ko\n\n", "")
	f.Add("no colon", "x")
	f.Fuzz(func(t *testing.T, text, pick string) {
		deps, err := moduleDeps(text)
		if err != nil {
			require.ErrorContains(t, err, "modules.dep")
			return
		}
		for line := range strings.Lines(text) {
			name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			require.Contains(t, deps, name)
		}
		wanted := func(name string) bool { return strings.Contains(name, pick) }
		got := moduleClosure(deps, wanted)
		require.True(t, slices.IsSorted(got))
		needed := map[string]bool{}
		for _, name := range got {
			for _, need := range deps[name] {
				require.Contains(t, got, need)
				needed[need] = true
			}
		}
		for name := range deps {
			if wanted(name) {
				require.Contains(t, got, name)
			}
		}
		for _, name := range got {
			_, listed := deps[name]
			require.True(t, listed && wanted(name) || needed[name], name)
		}
		require.Len(t, slices.Compact(slices.Clone(got)), len(got))
	})
}

// FuzzPackages: apt's line for a package gives its name and version back, among lines that it says besides.
func FuzzPackages(f *testing.F) {
	f.Add("linux-image-6.1", "1:6.1.153-1", "NOTE: x\n")
	f.Add("a", "%", "'http://x/a_1_b.deb' a_1_b 5\n")
	f.Add("a", "1", "'x' a_%zz_b.deb 5")
	f.Fuzz(func(t *testing.T, name, version, noise string) {
		before, err := packagesFromURIs(noise)
		if err != nil || name == "" || strings.ContainsAny(name+version, "_ ") || len(strings.Fields(name)) != 1 || !strings.HasSuffix(noise+"\n", "\n") {
			return
		}
		line := fmt.Sprintf("\n'http://m/pool/x.deb' %s_%s_amd64.deb 12345 SHA256:0", name, url.PathEscape(version))
		if len(strings.Fields(line)) != 4 {
			return
		}
		got, err := packagesFromURIs(noise + line)
		require.NoError(t, err)
		require.Equal(t, append(before, pkg{name, version}), got)
	})
}

// FuzzMirrors: only addresses that apt named are taken, each once, no archive of security updates among them.
func FuzzMirrors(f *testing.F) {
	f.Add("http://m/debian/|bookworm|main|Debian|Debian|/usr/share/keyrings/debian-archive-keyring.gpg\n")
	f.Add("http://s/|bookworm-security|main|Debian|Debian-Security|\ncdrom:x|bookworm|main|Debian|Debian|\n||main|||debian-archive\n")
	f.Fuzz(func(t *testing.T, targets string) {
		got := mirrors(targets)
		for i, uri := range got {
			require.NotContains(t, got[:i], uri)
			require.False(t, strings.HasPrefix(uri, "cdrom:"))
			require.True(t, slices.ContainsFunc(strings.Split(targets, "\n"), func(line string) bool {
				fields := strings.Split(strings.TrimSpace(line), "|")
				return len(fields) == 6 && fields[0] == uri && fields[2] == "main" && !strings.HasSuffix(fields[1], "-security")
			}), uri)
		}
	})
}

// FuzzPlainName: only the suffix behind a .ko goes.
func FuzzPlainName(f *testing.F) {
	for _, s := range []string{"a.ko", "a.ko.xz", "a.ko.zst", "x.ko.d/a.ko", "ko", ".ko.ko."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := plainName(name)
		require.True(t, strings.HasPrefix(name, got))
		if got != name {
			require.True(t, strings.HasSuffix(got, ".ko"))
			require.True(t, strings.HasPrefix(name[len(got):], "."))
		}
	})
}
