// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ksnif/vmtest/proto"
)

// gcovRoot has the counters of what was built with -fprofile-arcs, by the path of the object file. The kernel keeps
// those of a module that was removed (gcov_persist=1, its default), and adds up those of one that was loaded again.
const gcovRoot = "/sys/kernel/debug/gcov"

// goCoverDir is where programs built with -cover leave what of them ran.
var goCoverDir = filepath.Join(proto.DirOut, proto.DirGoCov)

// makeCoverage lets tests and tool, whoever runs it, leave what of them ran.
func (s *session) makeCoverage() error {
	if !s.plan.Cover {
		return nil
	}
	if err := os.MkdirAll(goCoverDir, 0o777); err != nil {
		return err
	}
	return os.Chmod(goCoverDir, 0o777) // whatever the umask
}

// saveCoverage copies the module's counters to the results disk, if the kernel has them.
func (s *session) saveCoverage() {
	if s.plan.Mode != proto.ModeTests {
		return
	}
	if err := copyCounters(gcovRoot, filepath.Join(proto.DirOut, proto.DirGcov)); err != nil {
		s.problem(proto.Problem{Type: "coverage", Text: err.Error()})
	}
}

// copyCounters copies the .gcda files below from to one folder. The sources of a module have one folder, too.
func copyCounters(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		switch {
		case path == from && errors.Is(err, fs.ErrNotExist):
			return fs.SkipAll
		case err != nil:
			return err
		case d.IsDir() || !strings.HasSuffix(path, ".gcda"):
			return nil
		}
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		return copyFile(path, filepath.Join(to, filepath.Base(path)))
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return out.Close()
}
