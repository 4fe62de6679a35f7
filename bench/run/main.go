// SPDX-License-Identifier: GPL-2.0

// Bench-run measures ksnif beside other programs in a VM, and shows what came of it. The Makefile calls it;
// `bench-run --help` lists what it can do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ksnif/bench"
	"ksnif/images"
	"ksnif/vmtest"
	"ksnif/vmtest/command"
)

// timeout is that of the VM: what takes an hour and a half may take twice as long on a slow machine.
const timeout = 4 * time.Hour

func main() { command.Main(newRoot()) }

// bencher is one run of a part.
type bencher struct {
	root, kernel, guest string
	repeats             int
	plan                bench.Plan
}

func newRoot() *cobra.Command {
	b, check := &bencher{}, false
	cmd := &cobra.Command{
		Use:           "bench-run PART",
		Short:         "Measure ksnif beside other programs in a VM",
		Long:          longHelp(),
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) (err error) {
			if len(args) != 1 {
				return command.UsageError{Err: fmt.Errorf("which part? %s", strings.Join(bench.PartNames(), ", "))}
			}
			if b.plan, err = bench.PlanOf(args[0], b.repeats); err != nil {
				return command.UsageError{Err: err}
			}
			return nil
		},
		ValidArgs: bench.PartNames(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return nil
			}
			return b.run(cmd.Context())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.UsageError{Err: err} })
	cmd.Flags().StringVar(&b.root, "root", ".", "the checkout")
	cmd.Flags().StringVar(&b.kernel, "kernel", "6.1", "6.1 or 6.12")
	cmd.Flags().IntVar(&b.repeats, "repeats", 0, "how often all is measured, instead of what the part wants")
	cmd.Flags().StringVar(&b.guest, "guest", "out/bin/bench-guest", "the program that measures in the VM")
	cmd.Flags().BoolVar(&check, "check", false, "only see whether there is such a part")
	return cmd
}

func longHelp() string {
	text := "Measures in a VM. Where it counts instructions it does not matter what else the machine does;\n" +
		"in real time it does.\nPART is one of:\n"
	for _, p := range bench.Parts() {
		text += fmt.Sprintf("  %-7s  %s\n", p.Name, p.About)
	}
	return text + "Results: a table here; out/bench/PART.json and out/bench/PART*.svg."
}

func (b *bencher) out(elem ...string) string {
	return filepath.Join(append([]string{b.root, "out", "bench"}, elem...)...)
}

func (b *bencher) run(ctx context.Context) error {
	opts, err := vmtest.OptionsFromEnv(os.Getenv)
	if err != nil {
		return command.UsageError{Err: err}
	}
	if err := vmtest.CheckTools(); err != nil {
		return err
	}
	if err := b.machine(ctx, &opts); err != nil {
		return err
	}
	progress := vmtest.NewProgress(os.Stdout)
	defer progress.Close()
	cache, err := images.OpenCache(os.Stderr)
	if err != nil {
		return err
	}
	h := &vmtest.Harness{Root: b.root, NoModule: true, Options: opts, Cache: cache, Progress: progress}
	report, err := b.measure(ctx, h)
	progress.Close()
	if err != nil {
		return err
	}
	return b.show(report)
}

// machine has the options make the VM that the part needs.
func (b *bencher) machine(ctx context.Context, opts *vmtest.Options) error {
	vm := b.plan.VM
	opts.CPUs = vm.CPUs
	if vm.Icount {
		opts.Icount, opts.Accel = true, ""
	}
	if vm.MemMB > 0 {
		opts.MemMB = vm.MemMB
	}
	if vm.OutMB > 0 {
		opts.OutMB = vm.OutMB
	}
	if vm.DiskRate > 0 {
		opts.OutOpts = fmt.Sprintf("throttling.bps-write=%d", vm.DiskRate)
	}
	if opts.Timeout == 0 {
		opts.Timeout = timeout
	}
	if vm.Watch {
		return b.watch(ctx, opts)
	}
	return nil
}

// measure boots the VM and returns what was measured in it.
func (b *bencher) measure(ctx context.Context, h *vmtest.Harness) (*bench.Report, error) {
	in := b.out("in")
	if err := b.fillIn(ctx, h, in); err != nil {
		return nil, err
	}
	res, err := h.Script(ctx, vmtest.ScriptRun{
		Kernel: b.kernel, File: filepath.Join(b.root, "bench", "guest", "run.sh"), In: in, Dir: b.out("vm"),
		Output: &steps{progress: h.Progress},
	})
	if err != nil {
		return nil, err
	}
	if !res.OK() {
		return nil, errors.New(res.Report())
	}
	k, err := h.Cache.Kernel(ctx, b.kernel)
	if err != nil {
		return nil, err
	}
	accel := bench.Icount
	if !b.plan.VM.Icount {
		how, _, err := vmtest.ChooseAccel(h.Options)
		if err != nil {
			return nil, err
		}
		accel = string(how)
	}
	report, err := b.report(b.out("vm", bench.ReportFile), k.Release, accel)
	if err != nil || !b.plan.VM.Watch {
		return report, err
	}
	return report, b.addLines(report)
}
