// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const source = `int open_it(void)
{
	int err = first();

	if (err)
		goto out;
	err = second();
	if (err)
		goto err_second;
	return 0;

err_second:
	/* The first has to go. */
	undo();
out:
	return err;
}

int other(void)
{
	switch (x) {
	default:
		break;
	}
err_empty:
}
`

// tree is a repository with that source, and tracefiles of it.
func tree(t *testing.T, infos ...string) (root string, files []string) {
	t.Helper()
	root = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, module), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, module, "a.c"), []byte(source), 0o644))
	for i, text := range infos {
		name := filepath.Join(root, string(rune('a'+i))+".info")
		text = strings.ReplaceAll(text, "ROOT", root)
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
		files = append(files, name)
	}
	return root, files
}

func TestLabels(t *testing.T) {
	assert.Equal(t, []label{{"err_second", 12}, {"out", 15}, {"err_empty", 25}}, labels(source))
	some := counts{3: 2, 5: 2, 6: 1, 7: 1, 8: 1, 10: 1, 14: 0, 16: 1}
	assert.Equal(t, []string{"kmod/a.c:12: err_second", "kmod/a.c:25: err_empty"}, unreached("kmod/a.c", source, some))
	some[14] = 1
	assert.Equal(t, []string{"kmod/a.c:25: err_empty"}, unreached("kmod/a.c", source, some))
}

// Two boots add up; Go files count for their package.
func TestRun(t *testing.T) {
	root, files := tree(t,
		"TN:\nSF:ROOT/kmod/a.c\nDA:3,1\nDA:14,0\nDA:16,1\nDA:25,1\nend_of_record\n",
		"SF:ROOT/kmod/a.c\nDA:3,1\nDA:14,2,sum\nDA:16,1\nDA:25,1\nend_of_record\n",
		"SF:genl/x.go\nDA:1,1\nDA:2,0\nend_of_record\nSF:genl/y.go\nDA:1,0\nDA:2,0\nend_of_record\n")
	var out bytes.Buffer
	ok, err := run(&out, root, 100, files)
	require.NoError(t, err)
	assert.True(t, ok, out.String())
	assert.Equal(t, []string{
		"package or file                lines covered",
		"genl                               4       1   25.0%",
		"kmod/a.c                           4       4  100.0%",
		"all of Go                          4       1   25.0%",
		"the module                         4       4  100.0%", "",
	}, strings.Split(out.String(), "\n"))

	out.Reset()
	ok, err = run(&out, root, 80, files[:1])
	require.NoError(t, err)
	assert.False(t, ok)
	assert.Contains(t, out.String(), "error label never reached: kmod/a.c:12: err_second\n")
	assert.Contains(t, out.String(), "the module: 75.0% of its lines ran, 80% are wanted\n")

	out.Reset()
	ok, err = run(&out, root, 100, files[2:])
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Contains(t, out.String(), "the module was not measured")

	_, bad := tree(t, "DA:1,1\n", "SF:x\nDA:x,1\n", "SF:x\nDA:1,x\n", "SF:x\nDA:1\n")
	for _, name := range bad {
		_, err := run(&out, root, 0, []string{name})
		require.ErrorContains(t, err, "tracefile")
	}
}
