// SPDX-License-Identifier: GPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"ksnif/vmtest"
)

// allRun is everything that make vmtest does.
type allRun struct {
	flags   *flags
	kernels string
	debug   string
	run     string
	binary  string
	long    bool
	cover   string
}

const (
	// tortureSet are the tests that have a long size, and those that are in the module.
	tortureSet = "^Test(Torture|KUnit)"
	// faults and disks are those of them in which one thing happens after the other. A machine with one processor is
	// enough for them: beside others it has them done in two thirds of the time.
	faults = "^Test(KUnit|Torture(Fail(Function|Init|Load|Namespace|Nth)|NetlinkTable|Permissions))$"
	disks  = "^TestTorture(PowerLoss|Storage|StorageSlow|StorageUmount|SyncErrors)$"
	// races are those in which as much as possible happens at once.
	races = "^TestTorture(Devices|FailHook|Load|Mixed|Namespaces|StartStop|StopRace)$"
)

func newAll(f *flags) *cobra.Command {
	a := &allRun{flags: f}
	cmd := &cobra.Command{
		Use:   "all",
		Short: "Run every test: on the host, of the harness, and in VMs",
		Long: "Runs the host's tests, the self-test of the harness, and the guest's tests on every kernel; the last line counts\n" +
			"them all. With --debug the torture set runs on that kernel instead. With --run only the tests that match, and no\n" +
			"self-test; matching nothing anywhere fails.\n" + environment,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.harness(a.with(cmd.Context())) },
	}
	cmd.Flags().StringVar(&a.kernels, "kernels", "6.1 6.12", "kernels, separated by spaces or commas")
	cmd.Flags().StringVar(&a.debug, "debug", "", "kernel for the torture set, such as debug-6.1")
	cmd.Flags().Var((*pattern)(&a.run), "run", "only the tests that match, as in go test -run")
	cmd.Flags().BoolVar(&a.long, "long", false, "only the torture set and the harness, in their long size")
	cmd.Flags().StringVar(&a.cover, "cover", "", "folder with ksnifctl and tests built with -cover, for the guest, and for host.cov, Go's profile of the host's tests")
	cmd.Flags().StringVar(&a.binary, "tests", "", "test binary for the guest (default out/bin/tests)")
	return cmd
}

// part is one of the runs that make vmtest adds up.
type part struct {
	title string
	run   func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error)
}

// lane is parts that follow one another, beside those of other lanes.
type lane struct {
	name  string
	parts []part
}

func (a *allRun) lanes() []lane {
	kernels := strings.FieldsFunc(a.kernels, func(r rune) bool { return r == ' ' || r == ',' })
	whole := a.run == ""
	if whole && a.long {
		a.run = tortureSet
	}
	lanes := []lane{{"host", []part{{"the host", func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) {
		return h.HostTests(ctx, a.run)
	}}}}}
	if whole && len(kernels) > 0 {
		lanes = append(lanes, lane{"harness", []part{{"the harness",
			func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) {
				return h.Selftest(ctx, kernels[0])
			}}}})
	}
	apart := whole && a.debug != "" && !slices.Contains(kernels, a.debug) // else all runs there
	for _, kernel := range kernels {
		r := vmtest.TestRun{Kernel: kernel, Binary: a.flags.binary(a.binary), Run: a.run, Cover: a.cover != ""}
		switch {
		case whole && a.long:
			lanes = append(lanes, a.torture(kernel)...)
		case apart:
			r.Skip = tortureSet
			lanes = append(lanes, lane{filepath.Base(kernel), guest(r)})
		default:
			lanes = append(lanes, lane{filepath.Base(kernel), append(guest(r), crash(r))})
		}
	}
	if apart {
		lanes = append(lanes, a.torture(a.debug)...)
	}
	// The longest ones first, or they would go on alone in the end.
	slices.SortStableFunc(lanes, func(a, b lane) int { return strings.Count(b.name, "-") - strings.Count(a.name, "-") })
	return lanes
}

// torture is the torture set on a kernel, in several lanes: it is the longest run of all.
func (a *allRun) torture(kernel string) []lane {
	name := filepath.Base(kernel)
	run := func(what, run, skip string, cpus int) vmtest.TestRun {
		return vmtest.TestRun{
			Kernel: kernel, Binary: a.flags.binary(a.binary), Run: run, Skip: skip, CPUs: cpus, Cover: a.cover != "",
			Where: name + "-" + a.flags.config + what,
		}
	}
	rest := run("", tortureSet, faults+"|"+disks+"|"+races, 0)
	return []lane{ // the longest first
		{name + " races", []part{tests("races on "+kernel, run("-races", races, "", 0))}},
		{name + " faults", []part{tests("faults on "+kernel, run("-faults", faults, "", 1)), crash(rest)}},
		{name + " disks", []part{tests("disks on "+kernel, run("-disks", disks, "", 1))}},
		{name, []part{tests("torture on "+kernel, rest)}},
	}
}

func crash(r vmtest.TestRun) part {
	return part{"crash " + r.Kernel, func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) {
		return h.Crash(ctx, r)
	}}
}

func tests(title string, r vmtest.TestRun) part {
	return part{title, func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) { return h.Test(ctx, r) }}
}

// guest runs tests, and checks on the host the files that they left.
func guest(r vmtest.TestRun) []part {
	var done *vmtest.Result
	run := tests("kernel "+r.Kernel, r)
	return []part{{run.title, func(ctx context.Context, h *vmtest.Harness) (res *vmtest.Result, err error) {
		done, err = run.run(ctx, h)
		return done, err
	}}, {"files of " + r.Kernel, func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) {
		if done == nil {
			return nil, nil
		}
		return h.HostCheck(ctx, done)
	}}}
}

// with runs all lanes, and adds up what their parts give.
func (a *allRun) with(ctx context.Context) func(h *vmtest.Harness) error {
	return func(h *vmtest.Harness) error {
		h.Options.Long = h.Options.Long || a.long
		tellSeed(h)
		if a.cover != "" {
			h.Tool, a.binary = filepath.Join(a.cover, "ksnifctl"), filepath.Join(a.cover, "tests")
			h.Profile = filepath.Join(a.cover, "host.cov")
		}
		var sum vmtest.Counts
		var lines []string
		for _, t := range a.beside(ctx, h, a.lanes()) {
			lines = append(lines, fmt.Sprintf("%-15s %s", t.title+":", t.Counts))
			sum = sum.Add(t.Counts)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		h.Progress.Line("%s", strings.Join(lines, "\n"))
		if sum.Total() == 0 {
			h.Progress.Line("no test matches RUN=%s", a.run)
		}
		return closing(h.Progress, sum)
	}
}

// tally is what a part gave.
type tally struct {
	title string
	vmtest.Counts
}

// beside runs as many lanes at a time as there are processors, those first in the list first. A VM under TCG takes one.
func (a *allRun) beside(ctx context.Context, h *vmtest.Harness, lanes []lane) []tally {
	tallies := make([][]tally, len(lanes))
	free := make(chan struct{}, runtime.NumCPU())
	var wg sync.WaitGroup
	for i, l := range lanes {
		free <- struct{}{}
		named := h.Named(l.name)
		wg.Go(func() {
			tallies[i] = a.one(ctx, named, l)
			<-free
		})
	}
	wg.Wait()
	return slices.Concat(tallies...)
}

// one runs a lane; a part that fails does not keep the next from running.
func (a *allRun) one(ctx context.Context, h *vmtest.Harness, l lane) []tally {
	var list []tally
	for _, p := range l.parts {
		if ctx.Err() == nil {
			list = append(list, tally{p.title, a.count(ctx, h, p)})
		}
	}
	h.Progress.Status("")
	return list
}

// count runs a part. What keeps it from running at all is a failure too, unless no test was asked for there.
func (a *allRun) count(ctx context.Context, h *vmtest.Harness, p part) vmtest.Counts {
	res, err := p.run(ctx, h)
	var counts vmtest.Counts
	if res != nil {
		counts = res.Counts()
	}
	if err != nil && ctx.Err() == nil && !(a.run != "" && errors.Is(err, vmtest.ErrNoTests)) {
		h.Progress.Line("FAIL  %s: %v", p.title, err)
		counts.Failed++
	}
	return counts
}
