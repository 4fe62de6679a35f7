// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/proto"
)

// A test that passed in the VM must have left its file; one that failed, or did not run, is nobody's business here.
func TestHostCheckWithoutFile(t *testing.T) {
	for result, want := range map[proto.Result]int{proto.Pass: 1, proto.Fail: 0} {
		h := &Harness{Root: t.TempDir(), Progress: newQuiet(io.Discard)}
		res, err := h.HostCheck(t.Context(), &Result{Where: "6.1-list", Tests: []*Test{
			{Name: "TestOverload", Result: result}, {Name: "TestOther", Result: proto.Pass},
		}})
		require.NoError(t, err)
		require.Len(t, res.Tests, want, result)
		for _, test := range res.Tests {
			assert.Equal(t, proto.Fail, test.Result)
			assert.Contains(t, test.Reason, "TestOverload left no capture file")
		}
	}
}
