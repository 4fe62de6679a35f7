// SPDX-License-Identifier: GPL-2.0

// Package klog finds reports of trouble (warnings, oopses, sanitizer and lockdep reports, stalls, leaks) in a
// kernel log. PID 1 of the guest uses it on /dev/kmsg after every test, the host on the console.
package klog

import (
	"regexp"
	"slices"
	"strings"
)

const (
	// maxLines bounds the context that is kept of one report.
	maxLines = 100
	// tailGap is how far behind a report's end a line may follow that still belongs to it: an oops prints its
	// registers a second time, and then panics.
	tailGap = 12
)

// Splat is one report of the kernel.
type Splat struct {
	Number  int      // among those that [Scanner.Line] announced, from 0 on
	Title   string   // its most telling line
	Telling []string // all lines that say what it is about; none if the title is not one
	Lines   []string // the report, from its first line on
}

// Scanner finds reports in a log that is fed line by line.
type Scanner struct {
	patterns []pattern
	allowed  []Allow
	found    []Splat
	open     bool // the last report still takes lines
	weak     bool // its title is a weak line
	gap      int  // lines since its end
}

// NewScanner returns a scanner that has seen nothing.
func NewScanner() *Scanner {
	return &Scanner{patterns: patterns(), allowed: allowed()}
}

var (
	stampRe = regexp.MustCompile(`^(<\d+>)?\[ *\d+\.\d+\](\[ *[TC]\d+\])? ?`)
	endRe   = regexp.MustCompile(`^-+\[ end |^ ?</TASK>|^=+$`)
)

// Strip returns a console line without time stamp, level and line end.
func Strip(line string) string {
	line = strings.TrimRight(line, "\r\n")
	return stampRe.ReplaceAllString(line, "")
}

// Line takes one line and says whether a new report starts with it.
func (s *Scanner) Line(line string) bool {
	line = Strip(line)
	m := s.match(line)
	switch {
	case s.open && !s.startsNext(m):
		s.extend(line, m)
		return false
	case m == nil:
		s.gap++
		return false
	case m.tail && len(s.found) > 0 && s.gap < tailGap:
		s.open = true
		s.extend(line, m)
		return false
	}
	splat := Splat{Number: len(s.found), Title: line, Lines: []string{line}}
	if !m.weak {
		splat.Telling = []string{line}
	}
	s.found = append(s.found, splat)
	s.open, s.weak, s.gap = true, m.weak, 0
	return true
}

// startsNext says whether the line starts another report although none ended. A corrupted list is reported in a
// line before the BUG that it leads to: that is one.
func (s *Scanner) startsNext(m *pattern) bool {
	return m != nil && m.head && len(s.found[len(s.found)-1].Lines) > 5
}

// extend adds a line to the report that is open.
func (s *Scanner) extend(line string, m *pattern) {
	last := &s.found[len(s.found)-1]
	last.Lines = append(last.Lines, line)
	if m != nil && !m.weak {
		last.Telling = append(last.Telling, line)
		if s.weak {
			last.Title, s.weak = line, false
		}
	}
	// A line of === directly behind the title opens a lockdep or KASAN report, it does not end it.
	if (endRe.MatchString(line) && len(last.Lines) > 3) || len(last.Lines) >= maxLines {
		s.open, s.gap = false, 0
	}
}

func (s *Scanner) match(line string) *pattern {
	for i := range s.patterns {
		if !s.patterns[i].re.MatchString(line) {
			continue
		}
		for _, a := range s.allowed {
			if a.Re.MatchString(line) {
				return nil
			}
		}
		return &s.patterns[i]
	}
	return nil
}

// Splats returns what was found since the last call, and closes a report that is still open. Races of others are left
// out.
func (s *Scanner) Splats() []Splat {
	found := slices.DeleteFunc(s.found, Splat.foreignRace)
	s.found, s.open, s.gap = nil, false, tailGap
	return found
}

// foreignRace says whether it is a report of KCSAN in which no module of this project has part: KCSAN finds races in
// all of the kernel, and not all that it finds are bugs. A report that anything else got into is not left out.
func (s Splat) foreignRace() bool {
	race := func(line string) bool { return strings.Contains(line, "BUG: KCSAN: ") }
	ours := func(line string) bool { return strings.Contains(line, "[ksnif") }
	return race(s.Title) && !slices.ContainsFunc(s.Telling, func(line string) bool { return !race(line) }) &&
		(!slices.ContainsFunc(s.Lines, ours) || s.tickReadsFlags())
}

// tickReadsFlags says whether one side of a race is the scheduler's tick (wq_worker_tick), which looks at the flags of
// the worker that it interrupts. File systems change them there for a time (memalloc_nofs_save), so that any worker that
// writes files has this race, with its own frames below, and no way to avoid it.
func (s Splat) tickReadsFlags() bool {
	for i := range max(0, len(s.Lines)-2) {
		if strings.Contains(s.Lines[i], "by interrupt on cpu") && strings.Contains(s.Lines[i+1], " kthread_data+0x") &&
			strings.Contains(s.Lines[i+2], " wq_worker_tick+0x") {
			return true
		}
	}
	return false
}

// Scan finds the reports in a whole log.
func Scan(log string) []Splat {
	s := NewScanner()
	for _, line := range strings.Split(log, "\n") {
		s.Line(line)
	}
	return s.Splats()
}

// Taint names the bits of /proc/sys/kernel/tainted, as in Documentation/admin-guide/tainted-kernels.rst.
func Taint(mask uint64) string {
	names := []string{
		"P proprietary module", "F forced load", "S CPU out of specification", "R forced unload",
		"M machine check", "B bad page", "U set from user space", "D died (oops or BUG)",
		"A ACPI table overridden", "W warning", "C staging driver", "I firmware workaround",
		"O out-of-tree module", "E unsigned module", "L soft lockup", "K live patched",
		"X auxiliary", "T struct randomisation", "N in-kernel test",
	}
	var set []string
	for i, name := range names {
		if mask&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return strings.Join(set, ", ")
}
