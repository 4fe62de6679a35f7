// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bytes"
	"debug/elf"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSymbolFile(t *testing.T) {
	const kallsyms = "ffffffff81000000 T _text\nffffffff81000100 t helper\nffffffff82000000 D jiffies\n" +
		"ffffffff83100000 T _einittext\nffffffffc0000000 t ksnif_init\t[ksnif]\nnonsense\n"
	f, err := elf.NewFile(bytes.NewReader(symbolFile(readKallsyms([]byte(kallsyms)))))
	require.NoError(t, err)
	syms, err := f.Symbols()
	require.NoError(t, err)
	require.Len(t, syms, 4, "those of modules are not the kernel's")
	assert.Equal(t, "helper", syms[1].Name)
	assert.Equal(t, uint64(0xffffffff81000100), syms[1].Value)
	assert.Equal(t, elf.STT_FUNC, elf.ST_TYPE(syms[1].Info))
	assert.Equal(t, elf.STT_OBJECT, elf.ST_TYPE(syms[2].Info))
	text := f.Section(".text")
	require.NotNil(t, text)
	assert.Equal(t, uint64(0xffffffff81000000), text.Addr)
	assert.Equal(t, uint64(0x2100000), text.Size)
}

func TestModuleSections(t *testing.T) {
	g := &gdbFiles{dir: t.TempDir(), module: "/x/ksnif.ko"}
	require.Error(t, g.sections(".data=0x2"))
	require.NoError(t, g.sections(".text=0x1 .data=0x2 .bss=0x3"))
	b, err := os.ReadFile(g.file("module.gdb"))
	require.NoError(t, err)
	assert.Equal(t, "add-symbol-file /x/ksnif.ko 0x1 -s .data 0x2 -s .bss 0x3\n", string(b))
}
