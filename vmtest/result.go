// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"ksnif/vmtest/proto"
)

// Result is what became of a set of tests: on the host, or on one kernel.
type Result struct {
	Where   string  `json:"where"` // host, selftest, or KERNEL-CONFIG
	Release string  `json:"release,omitempty"`
	Accel   Accel   `json:"accel,omitempty"`
	Boots   int     `json:"boots,omitempty"`
	Seconds float64 `json:"seconds"`
	Tests   []*Test `json:"tests"`
}

// Counts are numbers of tests by result.
type Counts struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
}

// String is the closing line of a run.
func (c Counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", c.Passed, c.Failed, c.Skipped)
}

// Add returns the sum.
func (c Counts) Add(o Counts) Counts {
	return Counts{c.Passed + o.Passed, c.Failed + o.Failed, c.Skipped + o.Skipped}
}

// Total is the number of tests.
func (c Counts) Total() int { return c.Passed + c.Failed + c.Skipped }

// Counts counts. A test without a result has failed.
func (r *Result) Counts() Counts {
	var c Counts
	for _, t := range r.Tests {
		switch t.Result {
		case proto.Pass:
			c.Passed++
		case proto.Skip:
			c.Skipped++
		default:
			c.Failed++
		}
	}
	return c
}

// Write writes the result as JSON, with its counts.
func (r *Result) Write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(struct {
		*Result
		Counts Counts `json:"counts"`
	}{r, r.Counts()}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o644)
}
