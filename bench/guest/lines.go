// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"ksnif/bench"
)

// watched are the functions that a packet goes through to be captured, and to wake who waits for it.
var watched = []struct{ contender, hook, wake string }{
	{"ksnif list buffered", "hook_pcapng", "ksnif_writer_wake"},
	{"ksnif ring buffered", "hook_pcapng", "ksnif_writer_wake"},
	{"ksnif ring direct", "hook_pcapng", "ksnif_writer_wake"},
	{"tcpdump", "tpacket_rcv", "sock_def_readable"},
}

// lines has QEMU note what captures on two processors do to memory, see bench/watch. The figures are added on the host.
func lines(plan bench.Plan) ([]bench.Row, error) {
	b, err := newBell()
	if err != nil {
		return nil, err
	}
	var rows []bench.Row
	for i, w := range watched {
		list, err := choose(contenders(plan.BufferKB, loadDevice), w.contender)
		if err != nil {
			return nil, err
		}
		fmt.Printf(" %s\n", w.contender)
		l := load{size: plan.Sizes[0], burst: plan.Packets, streams: plan.VM.CPUs}
		s, err := captureLoad(list[0], l, plan.Snaplens[0], func() error {
			if err := b.watch(i, w.hook, w.wake); err != nil {
				return err
			}
			defer b.ring(bellWrite, uint64(i))
			return l.send()
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.contender, err)
		}
		row := sumUp(list[0].row(plan.Snaplens[0], l.size), []sample{s}, 0)
		row.CPUs = plan.VM.CPUs
		rows = append(rows, row)
	}
	return rows, nil
}

// bell is the page by which QEMU is told what to watch: bench/watch/watch.c sees to which of its bytes something is stored.
type bell []byte

const (
	bellAddr  = 0x500000000000
	bellNames = 8 * 256
)

// What the bell can tell: the first is a function's address each.
const (
	bellHook = iota
	bellWake
	bellEntry
	bellEntryEnd
	bellWrite
)

func newBell() (bell, error) {
	size := uintptr(os.Getpagesize())
	p, err := unix.MmapPtr(-1, 0, unsafe.Add(nil, bellAddr), size, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE)
	if err != nil {
		return nil, fmt.Errorf("bell: %w", err)
	}
	return unsafe.Slice((*byte)(p), size), nil
}

// ring tells one thing.
func (b bell) ring(what int, value uint64) {
	for i := range 8 {
		b.touch(256*i + int(value>>(8*i)&0xff))
	}
	b.touch(bellNames + what)
}

//go:noinline
func (b bell) touch(i int) { b[i]++ }

// watch begins with a contender whose functions are in the kernel by now; its symbols are left for the host.
func (b bell) watch(n int, hook, wake string) error {
	symbols, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("/out/"+bench.SymbolsFile, n), symbols, 0o644); err != nil {
		return err
	}
	for what, name := range []string{hook, wake, "__entry_text_start", "__entry_text_end"} {
		addr, err := addressOf(symbols, name)
		if err != nil {
			return err
		}
		b.ring(what, addr)
	}
	return nil
}

// addressOf finds a symbol.
func addressOf(symbols []byte, name string) (uint64, error) {
	for line := range bytes.Lines(symbols) {
		if f := bytes.Fields(line); len(f) >= 3 && string(f[2]) == name {
			return strconv.ParseUint(string(f[0]), 16, 64)
		}
	}
	return 0, fmt.Errorf("%s is not in /proc/kallsyms", name)
}
