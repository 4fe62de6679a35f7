// SPDX-License-Identifier: GPL-2.0

// Package vmtest boots kernels in QEMU, has the guest run tests, a script or a shell, and judges what came of it.
//
// A boot counts only if the guest's last word, the verdict, came and was good. Everything else fails the test
// that was running: a splat on the console or in the kernel's log, taint, a panic, a limit, silence. The package
// is the host's side; vmtest/guest/init is its partner in the VM and vmtest/proto what they say to each other.
package vmtest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Options are what a user may choose about a VM. The zero value of a field means the default.
type Options struct {
	MemMB   int           // MEM: memory, 1G
	CPUs    int           // CPUS: 2
	Timeout time.Duration // TIMEOUT: of one boot
	Accel   string        // ACCEL: kvm, tcg or nothing for whatever works
	Icount  bool          // ICOUNT: guest time counts instructions
	GDB     string        // GDB: port to wait on for gdb
	Slow    int           // KSNIF_SLOW: divides counts, multiplies limits of tests
	Extra   []string      // QEMU_ARGS: more arguments for QEMU
	OutOpts string        // OUT_OPTS: more -drive options of the /out disk, as throttling.bps-write=34000000
	OutMB   int           // OUT_MB: size of the /out disk
	Long    bool          // LONG: the long size of tests that have two
	IO      string        // IO: how captures of tests write, buffered or auto
	Seed    uint64        // SEED: of what tests choose at random, the time if not given
	Kernel  []string      // more words for the kernel's command line; not the user's to choose

	nokaslr bool // for gdb: addresses are what they were in another boot
}

// Limits of a boot that are not the user's to set.
const (
	defaultMemMB   = 1024
	debugMemMB     = 2048
	defaultCPUs    = 2
	defaultOutMB   = 4096
	silenceLimit   = 60 * time.Second // no word from the guest, which speaks every 2 s
	powerOffLimit  = 20 * time.Second // from the verdict to QEMU's exit
	kvmBootLimit   = 40 * time.Second // KVM is given up for TCG if init is not up by then
	defaultGDBPort = "1234"
)

// OptionsFromEnv reads the variables that the Makefile's targets document.
func OptionsFromEnv(getenv func(string) string) (Options, error) {
	o := Options{Seed: uint64(time.Now().UnixNano())}
	var err error
	check := func(name string, parse func(string) error) {
		if v := strings.TrimSpace(getenv(name)); v != "" && err == nil {
			if perr := parse(v); perr != nil {
				err = fmt.Errorf("%s=%s: %w", name, v, perr)
			}
		}
	}
	number := func(to *int) func(string) error {
		return func(v string) (err error) { *to, err = positive(v); return err }
	}
	check("MEM", func(v string) (err error) { o.MemMB, err = parseMB(v); return err })
	check("CPUS", number(&o.CPUs))
	check("TIMEOUT", func(v string) (err error) { o.Timeout, err = parseTimeout(v); return err })
	check("ACCEL", func(v string) error {
		if v != "kvm" && v != "tcg" && v != "auto" {
			return fmt.Errorf("must be kvm, tcg or auto")
		}
		o.Accel = v
		return nil
	})
	check("ICOUNT", func(v string) error { o.Icount = v != "0"; return nil })
	check("LONG", func(v string) error { o.Long = v != "0"; return nil })
	check("IO", func(v string) error {
		if v != "buffered" && v != "auto" {
			return fmt.Errorf("must be buffered or auto")
		}
		o.IO = v
		return nil
	})
	check("SEED", func(v string) (err error) { o.Seed, err = strconv.ParseUint(v, 10, 64); return err })
	check("GDB", func(v string) (err error) { o.GDB, err = gdbPort(v); return err })
	check("KSNIF_SLOW", number(&o.Slow))
	check("QEMU_ARGS", func(v string) error { o.Extra = strings.Fields(v); return nil })
	check("OUT_OPTS", func(v string) error { o.OutOpts = v; return nil })
	check("OUT_MB", number(&o.OutMB))
	if o.Icount && o.Accel == "kvm" {
		return o, fmt.Errorf("ICOUNT=1 needs ACCEL=tcg: KVM cannot count instructions")
	}
	return o, err
}

func gdbPort(v string) (string, error) {
	switch v {
	case "0":
		return "", nil
	case "1":
		return defaultGDBPort, nil
	}
	if n, err := strconv.ParseUint(v, 10, 16); err != nil || n < 1024 {
		return "", fmt.Errorf("must be 1, or a port from 1024 to 65535")
	}
	return v, nil
}

func positive(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("must be a whole number from 1 on")
	}
	return n, nil
}

// parseMB reads a size as QEMU does: without a unit it is in MB.
func parseMB(v string) (int, error) {
	factor := 1
	switch {
	case strings.HasSuffix(v, "G"):
		factor, v = 1024, strings.TrimSuffix(v, "G")
	case strings.HasSuffix(v, "M"):
		v = strings.TrimSuffix(v, "M")
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 || n > math.MaxInt32/factor || n*factor < 128 {
		return 0, fmt.Errorf("must be a size like 512M or 2G, from 128M on")
	}
	return n * factor, nil
}

// parseTimeout reads seconds, or a time as Go writes it.
func parseTimeout(v string) (time.Duration, error) {
	if n, err := strconv.Atoi(v); err == nil && n > 0 && n <= int(math.MaxInt64/time.Second) {
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("must be a number of seconds, or a time like 90s or 20m")
	}
	return d, nil
}
