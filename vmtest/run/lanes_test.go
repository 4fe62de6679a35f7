// SPDX-License-Identifier: GPL-2.0

package main

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
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
			"debug-6.1":        {"torture on debug-6.1"},
			"debug-6.1 races":  {"races on debug-6.1"},
			"host":             {"the host"}, "harness": {"the harness"}, "6.1": {"kernel 6.1", "files of 6.1"},
		}},
		"the long size": {allRun{kernels: "debug-6.1", long: true}, map[string][]string{
			"debug-6.1 faults": {"faults on debug-6.1", "crash debug-6.1"},
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

// The debug kernel gets each test of the torture set once, and no other.
func TestTortureLanes(t *testing.T) {
	for name, want := range map[string]string{
		"TestTortureMixed": "races", "TestTortureStorage": "rest", "TestTortureFailHook": "races", "TestTortureFailNth": "one by one", "TestKUnit": "one by one",
	} {
		one, race := regexp.MustCompile(oneByOne).MatchString(name), regexp.MustCompile(races).MatchString(name)
		assert.Equal(t, want == "one by one", one, name)
		assert.Equal(t, want == "races", race, name)
	}
}
