// SPDX-License-Identifier: GPL-2.0

package images

import (
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnset(t *testing.T) {
	const config = "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"text\"\n# a comment\n"
	assert.Empty(t, unset("# what\nCONFIG_A=y\n# CONFIG_C is not set\n# CONFIG_GONE is not set\nCONFIG_D=\"text\"\n", config))
	assert.Equal(t, []string{
		"CONFIG_A=m asked for, there is CONFIG_A=y",
		"# CONFIG_B is not set asked for, there is CONFIG_B=m",
		"CONFIG_C=y asked for, there is # CONFIG_C is not set",
		"CONFIG_AB=y asked for, there is nothing of it",
	}, unset("CONFIG_A=m\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_AB=y\n", config))
}

// What a kernel is for must be in its recipe, whoever edits the fragments.
func TestRecipes(t *testing.T) {
	assert.Equal(t, []string{"debug-6.1", "debug-6.12", "kcsan-6.12"}, BuiltKernelNames())
	for name, r := range recipes() {
		assert.True(t, slices.Contains(KernelNames(), r.series), name)
		config, err := r.config(name)
		require.NoError(t, err)
		wanted := []string{
			"KASAN", "KASAN_VMALLOC", "PROVE_LOCKING", "PROVE_RCU", "DEBUG_ATOMIC_SLEEP", "DEBUG_KMEMLEAK", "UBSAN",
			"DEBUG_OBJECTS", "NET_DEV_REFCNT_TRACKER", "NET_NS_REFCNT_TRACKER", "FAILSLAB", "FAIL_PAGE_ALLOC",
			"FAIL_FUNCTION", "FAULT_INJECTION_STACKTRACE_FILTER", "KUNIT", "GCOV_KERNEL",
		}
		if flavour(name) == "kcsan" {
			wanted = []string{"KCSAN", "KUNIT"}
		}
		for _, symbol := range wanted {
			assert.Contains(t, config, "\nCONFIG_"+symbol+"=y\n", name)
		}
		for _, symbol := range []string{"DM_FLAKEY", "BLK_DEV_DM", "DM_LOG_WRITES", "NET_PKTGEN"} {
			assert.Contains(t, config, "\nCONFIG_"+symbol+"=m\n", name)
		}
	}
}

func TestNeededForModules(t *testing.T) {
	for _, file := range []string{
		"Makefile", "scripts/mod/modpost", "scripts/module.lds", "include/generated/autoconf.h", "arch/x86/Makefile",
		"arch/x86/include/asm/page.h", "tools/objtool/objtool", ".config", "Module.symvers", "Kbuild", "net/ipv4/Kconfig",
	} {
		assert.True(t, neededForModules(file), file)
	}
	for _, file := range []string{"vmlinux", "net/ipv4/tcp.c", "net/ipv4/tcp.o", "tools/objtool/check.o", "System.map"} {
		assert.False(t, neededForModules(file), file)
	}
	assert.True(t, unneededDir("arch/arm64"))
	assert.False(t, unneededDir("arch/x86"))
	assert.False(t, unneededDir("arch"))
}

func TestTrim(t *testing.T) {
	b := &kernelBuild{tree: t.TempDir()}
	touch(t, b.tree, map[string]string{
		"Makefile": "", "Documentation/index.rst": "", "arch/arm64/Makefile": "", "arch/x86/Makefile": "", "net/core/dev.c": "",
		"scripts/mod/modpost": "", "include/linux/fs.h": "",
	})
	require.NoError(t, b.trim(t.Context()))
	var left []string
	require.NoError(t, filepath.WalkDir(b.tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(b.tree, path)
			left = append(left, rel)
		}
		return err
	}))
	assert.Equal(t, []string{"Makefile", "arch/x86/Makefile", "include/linux/fs.h", "scripts/mod/modpost"}, left)
}
