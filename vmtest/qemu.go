// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"ksnif/vmtest/proto"
)

// Accel is how QEMU runs the guest's code.
type Accel string

// The two accelerators.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)

// ChooseAccel picks the accelerator; why explains a choice that costs time.
func ChooseAccel(o Options) (a Accel, why string, err error) {
	if o.Icount {
		return TCG, "ICOUNT=1", nil
	}
	if o.Accel == string(TCG) {
		return TCG, "ACCEL=tcg", nil
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err == nil {
		f.Close()
		return KVM, "", nil
	}
	if o.Accel == string(KVM) {
		return "", "", fmt.Errorf("ACCEL=kvm: %w", err)
	}
	var perr *os.PathError
	if errors.As(err, &perr) {
		err = perr.Err
	}
	return TCG, "/dev/kvm: " + err.Error(), nil
}

// machine is what QEMU is told about one boot.
type machine struct {
	opts    Options
	accel   Accel
	kernel  string
	initrd  string
	outDisk string
	inDisk  string
	disks   []Disk
	control bool   // by process.monitor
	from    string // file with the state of a machine to go on from
	// warns means that the kernel goes on after a warning: it reports races as warnings, those of others too.
	warns  bool
	hz     uint64 // the kernel's CONFIG_HZ, 0 if unknown
	append []string
}

// plainIRQs has the kernel take the PCI devices' interrupts from the older tables. ACPI has a program for them, which
// a kernel that checks each of its steps gives up after thirty seconds.
const plainIRQs = "acpi=noirq"

// urgentRCU has RCU go on in threads that come before all others. On a slow machine a load of packets otherwise leaves
// it no time: rmmod was seen to wait for over a minute for the callbacks of network namespaces.
const urgentRCU = "rcutree.use_softirq=0 rcutree.kthread_prio=1"

// earlyRandom has the kernel take the processor's random numbers, as Debian's do. It otherwise goes without a seed for
// minutes, and computes each number that it gives from all it has got so far.
const earlyRandom = "random.trust_cpu=on"

// promptRCU has nobody wait for readers longer than they read: a tenth of the torture set's time on a slow machine.
const promptRCU = "rcupdate.rcu_expedited=1"

// markedCaches marks the slab caches for failslab's cache-filter: all but those of the kernel's own detectors, which
// would give up for good. 6.1 takes no marks later.
func markedCaches() string { return "slub_debug=A;-," + strings.Join(proto.DetectorCaches, ",") }

// channel is a stream between QEMU and this process, over an inherited socket.
type channel struct {
	name string // of the virtio-serial port; empty for the console; or controlChannel
	fd   int    // in QEMU
}

// controlChannel is the one over which QEMU itself is controlled.
const controlChannel = "control"

// args returns QEMU's arguments.
func (m *machine) args(channels []channel) []string {
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-monitor", "none", "-display", "none",
		"-machine", "pc", "-m", strconv.Itoa(m.opts.MemMB) + "M", "-smp", strconv.Itoa(m.opts.CPUs),
		"-kernel", m.kernel, "-initrd", m.initrd, "-append", m.cmdline(),
		"-device", "virtio-serial-pci",
	}
	args = append(args, m.accelArgs()...)
	for i, c := range channels {
		id := "ch" + strconv.Itoa(i)
		args = append(args, "-chardev", fmt.Sprintf("socket,id=%s,fd=%d", id, c.fd))
		switch c.name {
		case "":
			args = append(args, "-serial", "chardev:"+id)
		case controlChannel:
			args = append(args, "-mon", "chardev="+id+",mode=control")
		default:
			args = append(args, "-device", fmt.Sprintf("virtserialport,chardev=%s,name=%s", id, c.name))
		}
	}
	args = append(args, disk(proto.SerialOut, m.outDisk, "cache=unsafe", m.opts.OutOpts)...)
	if m.inDisk != "" {
		args = append(args, disk(proto.SerialIn, m.inDisk, "read-only=on")...)
	}
	for i, d := range m.disks {
		args = append(args, oneOfMany(i, disk(d.Serial, d.File, "cache=unsafe"))...)
	}
	if m.opts.GDB != "" {
		args = append(args, "-S", "-gdb", "tcp:127.0.0.1:"+m.opts.GDB)
	}
	if m.from != "" {
		args = append(args, "-incoming", "exec:cat "+shellWord(m.from))
	}
	return append(args, m.opts.Extra...)
}

// accelArgs never gives a guest under TCG a CPU with cx16, on which 6.12 dies within seconds with QEMU 7.2, nor
// with erms or fsrm: TCG runs rep movsb byte by byte, which swamps every measurement of a copy. With la57 KASAN takes
// what an early interrupt touches for wild, while the boot processor is being identified; and nobody needs five levels.
func (m *machine) accelArgs() []string {
	if m.accel == KVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	args := []string{"-cpu", "max,-cx16,-erms,-fsrm,-la57"}
	if m.opts.Icount {
		return append(args, "-accel", "tcg", "-icount", "shift=0,sleep=off")
	}
	return append(args, "-accel", "tcg,thread=multi")
}

// cmdline makes the kernel die of what it would only complain about, and say all of it on the console.
func (m *machine) cmdline() string {
	words := []string{
		"console=ttyS0", "panic=-1", "oops=panic", "softlockup_panic=1", "hung_task_panic=1",
		"printk.devkmsg=on", "log_buf_len=4M", "net.ifnames=0",
	}
	if m.accel == TCG {
		// All processors of the VM read the host's counter. The kernel mistrusts that, as they are no Intel's, and would
		// ask a device for the time instead, for each packet: much slower, and one processor at a time.
		words = append(words, "tsc=reliable")
		if khz := tscKHz(); khz > 0 && !m.opts.Icount { // with which the counter is QEMU's own
			words = append(words, fmt.Sprintf("tsc_early_khz=%d", khz))
			if m.hz > 0 {
				words = append(words, fmt.Sprintf("lpj=%d", khz*1000/m.hz))
			}
		}
	}
	if !m.warns {
		words = append(words, "panic_on_warn=1")
	}
	if m.opts.GDB != "" || m.opts.nokaslr {
		words = append(words, "nokaslr")
	}
	return strings.Join(slices.Concat(words, m.append, m.opts.Kernel), " ")
}

// oneOfMany puts a disk where it shares a slot with seven others: the machine has 32 slots, some of them taken.
func oneOfMany(i int, args []string) []string {
	const firstSlot, functions = 10, 8
	args[len(args)-1] += fmt.Sprintf(",multifunction=on,addr=%#x.%d", firstSlot+i/functions, i%functions)
	return args
}

// disk returns the arguments for a virtio disk with that serial number.
func disk(serial, file string, opts ...string) []string {
	drive := []string{"if=none", "id=" + serial, "format=raw", "file=" + strings.ReplaceAll(file, ",", ",,")}
	for _, o := range opts {
		if o != "" {
			drive = append(drive, o)
		}
	}
	return []string{
		"-drive", strings.Join(drive, ","),
		"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s", serial, serial),
	}
}
