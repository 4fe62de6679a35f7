// SPDX-License-Identifier: GPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"ksnif/images"
	"ksnif/vmtest"
	"ksnif/vmtest/command"
)

// flags are those of all commands.
type flags struct {
	root     string
	config   string
	noModule bool
	kernel   string
}

const defaultKernel = "6.1"

func (f *flags) addKernel(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.kernel, "kernel", defaultKernel, "6.1, 6.12, debug-6.1 or its like, or the path of a bzImage (with KDIR=)")
}

// harness makes a harness from flags and environment, and calls fn with it.
func (f *flags) harness(fn func(h *vmtest.Harness) error) error {
	opts, err := vmtest.OptionsFromEnv(os.Getenv)
	if err != nil {
		return command.UsageError{Err: err}
	}
	if err := vmtest.CheckTools(); err != nil {
		return err
	}
	root, err := filepath.Abs(f.root)
	if err != nil {
		return err
	}
	progress := vmtest.NewProgress(os.Stdout)
	defer progress.Close()
	cache, err := images.OpenCache(os.Stderr)
	if err != nil {
		return err
	}
	return fn(&vmtest.Harness{
		Root: root, Config: f.config, NoModule: f.noModule,
		Options: opts, Cache: cache, Progress: progress,
	})
}

func (f *flags) out(elem ...string) string {
	return filepath.Join(append([]string{f.root, "out"}, elem...)...)
}

// pattern is a regular expression that chooses among names, looked at before anything is built or booted for it.
type pattern string

func (p *pattern) String() string { return string(*p) }
func (p *pattern) Type() string   { return "regexp" }

func (p *pattern) Set(v string) error {
	_, err := regexp.Compile(v)
	*p = pattern(v)
	return err
}

// closing prints the last line of a run, and says whether the run was good.
func closing(p *vmtest.Progress, c vmtest.Counts) error {
	p.Close()
	fmt.Println(c)
	if c.Failed > 0 || c.Total() == 0 {
		return command.ErrFailed
	}
	return nil
}

// tellSeed keeps the seed of a run that passes, too: it says what was tried.
func tellSeed(h *vmtest.Harness) {
	h.Progress.Line("SEED=%d repeats what is chosen at random", h.Options.Seed)
}

// counted makes a command of a run of tests: its last line says how many there were.
func (f *flags) counted(cmd *cobra.Command, run func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error)) {
	f.addKernel(cmd)
	cmd.Args = args(0)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.harness(func(h *vmtest.Harness) error {
			tellSeed(h)
			res, err := run(cmd.Context(), h)
			if err != nil {
				return err
			}
			return closing(h.Progress, res.Counts())
		})
	}
}

func newTest(f *flags) *cobra.Command {
	var run, binary string
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the guest's tests on one kernel",
		Long: "Boots the kernel and runs every test of the test binary in a process of its own. A test fails if it says so,\n" +
			"if the kernel complains meanwhile, if it leaves something behind, or if the VM dies; the others get a new boot.\n" +
			"Results: out/vmtest/KERNEL-CONFIG/result.json and console.log.\n" + environment,
	}
	f.counted(cmd, func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) {
		return h.Test(ctx, vmtest.TestRun{Kernel: f.kernel, Binary: f.binary(binary), Run: run})
	})
	cmd.Flags().Var((*pattern)(&run), "run", "only the tests that match, as in go test -run; matching nothing fails")
	cmd.Flags().StringVar(&binary, "tests", "", "test binary (default out/bin/tests)")
	return cmd
}

func (f *flags) binary(given string) string {
	if given != "" {
		return given
	}
	return f.out("bin", "tests")
}

func newSelftest(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Check that the harness fails what must fail",
		Long: "Boots the kernel with tests that panic, hang, fall silent, splat, taint, die or leave things behind,\n" +
			"and checks that each of them is failed, by name and for the right reason.\n" + environment,
	}
	f.counted(cmd, func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) {
		return h.Selftest(ctx, f.kernel)
	})
	return cmd
}

func newCrash(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "crash",
		Short: "Kill VMs that capture, and read what is on their disks",
		Long: "Kills QEMU at moments of a capture that the seed chooses, and checks in one more boot that the capture files\n" +
			"have all that was promised. LONG=1 kills 50 VMs, not 10. Without KVM all go on from a snapshot of one boot.\n" + environment,
	}
	f.counted(cmd, func(ctx context.Context, h *vmtest.Harness) (*vmtest.Result, error) {
		return h.Crash(ctx, vmtest.TestRun{Kernel: f.kernel, Binary: f.binary("")})
	})
	return cmd
}

func newScript(f *flags) *cobra.Command {
	var in, dir string
	cmd := &cobra.Command{
		Use:   "script FILE",
		Short: "Run a shell script as root in a VM",
		Long: "Boots the kernel, loads the module and runs the shell script as root, in /out. What it leaves there comes back\n" +
			"to out/vm-run, emptied first, with console.log and the script's exit status as status. Fails if the script\n" +
			"fails or the kernel complained.\n" + environment,
		Args: args(1),
		RunE: func(cmd *cobra.Command, a []string) error {
			if dir == "" {
				dir = f.out("vm-run")
			}
			return f.harness(func(h *vmtest.Harness) error {
				return runScript(cmd.Context(), h, vmtest.ScriptRun{Kernel: f.kernel, File: a[0], In: in, Dir: dir})
			})
		},
	}
	f.addKernel(cmd)
	cmd.Flags().StringVar(&in, "in", "", "a folder that the script finds at /in, read-only")
	cmd.Flags().StringVar(&dir, "out", "", "folder for the results (default out/vm-run)")
	return cmd
}

func runScript(ctx context.Context, h *vmtest.Harness, r vmtest.ScriptRun) error {
	r.Output = h.Progress
	res, err := h.Script(ctx, r)
	h.Progress.Close()
	if err != nil {
		return err
	}
	return judged(res, res.OK())
}

// judged prints what was wrong.
func judged(res *vmtest.ScriptResult, ok bool) error {
	if ok {
		return nil
	}
	for _, line := range strings.Split(res.Report(), "\n") {
		fmt.Fprintf(os.Stderr, "vmtest-run: %s\n", line)
	}
	return command.ErrFailed
}

func newShell(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shell",
		Short: "Give a root shell in a VM with the module loaded",
		Long: "Boots the kernel, loads the module and gives a root shell. /out is out/shell on the host, before and after.\n" +
			"Leave with exit or Ctrl-D; Ctrl-] ends the VM at once. The kernel's console goes to out/shell.log.\n" + environment,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.harness(func(h *vmtest.Harness) error {
				res, err := h.Shell(cmd.Context(), f.kernel, f.out("shell"))
				h.Progress.Close()
				if err != nil {
					return err
				}
				return judged(res, len(res.Problems) == 0)
			})
		},
	}
	f.addKernel(cmd)
	return cmd
}

func newDemo(f *flags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Capture real traffic in a VM and bring the file back",
		Long: "Runs vmtest/demo.sh in a VM: two network namespaces, ping, ping -6, TCP and UDP between them, captured by ksnif\n" +
			"to out/demo.pcapng.\n" + environment,
		Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.harness(func(h *vmtest.Harness) error { return demo(cmd.Context(), f, h) })
		},
	}
	f.addKernel(cmd)
	return cmd
}

func demo(ctx context.Context, f *flags, h *vmtest.Harness) error {
	dir := f.out("demo")
	err := runScript(ctx, h, vmtest.ScriptRun{
		Kernel: f.kernel, File: filepath.Join(f.root, "vmtest", "demo.sh"), Dir: dir,
	})
	if err != nil {
		return err
	}
	capture := f.out("demo.pcapng")
	if err := os.Rename(filepath.Join(dir, "demo.pcapng"), capture); err != nil {
		return errors.Join(errors.New("the demo left no capture"), err)
	}
	fmt.Printf("\nThe capture is in %s: open it with Wireshark, or tcpdump -nr %s\n", capture, capture)
	return nil
}
