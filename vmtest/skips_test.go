// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAllowedSkips: the list is what testdata/skips.golden says. A line more in it is a decision, not an accident.
func TestAllowedSkips(t *testing.T) {
	golden, err := os.ReadFile("testdata/skips.golden")
	require.NoError(t, err)
	var b strings.Builder
	for _, a := range allowedSkips() {
		fmt.Fprintf(&b, "%s; on %s; %s\n", a.test, strings.Join(a.where, ", "), a.reason)
	}
	assert.Equal(t, string(golden), b.String())
}

func TestSkipComplaints(t *testing.T) {
	p := skipPolicy{kernelKind("6.1"), []allowedSkip{{"TestA", []string{onStock, onKCSAN}, "needs "}}}
	assert.Empty(t, p.complaint("TestA", "needs time"))
	assert.Contains(t, p.complaint("TestA", ""), "without a reason")
	assert.Contains(t, p.complaint("TestA", "has no time"), "does not allow")
	assert.Contains(t, p.complaint("TestA/sub", "needs time"), "does not allow")
	p.kind = kernelKind("kcsan-6.12")
	assert.Empty(t, p.complaint("TestA", "needs time"))
	p.kind = kernelKind("debug-6.1")
	assert.Contains(t, p.complaint("TestA", "needs time"), "does not allow")
}

func TestStaleSkips(t *testing.T) {
	list := []allowedSkip{
		{"TestA", []string{onStock}, "x"}, {"TestB/sub", []string{onDebug}, "x"},
		{"a/b TestC", []string{onHost}, "x"}, {"a/b TestD/sub/sub", []string{onHost}, "x"},
	}
	vm, host := skipPolicy{onKCSAN, list}, skipPolicy{onHost, list}
	assert.Empty(t, vm.stale([]string{"TestA", "TestB"}))
	assert.Equal(t, []string{"vmtest/skips.go has TestB/sub, and there is no such test"}, vm.stale([]string{"TestA"}))
	assert.Empty(t, host.stale([]string{"a/b TestC", "a/b TestD"}))
	assert.Equal(t, []string{"vmtest/skips.go has a/b TestD/sub/sub, and there is no such test"}, host.stale([]string{"a/b TestC"}))
}
