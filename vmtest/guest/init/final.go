// SPDX-License-Identifier: GPL-2.0

package main

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

const kmemleak = "/sys/kernel/debug/kmemleak"

// final removes the module and looks for what it leaves behind: nobody can blame a later user for that.
func (s *session) final() {
	if s.watch == nil || s.broken {
		s.saveCoverage()
		unix.Sync()
		return
	}
	if s.plan.Module {
		if err := s.unloadModule(); err != nil {
			s.problem(proto.Problem{Type: "final", Text: err.Error()})
		}
	}
	s.saveCoverage() // the exit's, too
	if err := os.Chdir("/"); err == nil {
		if err := umountOut(); err != nil {
			s.problem(proto.Problem{Type: "final", Text: err.Error()})
		}
	}
	unix.Sync()
	s.checkLeaks()
	problems, _ := s.watch.kernel(readAllowed())
	s.check("after the end: ", problems)
}

// checkLeaks lets kmemleak scan, where the kernel has it. An object counts from the second scan on, and RCU
// must have had time to free what waits for it.
func (s *session) checkLeaks() {
	if _, err := os.Stat(kmemleak); err != nil {
		return
	}
	time.Sleep(2 * time.Second)
	for range 2 {
		if err := os.WriteFile(kmemleak, []byte("scan"), 0); err != nil {
			s.problem(proto.Problem{Type: "leak", Text: "kmemleak: " + err.Error()})
			return
		}
	}
	report, err := os.ReadFile(kmemleak)
	if err != nil {
		s.problem(proto.Problem{Type: "leak", Text: "kmemleak: " + err.Error()})
		return
	}
	text := strings.TrimSpace(string(report))
	if text != "" {
		title, more, _ := strings.Cut(text, "\n")
		s.problem(proto.Problem{Type: "leak", Text: title, More: more})
	}
}
