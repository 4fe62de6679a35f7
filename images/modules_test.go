// SPDX-License-Identifier: GPL-2.0

package images

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

func TestWantedModule(t *testing.T) {
	tests := map[string]bool{
		"kernel/net/core/pktgen.ko":                  true,
		"kernel/net/netfilter/ipset/ip_set.ko.xz":    true,
		"kernel/drivers/net/veth.ko":                 true,
		"kernel/drivers/net/vxlan/vxlan.ko":          true,
		"kernel/drivers/md/dm-flakey.ko":             true,
		"kernel/drivers/block/null_blk/null_blk.ko":  true,
		"extra/ksnif.ko":                             true,
		"kernel/drivers/net/vxlanish.ko":             false,
		"kernel/drivers/net/ethernet/intel/e1000.ko": false,
		"kernel/drivers/md/raid1.ko":                 false,
		"kernel/net/netfilterx/x.ko":                 false,
	}
	for name, want := range tests {
		assert.Equal(t, want, wantedModule(name), name)
	}
}

func TestModuleClosure(t *testing.T) {
	deps, err := moduleDeps("a.ko:\nb.ko.xz: a.ko\nc.ko: b.ko.xz a.ko\nd.ko: a.ko\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"b.ko.xz", "a.ko"}, deps["c.ko"])

	only := func(name string) func(string) bool { return func(n string) bool { return n == name } }
	assert.Equal(t, []string{"a.ko", "b.ko.xz", "c.ko"}, moduleClosure(deps, only("c.ko")))
	assert.Equal(t, []string{"a.ko"}, moduleClosure(deps, only("a.ko")))
	assert.Empty(t, moduleClosure(deps, only("x.ko")))

	// A dependency that is only named still counts, and a circle ends.
	loop := map[string][]string{"x.ko": {"y.ko"}, "y.ko": {"x.ko"}}
	assert.Equal(t, []string{"x.ko", "y.ko"}, moduleClosure(loop, only("x.ko")))

	_, err = moduleDeps("no colon\n")
	require.ErrorContains(t, err, "no colon")
}

func TestPlainName(t *testing.T) {
	for name, want := range map[string]string{
		"net/a.ko.xz": "net/a.ko", "net/a.ko": "net/a.ko", "a.ko.zst": "a.ko", "x.komodo/a.ko.gz": "x.komodo/a.ko",
	} {
		assert.Equal(t, want, plainName(name))
	}
}

func TestCopyModuleTakesCompressionOff(t *testing.T) {
	text := strings.Repeat("module ", 1000)
	pack := map[string]func(io.Writer) (io.WriteCloser, error){
		".ko.gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		".ko.xz":  func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		".ko.zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		".ko":     func(w io.Writer) (io.WriteCloser, error) { return nopCloser{w}, nil },
	}
	for suffix, open := range pack {
		t.Run(suffix, func(t *testing.T) {
			var packed bytes.Buffer
			w, err := open(&packed)
			require.NoError(t, err)
			_, err = io.WriteString(w, text)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			dir := t.TempDir()
			touch(t, dir, map[string]string{"m" + suffix: packed.String()})
			dst := filepath.Join(dir, "new", "m.ko")
			require.NoError(t, copyModule(filepath.Join(dir, "m"+suffix), dst))
			got, err := os.ReadFile(dst)
			require.NoError(t, err)
			assert.Equal(t, text, string(got))
		})
	}
	dir := t.TempDir()
	touch(t, dir, map[string]string{"bad.ko.xz": "this is not xz"})
	require.ErrorContains(t, copyModule(filepath.Join(dir, "bad.ko.xz"), filepath.Join(dir, "bad.ko")), "bad.ko.xz")
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
