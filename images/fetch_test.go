// SPDX-License-Identifier: GPL-2.0

package images

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRemoveStale(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	kv := kernelVersion{Release: "6.1.0-50", Packages: []pkg{{"linux-kbuild-6.1", "6.1.176-1"}}}
	require.NoError(t, c.saveResolved(&versions{Kernels: map[string]kernelVersion{"6.1": kv}}))
	built, err := c.builtDir(t.Context(), "debug-6.1", kv)
	require.NoError(t, err)
	older, err := c.builtDir(t.Context(), "debug-6.1", kernelVersion{Packages: []pkg{{"linux-kbuild-6.1", "6.1.172-1"}}})
	require.NoError(t, err)
	keep := []string{
		c.kernelDir("6.1.0-50"), c.path("source", "6.1.0-50"), c.path("userland", "x"), built,
		c.path("debs", "linux-source-6.1=6.1.176-1"),
	}
	drop := []string{
		c.kernelDir("6.1.0-49"), c.path("kernels", "6.1.0-50"), c.path("source", "6.1.0-49"), older,
		c.path("debs", "linux-source-6.1=6.1.172-1"),
	}
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
