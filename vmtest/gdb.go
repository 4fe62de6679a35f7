// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ksnif/vmtest/proto"
)

// gdbFiles are what gdb needs to know names in the guest: a script that joins it to the VM, the kernel's symbols,
// and, once the guest has told where the module lies, those of the module.
type gdbFiles struct {
	dir     string
	module  string
	port    string
	symbols string // of the kernel
}

// gdbFiles makes what can be made before the boot. Debian's vmlinux, with all that gdb could know, is a large download
// of its own; the kernel's own list of symbols is had for a short boot, once.
func (h *Harness) gdbFiles(ctx context.Context, kernel string, g Guest) (*gdbFiles, error) {
	files := &gdbFiles{dir: h.out("gdb"), module: g.Module, port: h.Options.GDB}
	files.symbols = files.file("kernel-" + g.Kernel.Release + ".sym")
	if err := os.MkdirAll(files.dir, 0o755); err != nil {
		return nil, err
	}
	if !isFile(files.symbols) {
		if err := h.fetchSymbols(ctx, kernel, files); err != nil {
			return nil, fmt.Errorf("symbols of the kernel: %w", err)
		}
	}
	return files, files.write()
}

// fetchSymbols boots without gdb to read /proc/kallsyms; nokaslr makes it true for the next boot.
func (h *Harness) fetchSymbols(ctx context.Context, kernel string, g *gdbFiles) error {
	inner := *h
	inner.NoModule, inner.Options.GDB, inner.Options.nokaslr = true, "", true
	script := g.file("symbols.sh")
	if err := os.WriteFile(script, []byte("cat /proc/kallsyms >/out/kallsyms\n"), 0o644); err != nil {
		return err
	}
	dir := g.file("symbols")
	h.Progress.Line("a first boot reads the names of the kernel's symbols for gdb")
	res, err := inner.Script(ctx, ScriptRun{Kernel: kernel, File: script, Dir: dir, Output: io.Discard})
	if err != nil {
		return err
	}
	if !res.OK() {
		return errors.New(res.Report())
	}
	b, err := os.ReadFile(filepath.Join(dir, "kallsyms"))
	if err != nil {
		return err
	}
	return os.WriteFile(g.symbols, symbolFile(readKallsyms(b)), 0o644)
}

// write makes the script that joins gdb to the VM.
func (g *gdbFiles) write() error {
	script := fmt.Sprintf(`symbol-file %s
set architecture i386:x86-64
target remote localhost:%s
define ksnif
  source %s
end
document ksnif
  Read the symbols of ksnif.ko, once the VM has loaded it.
end
`, g.symbols, g.port, g.file("module.gdb"))
	if err := os.RemoveAll(g.file("module.gdb")); err != nil {
		return err
	}
	return os.WriteFile(g.file("vm.gdb"), []byte(script), 0o644)
}

// help says how to use it all.
func (g *gdbFiles) help() string {
	return fmt.Sprintf("The VM waits for gdb. In another terminal: gdb -x %s, and there: continue\n"+
		"Once the prompt is here: Ctrl-C in gdb, then ksnif, which reads the module's symbols; then break, continue.",
		g.file("vm.gdb"))
}

func (g *gdbFiles) file(name string) string { return filepath.Join(g.dir, name) }

// sections takes a record with the addresses of the module's sections, as "name=address" separated by spaces.
func (g *gdbFiles) sections(text string) error {
	args := ""
	start := ""
	for _, s := range strings.Fields(text) {
		name, addr, _ := strings.Cut(s, "=")
		if name == ".text" {
			start = addr
		} else {
			args += " -s " + name + " " + addr
		}
	}
	if start == "" {
		return errors.New("the guest did not say where the module lies")
	}
	line := fmt.Sprintf("add-symbol-file %s %s%s\n", g.module, start, args)
	return os.WriteFile(g.file("module.gdb"), []byte(line), 0o644)
}

// readKallsyms returns the kernel's own symbols, their names as an ELF string table, and the section that code is in.
func readKallsyms(b []byte) (syms []elf.Sym64, names []byte, text elf.Section64) {
	names = []byte{0}
	syms = []elf.Sym64{{}}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) != 3 { // those of modules have their module behind them
			continue
		}
		addr, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil {
			continue
		}
		sym := elf.Sym64{Name: uint32(len(names)), Value: addr, Shndx: uint16(elf.SHN_ABS)}
		sym.Info = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT)
		if strings.ContainsAny(f[1], "tTwW") {
			sym.Info, sym.Shndx = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), 1
		}
		switch f[2] {
		case "_text":
			text.Addr = addr
		case "_einittext":
			text.Size = addr - text.Addr
		}
		syms = append(syms, sym)
		names = append(append(names, f[2]...), 0)
	}
	return syms, names, text
}

// symbolFile is an ELF file with nothing but symbols: headers, the two tables, the names of the sections.
func symbolFile(syms []elf.Sym64, names []byte, text elf.Section64) []byte {
	const headSize, sectionSize, symSize = 64, 64, elf.Sym64Size
	sectionNames := []byte("\x00.text\x00.symtab\x00.strtab\x00.shstrtab\x00")
	symOff := uint64(headSize + 5*sectionSize)
	strOff := symOff + uint64(len(syms)*symSize)
	endOff := strOff + uint64(len(names))
	text.Name, text.Type = 1, uint32(elf.SHT_NOBITS)
	text.Flags, text.Addralign = uint64(elf.SHF_ALLOC|elf.SHF_EXECINSTR), 4096
	sections := []elf.Section64{
		{},
		text,
		{Name: 7, Type: uint32(elf.SHT_SYMTAB), Off: symOff, Size: strOff - symOff, Link: 3, Info: 1, Addralign: 8, Entsize: symSize},
		{Name: 15, Type: uint32(elf.SHT_STRTAB), Off: strOff, Size: endOff - strOff, Addralign: 1},
		{Name: 23, Type: uint32(elf.SHT_STRTAB), Off: endOff, Size: uint64(len(sectionNames)), Addralign: 1},
	}
	head := elf.Header64{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Shoff: headSize, Ehsize: headSize,
		Shentsize: sectionSize, Shnum: uint16(len(sections)), Shstrndx: 4,
	}
	var out bytes.Buffer
	for _, part := range []any{head, sections, syms, names, sectionNames} {
		// Writing to memory cannot fail, and all parts have a fixed size.
		_ = binary.Write(&out, binary.LittleEndian, part)
	}
	return out.Bytes()
}

// gdbSink writes down where the module lies as soon as the guest says so.
type gdbSink struct {
	sink
	files *gdbFiles
}

func (g gdbSink) record(r proto.Record) {
	if r.Kind == proto.KindSections {
		if err := g.files.sections(r.Text); err != nil {
			r = proto.Record{Kind: proto.KindProblem, Problems: []proto.Problem{{Type: "gdb", Text: err.Error()}}}
		}
	}
	g.sink.record(r)
}
