// SPDX-License-Identifier: GPL-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCopyCounters(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "gcov")
	require.NoError(t, copyCounters(filepath.Join(from, "none"), to))
	require.NoError(t, copyCounters(from, to))
	assert.NoDirExists(t, to, "nothing to copy")

	deep := filepath.Join(from, "build", "ksnif")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	for _, name := range []string{"a.gcda", "b.gcda", "a.gcno"} {
		require.NoError(t, os.WriteFile(filepath.Join(deep, name), []byte(name), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(from, "reset"), nil, 0o600))
	require.NoError(t, copyCounters(from, to))
	entries, err := os.ReadDir(to)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(to, e.Name()))
		require.NoError(t, err)
		assert.Equal(t, e.Name(), string(b))
	}
}
