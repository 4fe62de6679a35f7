// SPDX-License-Identifier: GPL-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"ksnif/bench"
	"ksnif/vmtest"
)

// watch has QEMU load the plugin in bench/watch.
func (b *bencher) watch(ctx context.Context, opts *vmtest.Options) error {
	plugin, err := filepath.Abs(b.out("watch.so"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(plugin), 0o755); err != nil {
		return err
	}
	source := filepath.Join(b.root, "bench", "watch", "watch.c")
	build := exec.CommandContext(ctx, "gcc", "-O2", "-Wall", "-shared", "-fPIC", "-fvisibility=hidden", "-o", plugin, source)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", source, err, strings.TrimSpace(string(out)))
	}
	// only code that QEMU translates can be watched; and where a function is called by way of a trampoline, what the plugin
	// takes for its return address is another
	opts.Accel = string(vmtest.TCG)
	opts.Kernel = append(opts.Kernel, "mitigations=off")
	opts.Extra = append(opts.Extra, "-plugin", plugin+",out="+b.seen())
	return nil
}

// seen is the file that the plugin writes.
func (b *bencher) seen() string { return b.out("seen") }

// addLines adds what the plugin saw to the rows.
func (b *bencher) addLines(r *bench.Report) error {
	f, err := os.Open(b.seen())
	if err != nil {
		return err
	}
	defer f.Close()
	all, err := bench.ReadLines(f, func(n int) (*bench.Symbols, error) {
		f, err := os.Open(b.out("vm", fmt.Sprintf(bench.SymbolsFile, n)))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return bench.ReadSymbols(f)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", b.seen(), err)
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Lines = all[i]; row.Lines == nil {
			return fmt.Errorf("%s: nothing of %s", b.seen(), row.Name())
		}
		if seen := row.Lines.Hooks + row.Lines.Woke + row.Lines.LeftOut; seen != row.Captured {
			return fmt.Errorf("%s captured %d packets, and the plugin saw %d", row.Name(), row.Captured, seen)
		}
	}
	return nil
}
