// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTSC(t *testing.T) {
	first, second := tscKHz(), tscKHz()
	if runtime.GOARCH != "amd64" {
		assert.Zero(t, first)
		return
	}
	assert.InEpsilon(t, first, second, 0.001)
	assert.Greater(t, first, uint64(500_000))
	assert.Less(t, first, uint64(10_000_000))
}
