// SPDX-License-Identifier: GPL-2.0

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ksnif/vmtest/proto"
)

// FuzzParser: a test passes only if its own line says so, a skip has a reason, and it does not matter in which pieces
// the output comes.
func FuzzParser(f *testing.F) {
	f.Add("=== RUN   TestX\n--- PASS: TestX (0.00s)\nPASS\n", 7)
	f.Add("=== RUN   TestX/s\n    x_test.go:1: why\n    --- SKIP: TestX/s (0.00s)\n--- FAIL: TestX (0.00s)", 1)
	f.Add("=== RUN   TestX\n    x_test.go:1: why not\n--- SKIP: TestX (0.00s)\n", 20)
	f.Add("--- PASS: TestXY (0s)\n", 3)
	f.Fuzz(func(t *testing.T, output string, cut int) {
		cut = min(max(cut, 0), len(output))
		whole, pieces := newParser("TestX"), newParser("TestX")
		whole.write(output)
		pieces.write(output[:cut])
		pieces.write(output[cut:])
		whole.close()
		pieces.close()
		require.Equal(t, whole, pieces)
		result, text := whole.result()
		switch result {
		case proto.Pass:
			require.Contains(t, output, "--- PASS: TestX (")
		case proto.Skip:
			require.Contains(t, output, "--- SKIP: TestX (")
			require.NotEmpty(t, text)
		default:
			require.Equal(t, proto.Fail, result)
			require.Equal(t, strings.Contains(text, "did not report"), whole.ended["TestX"] == "")
		}
		for _, s := range whole.skippedSubtests() {
			require.Contains(t, output, "--- SKIP: "+s.name+" (")
			require.NotEqual(t, "TestX", s.name)
		}
	})
}

// FuzzKmsg: the text of a record is all that lies between its prefix and its end.
func FuzzKmsg(f *testing.F) {
	f.Add("6,339,5140900,-;NET: Registered\n SUBSYSTEM=acpi\n", "BUG: x")
	f.Add(";", "")
	f.Add("4,1,2,-", "a;b")
	f.Fuzz(func(t *testing.T, record, text string) {
		for _, line := range kmsgText(record) {
			require.NotContains(t, line, "\n")
			require.Contains(t, record, line)
		}
		if !strings.ContainsAny(text, "\n\\") {
			got := kmsgText("4,1,2,-;" + text + `\x0a` + text + "\n KEY=" + text + "\n")
			require.Equal(t, []string{text, text}, got)
		}
	})
}
