// SPDX-License-Identifier: GPL-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ksnif/vmtest"
	"ksnif/vmtest/command"
)

// debugKernel runs the mutants that only detectors can see, unless another kernel of its kind is asked for.
const debugKernel = "debug-6.1"

func newMutants(f *flags) *cobra.Command {
	var run, binary string
	cmd := &cobra.Command{
		Use:   "mutants",
		Short: "Plant known bugs in the module, and see each of them caught",
		Long: "Builds the module with each patch of vmtest/mutants in turn, and runs the test that the patch names: it has to fail\n" +
			"there, and to pass on the module without a patch. Bugs that only a detector sees run on a debug kernel.\n" + environment,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.harness(func(h *vmtest.Harness) error { return mutants(cmd.Context(), f, h, run, f.binary(binary)) })
		},
	}
	f.addKernel(cmd)
	cmd.Flags().Var((*pattern)(&run), "run", "only the mutants whose names match")
	cmd.Flags().StringVar(&binary, "tests", "", "test binary (default out/bin/tests)")
	return cmd
}

func mutants(ctx context.Context, f *flags, h *vmtest.Harness, run, binary string) error {
	list, err := vmtest.ReadMutants(filepath.Join(f.root, "vmtest", "mutants"), run)
	if err != nil {
		return err
	}
	debug := debugKernel
	if strings.HasPrefix(f.kernel, "debug-") {
		debug = f.kernel
	}
	fates, err := h.Mutants(ctx, list, binary, f.kernel, debug)
	h.Progress.Close()
	if err != nil {
		return err
	}
	survived := 0
	for _, fate := range fates {
		if !fate.Killed {
			survived++
		}
	}
	fmt.Printf("%d mutants: %d killed, %d survived\n", len(fates), len(fates)-survived, survived)
	if survived > 0 {
		return command.ErrFailed
	}
	return nil
}
