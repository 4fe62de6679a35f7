// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"ksnif/images"
	"ksnif/vmtest/proto"
)

// Harness runs things in VMs.
type Harness struct {
	Root     string // of the repository
	Config   string // queue of the module: list or ring
	NoModule bool   // boot without the module
	Tool     string // ksnifctl for the guest; bin/ksnifctl if empty
	Profile  string // file for Go's coverage profile of the host's tests, or nothing
	Options  Options
	Cache    *images.Cache
	Progress *Progress

	kvm  *kvmState // of this machine
	died bool      // the last boot under TCG died before init was up
}

// kvmState is what was learnt about KVM. All that run beside each other share it: to find out takes a boot.
type kvmState struct {
	mu     sync.Mutex
	broken string // why KVM, although there, is not used
}

// sharedKVM makes what was learnt, before others run beside h.
func (h *Harness) sharedKVM() *kvmState {
	if h.kvm == nil {
		h.kvm = &kvmState{}
	}
	return h.kvm
}

func (k *kvmState) why() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.broken
}

func (k *kvmState) giveUp(why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = why
}

// Defaults of what a boot may take. A user's TIMEOUT replaces the limit of one boot.
const (
	testsTimeout  = 40 * time.Minute
	longTimeout   = 75 * time.Minute
	scriptTimeout = 30 * time.Minute
	testLimit     = 90 * time.Second // of one test, times the slowness; the longest one takes half of it
	longFactor    = 12               // more time for the long size of a test, which may have ten minutes of load
	guestMargin   = 30 * time.Second // the guest's own watchdog barks before the host's, late boot included
	tcgSlow       = 4
	debugSlow     = 3
)

// Named returns a harness that can run beside this one and shows its progress under that name.
func (h *Harness) Named(name string) *Harness {
	h.sharedKVM()
	one := *h
	one.Progress = h.Progress.Named(name)
	return &one
}

// out is a path below out/.
func (h *Harness) out(elem ...string) string {
	return filepath.Join(append([]string{h.Root, "out"}, elem...)...)
}

// guest gets everything that a boot on this kernel needs; with no module named, the one that was built for it.
func (h *Harness) guest(ctx context.Context, kernel, module string) (Guest, error) {
	k, err := h.Cache.Kernel(ctx, kernel)
	if err != nil {
		return Guest{}, err
	}
	base, err := h.Cache.Initramfs(ctx, k)
	if err != nil {
		return Guest{}, err
	}
	g := Guest{Kernel: k, Base: base}
	if g.Tool = h.Tool; g.Tool == "" {
		if tool := filepath.Join(h.Root, "bin", "ksnifctl"); isFile(tool) {
			g.Tool = tool
		}
	}
	if g.Module = module; module == "" && !h.NoModule {
		g.Module = h.out("build", h.name(kernel), "ksnif.ko")
		if !isFile(g.Module) {
			return Guest{}, fmt.Errorf("%s is missing: make module KERNEL=%s CONFIG=%s builds it", g.Module, kernel, h.Config)
		}
	}
	return g, nil
}

// name is KERNEL-CONFIG, a folder's name.
func (h *Harness) name(kernel string) string { return filepath.Base(kernel) + "-" + h.Config }

// options fills in defaults that depend on the kernel and on what is done with it.
func (h *Harness) options(g Guest, a Accel, timeout time.Duration) Options {
	o := h.Options
	debug := isDebug(g.Kernel)
	if o.MemMB == 0 {
		o.MemMB = defaultMemMB
		if debug {
			o.MemMB = debugMemMB
		}
	}
	if o.CPUs == 0 {
		o.CPUs = defaultCPUs
	}
	if o.Icount {
		o.CPUs = 1 // QEMU counts instructions of one CPU only
	}
	if o.OutMB == 0 {
		o.OutMB = defaultOutMB
	}
	if o.Timeout == 0 {
		o.Timeout = timeout
	}
	if o.Slow == 0 {
		o.Slow = 1
		if a == TCG {
			o.Slow *= tcgSlow
		}
		if debug {
			o.Slow *= debugSlow
		}
	}
	return o
}

// has says whether an option, without its CONFIG_, is built into the kernel.
func has(k *images.Kernel, option string) bool {
	b, err := os.ReadFile(k.Config)
	return err == nil && strings.Contains(string(b), "\nCONFIG_"+option+"=y\n")
}

// tickRate is how often a second the kernel's timer ticks; 0 if that is not known.
func tickRate(k *images.Kernel) uint64 {
	b, _ := os.ReadFile(k.Config)
	_, after, _ := strings.Cut(string(b), "\nCONFIG_HZ=")
	rate, _, _ := strings.Cut(after, "\n")
	hz, _ := strconv.ParseUint(rate, 10, 64)
	return hz
}

// isDebug says whether the kernel checks so much that it is slow.
func isDebug(k *images.Kernel) bool { return has(k, "KASAN") || has(k, "PROVE_LOCKING") }

// accel chooses the accelerator, and says once why it is the slow one.
func (h *Harness) accel() (Accel, string, error) {
	if why := h.sharedKVM().why(); why != "" {
		return TCG, why, nil
	}
	return ChooseAccel(h.Options)
}

// again says whether the emulator was to blame for a boot, which is then worth another one. KVM is given up. TCG has one
// more try: QEMU before 8.1 may run an instruction that another processor has just patched (its commit deba78709ae8), and
// a kernel patches itself as it boots ("int3" in sched_clock_cpu). ksnif is not loaded before init is up.
func (h *Harness) again(a Accel, e ending) bool {
	switch {
	case !e.NeverUp:
		h.died = false
		return false
	case a == KVM && h.Options.Accel != string(KVM):
		h.sharedKVM().giveUp("a boot with KVM failed, " + e.Reason)
		return true
	case a == TCG && !e.Limit && !h.died:
		h.died = true
		h.Progress.Line("the kernel died before init was up (%s), which TCG may cause: booting once more", e.Reason)
		return true
	}
	return false
}

func (h *Harness) plan(mode proto.Mode, kernel string, g Guest, a Accel, o Options) proto.Plan {
	p := proto.Plan{
		Mode: mode, Module: g.Module != "", Slow: o.Slow, Seed: o.Seed, Long: o.Long, IO: o.IO, Kernel: kernel, Config: h.Config,
		CPUs: o.CPUs, Accel: string(a),
		TestLimit: testLimit * time.Duration(o.Slow),
	}
	if o.Long {
		p.TestLimit *= longFactor
	}
	if o.Timeout > 0 {
		p.GuestLimit = max(o.Timeout-guestMargin, o.Timeout*2/3)
	}
	return p
}

// announce says what is booted, and once why it is slow.
func (h *Harness) announce(g Guest, a Accel, why string) {
	if a == TCG {
		h.Progress.Once("TCG, not KVM, runs the VM, which is slow: %s", why)
	}
	h.Progress.Step("booting %s", g.Kernel.Release)
}

// CheckTools looks for the programs that a boot needs.
func CheckTools() error {
	var missing []string
	for _, name := range []string{qemuProgram, "mkfs.ext4", "e2fsck", "debugfs"} {
		if _, err := exec.LookPath(tool(name)); err != nil {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("not installed: %s (apt-get install qemu-system-x86 e2fsprogs)", strings.Join(missing, ", "))
	}
	return nil
}

// interrupted says whether the user ended it.
func interrupted(err error) bool { return errors.Is(err, context.Canceled) }
