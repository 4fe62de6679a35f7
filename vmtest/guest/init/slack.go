// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ksnif/vmtest/proto"
)

// timerSlack is how much later than asked for a sleep may end, in nanoseconds. The kernel's default is 50 µs.
const timerSlack = "2000000"

// coalesceTimers lets the sleeps of this process, and of all that it starts, end together with others. In each Go
// program a thread of the runtime sleeps for 20 µs again and again: on a debug kernel under TCG its wake-ups took up to
// half of the processor. Scripts and shells, which may measure, keep the kernel's default, as does a VM under KVM.
func (s *session) coalesceTimers() error {
	if s.plan.Mode != proto.ModeTests || s.plan.Slow <= 1 {
		return nil
	}
	threads, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, dir := range threads {
		path := filepath.Join("/proc", filepath.Base(dir), "timerslack_ns")
		if err := os.WriteFile(path, []byte(timerSlack), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("timer slack: %w", err)
		}
	}
	return nil
}
