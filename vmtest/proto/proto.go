// SPDX-License-Identifier: GPL-2.0

// Package proto is what the host and the guest's PID 1 say to each other: the plan, a JSON file in the
// ride-along archive, and the records, one JSON object a line over a virtio-serial port.
package proto

import (
	"encoding/json"
	"time"
)

// Names of the virtio-serial ports.
const (
	PortReport = "ksnif.report" // records to the host, control lines to the guest
	PortOutput = "ksnif.output" // raw output of the script or shell
	PortInput  = "ksnif.input"  // raw input of the shell
)

// Paths inside the guest.
const (
	PathPlan    = "/ksnif/plan.json"
	PathTests   = "/ksnif/tests"
	PathScript  = "/ksnif/script"
	PathModule  = "/ksnif/ksnif.ko"
	PathSplat   = "/ksnif/ksnif_splat.ko" // of the harness's self-test
	PathAllowed = "/run/ksnif-allowed"    // kernel messages that the running test expects
	DirSchema   = "/ksnif/schema"         // of the JSON that ksnifctl prints, for tests
	DirOut      = "/out"
	DirGcov     = "gcov"  // in DirOut: how often the module's lines ran, if the kernel counts that
	DirGoCov    = "gocov" // in DirOut: which of the Go code's did, of programs built with -cover
	DirIn       = "/in"
)

// Serial numbers of the virtio disks.
const (
	SerialOut = "out"
	SerialIn  = "in"
)

// AllowedTaint are the bits that a kernel gets with nothing wrong: loading ksnif sets out of tree (4096) and unsigned
// (8192), and the unit tests in a module with KSNIF_KUNIT_TEST, which run when it is loaded, in-kernel test (262144).
const AllowedTaint uint64 = 4096 | 8192 | 262144

// DetectorCaches are the slab caches of the kernel's own detectors, which have notes of nearly everything in them.
var DetectorCaches = []string{"kmemleak_object", "kmemleak_scan_area", "debug_objects_cache"}

// Mode says what the guest does after it has booted.
type Mode string

// The modes of a boot.
const (
	ModeTests  Mode = "tests"
	ModeScript Mode = "script"
	ModeShell  Mode = "shell"
)

// Plan tells PID 1 what to do.
type Plan struct {
	Mode   Mode `json:"mode"`
	Module bool `json:"module"` // there is a module at PathModule, load it
	// Tests are the names of top-level tests to run, in order.
	Tests []string `json:"tests,omitempty"`
	// SubRun is the part of -test.run behind the first slash.
	SubRun string `json:"sub_run,omitempty"`
	// TestLimit ends one test, GuestLimit all of what the guest does.
	TestLimit  time.Duration `json:"test_limit"`
	GuestLimit time.Duration `json:"guest_limit"`
	// Slow divides counts and multiplies time limits in tests: 1 with KVM.
	Slow int `json:"slow"`
	// Seed is where the tests' random numbers come from.
	Seed uint64 `json:"seed"`
	// Long asks for the long size of tests that have two.
	Long bool `json:"long,omitempty"`
	// IO is how captures of tests write that do not say it themselves: buffered, which is the default, or auto.
	IO string `json:"io,omitempty"`
	// Cover says that tests and tool were built with -cover.
	Cover  bool   `json:"cover,omitempty"`
	Kernel string `json:"kernel"`
	Config string `json:"config"`
	CPUs   int    `json:"cpus"` // that the machine has
	Accel  string `json:"accel"`
	// Terminal is set if a person sits before the shell; the rest is about the terminal.
	Terminal bool   `json:"terminal,omitempty"`
	Rows     uint16 `json:"rows,omitempty"`
	Cols     uint16 `json:"cols,omitempty"`
	Term     string `json:"term,omitempty"`
}

// Kind says what a record reports.
type Kind string

// The kinds of records, in the order in which a boot sends them.
const (
	KindBoot     Kind = "boot"     // PID 1 is up; Text is the kernel's release
	KindSections Kind = "sections" // Text has the addresses of the module's sections
	KindReady    Kind = "ready"    // disks are mounted, the module is loaded
	KindStart    Kind = "start"    // Test starts
	KindOutput   Kind = "output"   // Text was printed by Test
	KindEnd      Kind = "end"      // Test ended with Result
	KindSkip     Kind = "skip"     // a subtest, named by Test, was skipped; Text is the reason
	KindAlive    Kind = "alive"    // heartbeat
	KindStatus   Kind = "status"   // the script ended with Code
	KindProblem  Kind = "problem"  // found outside of any test, or after the end of Test
	KindNote     Kind = "note"     // Text is for the reader only
	KindVerdict  Kind = "verdict"  // the last record: Result of the whole boot
)

// Result is how a test or a boot ended.
type Result string

// The results. Rest means that the boot is clean but gave up early: the remaining tests want a fresh one.
const (
	Pass Result = "pass"
	Fail Result = "fail"
	Skip Result = "skip"
	Rest Result = "rest"
)

// Record is one message of the guest.
type Record struct {
	Kind     Kind          `json:"kind"`
	Test     string        `json:"test,omitempty"`
	Result   Result        `json:"result,omitempty"`
	Text     string        `json:"text,omitempty"`
	Code     int           `json:"code,omitempty"`
	Elapsed  time.Duration `json:"elapsed,omitempty"`
	Problems []Problem     `json:"problems,omitempty"`
	// Allowed are the lines by which kernel reports were found to be what the test had announced.
	Allowed []string `json:"allowed,omitempty"`
}

// Problem is a reason for failure that the test itself did not report.
type Problem struct {
	Type string `json:"type"` // splat, taint, leftover, limit, exit, final, …
	Text string `json:"text"` // one line
	More string `json:"more,omitempty"`
}

// Resize is the one control line that the host sends: the terminal's new size.
type Resize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Line encodes v as one line.
func Line(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
