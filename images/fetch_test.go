// SPDX-License-Identifier: GPL-2.0

package images

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRemoveStale(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	require.NoError(t, c.saveResolved(&versions{Kernels: map[string]kernelVersion{"6.1": {Release: "6.1.0-50"}}}))
	keep := []string{c.kernelDir("6.1.0-50"), c.path("source", "6.1.0-50"), c.path("userland", "x")}
	drop := []string{c.kernelDir("6.1.0-49"), c.path("kernels", "6.1.0-50"), c.path("source", "6.1.0-49")}
	for _, dir := range append(append([]string{}, keep...), drop...) {
		touch(t, dir, map[string]string{"file": ""})
	}
	require.NoError(t, c.removeStale(t.Context()))
	for _, dir := range keep {
		assert.DirExists(t, dir)
	}
	for _, dir := range drop {
		assert.NoDirExists(t, dir)
	}
}

// TestUpdateKeepsWhatWorks: without a mirror, the versions of before stay.
func TestUpdateKeepsWhatWorks(t *testing.T) {
	c := &Cache{Dir: testApt(t).dir + "/cache"}
	want := &versions{Kernels: map[string]kernelVersion{"6.1": {Release: "6.1.0-50", Packages: []pkg{{"n", "v"}}}}}
	require.NoError(t, c.saveResolved(want))
	t.Setenv("MIRROR", "file:"+t.TempDir())
	require.Error(t, c.Fetch(t.Context(), true))
	got, err := c.resolved()
	require.NoError(t, err)
	assert.Equal(t, want, got)
}
