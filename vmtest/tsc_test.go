// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
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

func TestClockOfGuest(t *testing.T) {
	assert.EqualValues(t, 250, tickRate(configured(t, "CONFIG_HZ_250=y\nCONFIG_HZ=250\n")))
	assert.Zero(t, tickRate(configured(t, "CONFIG_HZ_250=y\n")))
	m := &machine{accel: TCG, hz: 250}
	if runtime.GOARCH != "amd64" {
		assert.NotContains(t, m.cmdline(), "lpj=")
		return
	}
	words := regexp.MustCompile(` tsc_early_khz=(\d+) lpj=(\d+) `).FindStringSubmatch(m.cmdline())
	require.NotNil(t, words, m.cmdline())
	khz, err := strconv.Atoi(words[1])
	require.NoError(t, err)
	lpj, err := strconv.Atoi(words[2])
	require.NoError(t, err)
	assert.InDelta(t, khz, lpj*250/1000, 1, "of a delay and of the counter")
	m.opts.Icount = true
	assert.NotContains(t, m.cmdline(), "lpj=")
}
