// SPDX-License-Identifier: GPL-2.0

// Init is PID 1 of the test VM: it mounts, loads modules, does what the plan says, looks for trouble in the
// kernel's log, reports to the host over virtio-serial, and reboots (QEMU runs with -no-reboot, so that ends
// the VM on every kernel, with or without ACPI).
package main

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: this is PID 1 of ksnif's test VM, and does nothing anywhere else")
		os.Exit(2)
	}
	if err := boot(); err != nil {
		fmt.Fprintf(os.Stderr, "init: %v\n", err)
	}
	syncOut()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Fprintf(os.Stderr, "init: reboot: %v\n", err)
	}
	select {} // PID 1 must not return
}

// boot brings the machine up and runs the plan. Its error is for trouble that cannot be reported in a record.
func boot() error {
	if err := mountBasics(); err != nil {
		return err
	}
	release, err := kernelRelease()
	if err != nil {
		return err
	}
	if err := loadDrivers(release); err != nil {
		return err
	}
	ports, err := findPorts(10 * time.Second)
	if err != nil {
		return err
	}
	report, err := openReporter(ports)
	if err != nil {
		return err
	}
	report.send(proto.Record{Kind: proto.KindBoot, Text: release})
	plan, err := readPlan(proto.PathPlan)
	if err != nil {
		report.problem("plan", err.Error())
		return err
	}
	s := &session{plan: plan, report: report, ports: ports, release: release}
	s.run()
	return nil
}

// session is one boot.
type session struct {
	plan    *proto.Plan
	report  *reporter
	ports   map[string]string
	release string
	watch   *watch
	leaks   *leakHunt // nothing where the kernel cannot tell of leaks
	steady  *os.File  // keeps the namespace of steadyHooks
	failed  bool      // something outside of tests went wrong
	broken  bool      // the guest should not run more tests
}

// run does what the plan says, and sends the verdict last.
func (s *session) run() {
	go s.heartbeat()
	go reapOrphans()
	if s.plan.GuestLimit > 0 {
		time.AfterFunc(s.plan.GuestLimit, func() {
			s.giveUp(fmt.Sprintf("guest watchdog: not done after %s: raise TIMEOUT if it takes longer", s.plan.GuestLimit))
		})
	}
	err := s.coalesceTimers()
	if err != nil {
		s.problem(proto.Problem{Type: "boot", Text: err.Error()})
	}
	if s.watch, err = newWatch(); err != nil {
		s.problem(proto.Problem{Type: "boot", Text: err.Error()})
	}
	if s.leaks, err = newLeakHunt(); err != nil {
		s.problem(proto.Problem{Type: "boot", Text: err.Error()})
	}
	if err := s.prepare(); err != nil {
		s.problem(proto.Problem{Type: "boot", Text: err.Error()})
	} else {
		s.report.send(proto.Record{Kind: proto.KindReady})
		s.execute()
	}
	limit := s.finalLimit()
	end := time.AfterFunc(limit, func() {
		s.giveUp(fmt.Sprintf("the end of the boot, from the removal of the module on, was not done after %s", limit))
	})
	s.final()
	end.Stop()
	s.report.send(proto.Record{Kind: proto.KindVerdict, Result: s.verdict()})
	s.report.close()
}

// finalLimit is how long the end of a boot may take. The search for leaks alone was seen to take two minutes on a slow
// machine.
func (s *session) finalLimit() time.Duration {
	limit := 30 * time.Second
	if s.leaks != nil && !s.broken {
		limit += time.Minute
	}
	return limit * time.Duration(max(s.plan.Slow, 1))
}

func (s *session) execute() {
	switch s.plan.Mode {
	case proto.ModeTests:
		s.runTests()
	case proto.ModeScript:
		s.runScript()
	case proto.ModeShell:
		s.runShell()
	default:
		s.problem(proto.Problem{Type: "plan", Text: fmt.Sprintf("unknown mode %q", s.plan.Mode)})
	}
}

func (s *session) verdict() proto.Result {
	switch {
	case s.failed:
		return proto.Fail
	case s.broken:
		return proto.Rest
	}
	return proto.Pass
}

// problem reports trouble outside of any test.
func (s *session) problem(p proto.Problem) {
	s.failed = true
	s.report.send(proto.Record{Kind: proto.KindProblem, Problems: []proto.Problem{p}})
}

// heartbeat tells the host that user space still runs.
func (s *session) heartbeat() {
	for {
		s.report.send(proto.Record{Kind: proto.KindAlive})
		time.Sleep(2 * time.Second)
	}
}

// giveUp is the guest's own watchdog: what it is stuck in goes to the console before the VM ends. That is the stacks of
// all tasks: those that wait idly, as the module's do, are none of the blocked ones for the kernel.
func (s *session) giveUp(text string) {
	sysrq('t')
	s.report.send(proto.Record{Kind: proto.KindProblem, Problems: []proto.Problem{{Type: "limit", Text: text}}})
	time.Sleep(time.Second)
	syncOut()
	sysrq('b') // unlike reboot(2), it waits for no device
}
