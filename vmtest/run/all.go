// SPDX-License-Identifier: GPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ksnif/vmtest"
)

// allRun is everything that make vmtest does.
type allRun struct {
	flags   *flags
	kernels string
	run     string
	binary  string
}

func newAll(f *flags) *cobra.Command {
	a := &allRun{flags: f}
	cmd := &cobra.Command{
		Use:   "all",
		Short: "Run every test: on the host, of the harness, and in VMs",
		Long: "Runs the host's tests, the self-test of the harness, and the guest's tests on every kernel; the last line counts\n" +
			"them all. With --run only the tests that match, and no self-test; matching nothing anywhere fails.\n" + environment,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.harness(a.with(cmd.Context())) },
	}
	cmd.Flags().StringVar(&a.kernels, "kernels", "6.1 6.12", "kernels, separated by spaces or commas")
	cmd.Flags().StringVar(&a.run, "run", "", "only the tests that match, as in go test -run")
	cmd.Flags().StringVar(&a.binary, "tests", "", "test binary for the guest (default out/bin/tests)")
	return cmd
}

// part is one of the runs that make vmtest adds up.
type part struct {
	name string
	run  func(ctx context.Context) (*vmtest.Result, error)
}

func (a *allRun) parts(h *vmtest.Harness) []part {
	kernels := strings.FieldsFunc(a.kernels, func(r rune) bool { return r == ' ' || r == ',' })
	parts := []part{{"the host", func(ctx context.Context) (*vmtest.Result, error) { return h.HostTests(ctx, a.run) }}}
	if a.run == "" && len(kernels) > 0 {
		parts = append(parts, part{"the harness", func(ctx context.Context) (*vmtest.Result, error) {
			return h.Selftest(ctx, kernels[0])
		}})
	}
	for _, kernel := range kernels {
		var guest *vmtest.Result
		parts = append(parts, part{"kernel " + kernel, func(ctx context.Context) (res *vmtest.Result, err error) {
			guest, err = h.Test(ctx, vmtest.TestRun{Kernel: kernel, Binary: a.flags.binary(a.binary), Run: a.run})
			return guest, err
		}}, part{"files of " + kernel, func(ctx context.Context) (*vmtest.Result, error) {
			if guest == nil {
				return nil, nil
			}
			return h.HostCheck(ctx, guest)
		}})
	}
	return parts
}

// with runs all parts, one that fails does not keep the next from running, and adds up.
func (a *allRun) with(ctx context.Context) func(h *vmtest.Harness) error {
	return func(h *vmtest.Harness) error {
		var sum vmtest.Counts
		var lines []string
		for _, p := range a.parts(h) {
			h.Progress.Line("== %s", p.name)
			counts, err := a.count(ctx, p, h.Progress)
			if ctx.Err() != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%-15s %s", p.name+":", counts))
			sum = sum.Add(counts)
		}
		h.Progress.Line("==\n%s", strings.Join(lines, "\n"))
		if sum.Total() == 0 {
			h.Progress.Line("no test matches --run %q", a.run)
		}
		return closing(h.Progress, sum)
	}
}

// count runs a part. What keeps it from running at all is a failure too, unless no test was asked for there.
func (a *allRun) count(ctx context.Context, p part, progress *vmtest.Progress) (vmtest.Counts, error) {
	res, err := p.run(ctx)
	var counts vmtest.Counts
	if res != nil {
		counts = res.Counts()
	}
	if err != nil && !(a.run != "" && errors.Is(err, vmtest.ErrNoTests)) {
		progress.Line("FAIL  %s: %v", p.name, err)
		counts.Failed++
	}
	return counts, err
}
