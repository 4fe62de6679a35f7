// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/klog"
	"ksnif/vmtest/proto"
)

const lockdepStats = "/proc/lockdep_stats"

// watch looks at everything by which the kernel tells of trouble.
type watch struct {
	kmsg     int
	taint    uint64 // bits that were already reported
	lockdep  bool   // lockdep is there, and not known to be off
	baseline baseline
}

func newWatch() (*watch, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/kmsg: %w", err)
	}
	_, err = os.Stat(lockdepStats)
	return &watch{kmsg: fd, taint: proto.AllowedTaint, lockdep: err == nil}, nil
}

// before takes the state that a test must leave behind, and returns what is wrong already.
func (w *watch) before() []proto.Problem {
	w.baseline = takeBaseline()
	problems, _ := w.kernel(nil)
	return problems
}

// kernel returns what the kernel complained about since the last call. Reports that allow matches are expected,
// and their titles are returned on their own.
func (w *watch) kernel(allow []allowedReport) (problems []proto.Problem, expected []string) {
	mark("looking at the log")
	scanner := klog.NewScanner()
	lost := w.drain(func(line string) { scanner.Line(line) })
	if lost {
		problems = append(problems, proto.Problem{Type: "log", Text: "the kernel's log overran: messages were lost unseen"})
	}
	for _, s := range scanner.Splats() {
		if line, ok := announced(s, allow); ok {
			expected = append(expected, line)
			continue
		}
		problems = append(problems, proto.Problem{Type: "splat", Text: s.Title, More: strings.Join(s.Lines, "\n")})
	}
	if p := w.checkTaint(); p != nil {
		problems = append(problems, *p)
	}
	if w.lockdep && !debugLocks() {
		w.lockdep = false
		problems = append(problems, proto.Problem{Type: "lockdep", Text: "lockdep turned itself off (debug_locks: 0)"})
	}
	return problems, expected
}

func (w *watch) checkTaint() *proto.Problem {
	b, err := os.ReadFile("/proc/sys/kernel/tainted")
	if err != nil {
		return &proto.Problem{Type: "taint", Text: err.Error()}
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return &proto.Problem{Type: "taint", Text: err.Error()}
	}
	fresh := mask &^ w.taint
	w.taint |= mask
	if fresh == 0 {
		return nil
	}
	return &proto.Problem{Type: "taint", Text: fmt.Sprintf("kernel is tainted: %d (%s)", fresh, klog.Taint(fresh))}
}

// drain passes on the messages that came since the last call, and says whether some were lost.
func (w *watch) drain(line func(string)) (lost bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := unix.Read(w.kmsg, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EPIPE):
			lost = true
		case err != nil || n == 0:
			return lost
		default:
			for _, text := range kmsgText(string(buf[:n])) {
				line(text)
			}
		}
	}
}

// kmsgText returns the lines of one record of /dev/kmsg: "prefix;text\n KEY=value\n…", with newlines in the text
// escaped.
func kmsgText(record string) []string {
	_, text, _ := strings.Cut(record, ";")
	text, _, _ = strings.Cut(text, "\n")
	return strings.Split(text, `\x0a`)
}

// debugLocks says whether lockdep is on.
func debugLocks() bool {
	b, err := os.ReadFile(lockdepStats)
	if err != nil {
		return false
	}
	for _, line := range strings.Split(string(b), "\n") {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "debug_locks" {
			return strings.TrimSpace(value) == "1"
		}
	}
	return false
}

// mark writes a line of the guest's own to the log. The kernel keeps a last message without a newline open, and
// unseen, until another one follows.
func mark(text string) {
	_ = os.WriteFile("/dev/kmsg", []byte("<6>init: "+text+"\n"), 0)
}

func sysrq(key byte) {
	_ = os.WriteFile("/proc/sysrq-trigger", []byte{key}, 0)
}
