// SPDX-License-Identifier: GPL-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"ksnif/vmtest/klog"
	"ksnif/vmtest/proto"
)

func TestParser(t *testing.T) {
	cases := []struct {
		name, output string
		result       proto.Result
		text         string
		skipped      []skipped
	}{
		{"pass", "=== RUN   TestX\n--- PASS: TestX (0.00s)\nPASS\n", proto.Pass, "", nil},
		{"fail", "=== RUN   TestX\n    x_test.go:1: no\n--- FAIL: TestX (0.00s)\nFAIL\n", proto.Fail, "", nil},
		{"skip", "=== RUN   TestX\n    x_test.go:1: why not\n--- SKIP: TestX (0.00s)\nPASS\n", proto.Skip, "why not", nil},
		{"skip without a reason", "=== RUN   TestX\n--- SKIP: TestX (0.00s)\nPASS\n", proto.Fail, "skipped without a reason", nil},
		{"no end", "=== RUN   TestX\n", proto.Fail, "TestX did not report how it ended", nil},
		{"no such test", "testing: warning: no tests to run\nPASS\n", proto.Fail, "TestX did not report how it ended", nil},
		{"another test", "=== RUN   TestXY\n--- PASS: TestXY (0.00s)\n", proto.Fail, "TestX did not report how it ended", nil},
		{"subtest skipped", "=== RUN   TestX\n=== RUN   TestX/s\n    x_test.go:1: too old\n--- PASS: TestX (0.00s)\n" +
			"    --- SKIP: TestX/s (0.00s)\n", proto.Pass, "", []skipped{{"TestX/s", "too old"}}},
		{"subtest skipped without a reason", "=== RUN   TestX/s\n=== NAME  TestX\n    x_test.go:1: of the parent\n" +
			"    --- SKIP: TestX/s (0.00s)\n--- PASS: TestX (0.00s)\n", proto.Pass, "", []skipped{{"TestX/s", ""}}},
		{"no newline at the end", "=== RUN   TestX\n--- PASS: TestX (0.00s)", proto.Pass, "", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			whole, pieces := newParser("TestX"), newParser("TestX")
			whole.write(c.output)
			whole.close()
			for _, b := range strings.Split(c.output, "") {
				pieces.write(b)
			}
			pieces.close()
			for _, p := range []*parser{whole, pieces} {
				result, text := p.result()
				assert.Equal(t, c.result, result)
				assert.Equal(t, c.text, text)
				assert.Equal(t, c.skipped, p.skippedSubtests())
			}
		})
	}
}

func TestAnnounced(t *testing.T) {
	allow := []allowedReport{{"^BUG: one$", "why"}, {"[", "not an expression"}, {`^ warn_alloc\+`, "why"}}
	check := func(want string, log string, allow []allowedReport) {
		t.Helper()
		line, ok := announced(klog.Scan(log)[0], allow)
		assert.Equal(t, want, line)
		assert.Equal(t, want != "", ok)
	}
	check("BUG: one", "BUG: one\n", allow)
	check("", "BUG: one\n", nil)
	check("", "BUG: one\nBUG: two\n", allow) // an announced report hides no other
	check(" warn_alloc+0x1/0x2", "Call Trace:\n <TASK>\n dump_stack+0x1/0x2\n warn_alloc+0x1/0x2\n", allow)
	check("", "Call Trace:\n <TASK>\n other+0x1/0x2\n", allow)
	check("", "Call Trace:\n <TASK>\n warn_alloc+0x1/0x2\nBUG: two\n", allow)
	check("", "Call Trace:\n", []allowedReport{{".", "it has nothing else"}})
}

func TestKmsgText(t *testing.T) {
	assert.Equal(t, []string{"a; b", "c"}, kmsgText("6,339,5140900,-;a; b\\x0ac\n SUBSYSTEM=net\n DEVICE=n1\n"))
	assert.Equal(t, []string{""}, kmsgText("6,339,5140900,-;"))
}
