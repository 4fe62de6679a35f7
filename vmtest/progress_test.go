// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"ksnif/vmtest/proto"
)

// Every line says whose it is, and what fails is told in one piece.
func TestNamedProgress(t *testing.T) {
	var text strings.Builder
	whole := newQuiet(&text)
	one, other := whole.Named("6.1"), whole.Named("6.12")
	one.Once("slow: %s", "no kvm")
	other.Once("slow: %s", "no kvm")
	one.test(&Test{Name: "TestA", Result: proto.Pass, Seconds: 1.5})
	other.test(&Test{
		Name: "TestB", Result: proto.Fail, Reason: "it died", Output: "first\nlast",
		Problems: []proto.Problem{{Type: "splat", Text: "BUG", More: "RIP"}},
	})
	whole.Line("the end")
	assert.Equal(t, `6.1      slow: no kvm
6.1      pass  TestA (1.5 s)
6.12     FAIL  TestB (0.0 s): it died
6.12           splat: BUG
6.12           | RIP
6.12           | first
6.12           | last
the end
`, text.String())
}
