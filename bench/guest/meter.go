// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/tsc"
)

// meter tells how much the machine works: what its counter says, less the time that a process of its own got which
// runs only when nobody else wants to. Interrupts and softirqs count as work, whomever they interrupt, which the
// kernel's own books do not tell. The machine never sleeps meanwhile: with icount its clock would jump over the time that
// a disk takes, and all timers would fire.
type meter struct {
	glass *exec.Cmd
	idle  *uint64 // written by the glass
}

// hourglassArg has this program be the meter's process.
const hourglassArg = "hourglass"

// newMeter starts measuring.
func newMeter() (*meter, error) {
	fd, err := unix.MemfdCreate("idle", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	page := os.NewFile(uintptr(fd), "idle")
	defer page.Close()
	if err := page.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	idle, err := mapCounter(page)
	if err != nil {
		return nil, err
	}
	glass := exec.Command("/proc/self/exe", hourglassArg)
	glass.Stderr = os.Stderr
	glass.ExtraFiles = []*os.File{page}
	// no signal every 10 ms to a goroutine that takes long: nobody else is there
	glass.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	if err := glass.Start(); err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	return &meter{glass: glass, idle: idle}, nil
}

func mapCounter(page *os.File) (*uint64, error) {
	b, err := unix.Mmap(int(page.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("meter: %w", err)
	}
	return (*uint64)(unsafe.Pointer(&b[0])), nil
}

// runHourglass is the life of the meter's process.
func runHourglass() error {
	runtime.LockOSThread()
	const pageFD = 3 // the first of ExtraFiles
	idle, err := mapCounter(os.NewFile(pageFD, "idle"))
	if err != nil {
		return err
	}
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
	if err := unix.SchedSetAttr(0, attr, 0); err != nil {
		return fmt.Errorf("meter: run when idle: %w", err)
	}
	hourglass(idle)
	return errors.New("meter: time has ended")
}

// initClock is the time that the processor was with process 1, all its threads: ~pid, and that it is the scheduler's
// figure for a process (CPUCLOCK_SCHED).
const initClock = ^1<<3 | 2

// work is what was executed so far, in ticks. What init does for the harness, every other second, is left out; it counts
// in nanoseconds, and so do the ticks of a machine that counts instructions.
func (m *meter) work() (uint64, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(initClock, &t); err != nil {
		return 0, fmt.Errorf("meter: time of process 1: %w", err)
	}
	return tsc.Read() - atomic.LoadUint64(m.idle) - uint64(t.Nano()), nil
}

func (m *meter) close() {
	_ = m.glass.Process.Kill()
	_ = m.glass.Wait()
}
