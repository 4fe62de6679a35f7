// SPDX-License-Identifier: GPL-2.0

package main

import (
	"os"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

// final removes the module and looks for what it leaves behind: nobody can blame a later user for that.
func (s *session) final() {
	if s.watch == nil || s.broken {
		s.saveCoverage()
		syncOut()
		return
	}
	if s.plan.Module {
		if s.leaks != nil {
			s.leaks.sections = moduleSections()
		}
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
