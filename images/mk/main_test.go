// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestWrongUsage(t *testing.T) {
	t.Setenv("KSNIF_CACHE", t.TempDir())
	for _, args := range [][]string{
		nil, {"nonsense"}, {"kernel"}, {"kernel", "6.1", "6.12"}, {"headers32", "6.1"}, {"kernel", "-update", "6.1"}, {"fetch", "-bogus"},
	} {
		var out, log bytes.Buffer
		require.ErrorContains(t, run(t.Context(), args, &out, &log), "usage: mk", "%q", args)
		assert.Empty(t, out.String())
	}
}

func TestKernelPrintsShellLines(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KSNIF_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("KDIR", dir)
	header := filepath.Join(dir, "include/generated/utsrelease.h")
	require.NoError(t, os.MkdirAll(filepath.Dir(header), 0o755))
	require.NoError(t, os.WriteFile(header, []byte("#define UTS_RELEASE \"6.9-own\"\n"), 0o644))
	image := filepath.Join(dir, "bzImage")
	require.NoError(t, os.WriteFile(image, nil, 0o644))

	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"kernel", image}, &out, &log))
	assert.Equal(t, "RELEASE=6.9-own\nIMAGE="+image+"\nKDIR="+dir+"\nOPTIONS=''\n", out.String())
}
