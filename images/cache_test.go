// SPDX-License-Identifier: GPL-2.0

package images

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCacheDir(t *testing.T) {
	tests := map[string]struct {
		env  map[string]string
		want string
		err  string
	}{
		"own variable first":  {env: map[string]string{"KSNIF_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, want: "/a"},
		"then XDG":            {env: map[string]string{"XDG_CACHE_HOME": "/b", "HOME": "/c"}, want: "/b/ksnif"},
		"relative XDG is out": {env: map[string]string{"XDG_CACHE_HOME": "b", "HOME": "/c"}, want: "/c/.cache/ksnif"},
		"then home":           {env: map[string]string{"HOME": "/c"}, want: "/c/.cache/ksnif"},
		"nothing":             {err: "set KSNIF_CACHE"},
		"space":               {env: map[string]string{"KSNIF_CACHE": "/a b"}, err: "space"},
		"colon":               {env: map[string]string{"HOME": "/a:b"}, err: "special character"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := cacheDir(func(key string) string { return tt.env[key] })
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestOpenCacheMakesFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x", "y")
	t.Setenv("KSNIF_CACHE", dir)
	c, err := OpenCache(nil)
	require.NoError(t, err)
	assert.Equal(t, dir, c.Dir)
	assert.DirExists(t, dir)
}

func TestPopulate(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	target := c.path("kind", "entry")
	fill := func(text string) func(string) error {
		return func(dir string) error {
			assert.NoDirExists(t, target, "an entry must not be seen before it is complete")
			return os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644)
		}
	}

	broken := errors.New("broken")
	err := c.populate(t.Context(), target, func(dir string) error {
		return errors.Join(fill("half")(dir), broken)
	})
	require.ErrorIs(t, err, broken)
	assert.NoDirExists(t, target)

	require.NoError(t, c.populate(t.Context(), target, fill("first")))
	require.NoError(t, c.populate(t.Context(), target, fill("second")))
	text, err := os.ReadFile(filepath.Join(target, "file"))
	require.NoError(t, err)
	assert.Equal(t, "first", string(text))

	left, err := filepath.Glob(c.path("tmp", "*"))
	require.NoError(t, err)
	assert.Empty(t, left, "temporary folders must go")
}

func TestPopulateOnceAtATime(t *testing.T) {
	dir := t.TempDir()
	var fills atomic.Int32
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			c := &Cache{Dir: dir} // as another process would have
			assert.NoError(t, c.populate(context.Background(), c.path("entry"), func(string) error {
				fills.Add(1)
				time.Sleep(50 * time.Millisecond)
				return nil
			}))
		})
	}
	group.Wait()
	assert.Equal(t, int32(1), fills.Load())
}

func TestReplaceDirSwaps(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	for _, name := range []string{"old", "new"} {
		require.NoError(t, c.replaceDir(c.path("entry"), func(dir string) error {
			return os.Mkdir(filepath.Join(dir, name), 0o755)
		}))
	}
	assert.DirExists(t, c.path("entry", "new"))
	assert.NoDirExists(t, c.path("entry", "old"))
}

func TestLockWaits(t *testing.T) {
	dir := t.TempDir()
	unlock, err := (&Cache{Dir: dir}).lock(t.Context())
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = (&Cache{Dir: dir}).lock(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	unlock()
	unlock, err = (&Cache{Dir: dir}).lock(t.Context())
	require.NoError(t, err)
	unlock()
}

func TestWriteFileReplacesWhole(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sub", "file")
	require.NoError(t, writeFile(name, []byte("longer text")))
	old, err := os.Open(name)
	require.NoError(t, err)
	defer old.Close()
	require.NoError(t, writeFile(name, []byte("short")))

	text, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.Equal(t, "short", string(text))
	var seen bytes.Buffer
	_, err = seen.ReadFrom(old)
	require.NoError(t, err)
	assert.Equal(t, "longer text", seen.String(), "a reader keeps the version that it opened")
	names, err := os.ReadDir(filepath.Dir(name))
	require.NoError(t, err)
	assert.Len(t, names, 1)
}

func TestStepReportsOnlyWhatTakesLong(t *testing.T) {
	tests := map[string]struct {
		takes time.Duration
		lines int
	}{
		"quick":  {takes: 1900 * time.Millisecond, lines: 0},
		"slow":   {takes: 3 * time.Second, lines: 1},
		"slower": {takes: 40 * time.Second, lines: 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				c := &Cache{Log: &log}
				failed := errors.New("failed")
				err := c.step(t.Context(), "doing it", func() error {
					time.Sleep(tt.takes)
					return failed
				})
				require.ErrorIs(t, err, failed)
				assert.Equal(t, tt.lines, strings.Count(log.String(), "ksnif: doing it"), log.String())
			})
		})
	}
}

func TestPruneKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	for i, name := range []string{"b.cpio", "c.cpio", "a.cpio", "other"} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, nil, 0o644))
		when := time.Now().Add(time.Duration(i) * time.Hour)
		require.NoError(t, os.Chtimes(file, when, when))
	}
	require.NoError(t, prune(filepath.Join(dir, "*.cpio"), 2))
	assert.NoFileExists(t, filepath.Join(dir, "b.cpio"))
	for _, name := range []string{"a.cpio", "c.cpio", "other"} {
		assert.FileExists(t, filepath.Join(dir, name))
	}
}

func TestHashOfTellsPartsApart(t *testing.T) {
	assert.Equal(t, hashOf("a", "b"), hashOf("a", "b"))
	assert.NotEqual(t, hashOf("ab", ""), hashOf("a", "b"))
}
