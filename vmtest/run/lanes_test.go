// SPDX-License-Identifier: GPL-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What is asked for is run, on each kernel once; the kernels with the longest runs come first.
func TestLanesOfKernels(t *testing.T) {
	for name, test := range map[string]struct {
		run  allRun
		want map[string][]string // titles of each lane's parts
	}{
		"all": {allRun{kernels: "6.1 6.12"}, map[string][]string{
			"host": {"the host"}, "harness": {"the harness"},
			"6.1":  {"kernel 6.1", "files of 6.1", "crash 6.1"},
			"6.12": {"kernel 6.12", "files of 6.12", "crash 6.12"},
		}},
		"torture on a debug kernel": {allRun{kernels: "6.1", debug: "debug-6.1"}, map[string][]string{
			"debug-6.1 faults": {"faults on debug-6.1", "crash debug-6.1"},
			"debug-6.1 disks":  {"disks on debug-6.1"},
			"debug-6.1":        {"torture on debug-6.1"},
			"debug-6.1 races":  {"races on debug-6.1"},
			"host":             {"the host"}, "harness": {"the harness"}, "6.1": {"kernel 6.1", "files of 6.1"},
		}},
		"the long size": {allRun{kernels: "debug-6.1", long: true}, map[string][]string{
			"debug-6.1 faults": {"faults on debug-6.1", "crash debug-6.1"},
			"debug-6.1 disks":  {"disks on debug-6.1"},
			"debug-6.1":        {"torture on debug-6.1"},
			"debug-6.1 races":  {"races on debug-6.1"},
			"host":             {"the host"}, "harness": {"the harness"},
		}},
		"all on it": {allRun{kernels: "debug-6.1", debug: "debug-6.1"}, map[string][]string{
			"debug-6.1": {"kernel debug-6.1", "files of debug-6.1", "crash debug-6.1"},
			"host":      {"the host"}, "harness": {"the harness"},
		}},
		"only those that match": {allRun{kernels: "6.1,6.12", debug: "debug-6.1", run: "TestX"}, map[string][]string{
			"host": {"the host"}, "6.1": {"kernel 6.1", "files of 6.1", "crash 6.1"},
			"6.12": {"kernel 6.12", "files of 6.12", "crash 6.12"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			test.run.flags = &flags{}
			got := map[string][]string{}
			lanes := test.run.lanes()
			for _, l := range lanes {
				for _, p := range l.parts {
					got[l.name] = append(got[l.name], p.title)
				}
			}
			assert.Equal(t, test.want, got)
			if test.run.debug != "" && test.run.run == "" {
				assert.Contains(t, lanes[0].name, "debug-6.1")
			}
		})
	}
}

// The debug kernel gets each test of the torture set once: no test is in two lanes, and none that a lane names is gone.
func TestTortureLanes(t *testing.T) {
	files, err := filepath.Glob("../tests/*_test.go")
	require.NoError(t, err)
	named, sets := map[string]int{}, []string{faults, disks, races}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t `).FindAllStringSubmatch(string(text), -1) {
			for _, set := range sets {
				if regexp.MustCompile(set).MatchString(m[1]) {
					assert.Regexp(t, tortureSet, m[1])
					named[m[1]]++
				}
			}
			assert.LessOrEqual(t, named[m[1]], 1, "%s would run twice", m[1])
		}
	}
	want := 0
	for _, set := range sets {
		want += strings.Count(set, "|") + 1
	}
	assert.Len(t, named, want, "each name is a test's: %v", slices.Sorted(maps.Keys(named)))
}
