// SPDX-License-Identifier: GPL-2.0

// Vmtest-run boots kernels in QEMU and runs ksnif's tests, a script, a shell or the demonstration in them. The
// Makefile calls it; `vmtest-run --help` lists what it can do.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"ksnif/vmtest/command"
)

func main() {
	root := newRoot()
	root.SetArgs(longFlags(os.Args[1:]))
	command.Main(root)
}

// longFlags lets -kernel stand for --kernel, as the go command has it.
func longFlags(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if len(a) > 2 && a[0] == '-' && a[1] >= 'a' && a[1] <= 'z' {
			a = "-" + a
		}
		out[i] = a
	}
	return out
}

const environment = `
Environment:
  SEED=          of what tests choose at random, as a failure prints it
  IO=auto        captures of tests write past the page cache where they can
  MEM=1G         memory of the VM
  CPUS=2         its processors
  TIMEOUT=600    limit of one boot: seconds, or 90s, 20m
  ACCEL=kvm|tcg  KVM is used if it is there and works
  ICOUNT=1       the VM's clock counts instructions (tcg, one processor)
  GDB=1          wait for gdb on port 1234 before the kernel starts; GDB=PORT for another
  KSNIF_SLOW=N   tests divide counts by N and multiply their limits (1 with KVM, 4 without)
  OUT_MB=4096    size of the disk at /out
  OUT_OPTS=      more -drive options for it, as throttling.bps-write=34000000
  QEMU_ARGS=     more arguments for QEMU`

func newRoot() *cobra.Command {
	f := &flags{}
	root := &cobra.Command{
		Use:           "vmtest-run",
		Short:         "Run ksnif's tests, a script or a shell in a VM",
		Long:          "Boots a kernel with the module in QEMU, and runs tests, a script or a shell in it.\n" + environment,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.UsageError{Err: err} })
	root.CompletionOptions.DisableDefaultCmd = true
	p := root.PersistentFlags()
	p.StringVar(&f.config, "config", "list", "queue of the module: list or ring")
	p.StringVar(&f.root, "root", ".", "the repository")
	p.BoolVar(&f.noModule, "no-module", false, "boot without the module")
	root.AddCommand(newAll(f), newTest(f), newSelftest(f), newCrash(f), newScript(f), newShell(f), newDemo(f), newMutants(f))
	return root
}

// args checks the number of arguments of a command.
func args(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) != n {
			return command.UsageError{Err: fmt.Errorf("%s takes %d arguments, not %d", cmd.CommandPath(), n, len(given))}
		}
		return nil
	}
}
