// SPDX-License-Identifier: GPL-2.0

package images

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"golang.org/x/sync/errgroup"
)

// moduleDirs are the folders and single modules that guests get, with all that
// these depend on. The rest (drivers of real hardware, remote file systems)
// would only make every boot slower.
func moduleDirs() []string {
	return []string{
		"net/802", "net/8021q", "net/bridge", "net/core", "net/ipv4", "net/ipv6", "net/key", "net/llc",
		"net/mpls", "net/netfilter", "net/netlink", "net/packet", "net/psample", "net/sched", "net/sctp",
		"net/tls", "net/unix", "net/xdp", "net/xfrm",
		"drivers/net/bareudp", "drivers/net/bonding", "drivers/net/dummy", "drivers/net/geneve", "drivers/net/ifb",
		"drivers/net/ipvlan", "drivers/net/macsec", "drivers/net/macvlan", "drivers/net/macvtap", "drivers/net/net_failover",
		"drivers/net/netconsole", "drivers/net/netdevsim", "drivers/net/nlmon", "drivers/net/tap", "drivers/net/team",
		"drivers/net/tun", "drivers/net/veth", "drivers/net/virtio_net", "drivers/net/vrf", "drivers/net/vxlan",
		"drivers/net/wireguard",
		"drivers/block/brd", "drivers/block/loop", "drivers/block/null_blk", "drivers/block/virtio_blk", "drivers/block/zram",
		"drivers/char/virtio_console", "drivers/char/hw_random/virtio-rng", "drivers/md/dm-",
		"drivers/scsi/scsi_debug", "drivers/scsi/sd_mod", "drivers/scsi/virtio_scsi", "drivers/virtio",
		"fs/overlayfs", "fs/xfs", "fs/fat", "fs/nls/nls_ascii", "fs/nls/nls_cp437", "fs/nls/nls_utf8", "fs/autofs",
		"crypto/aead", "crypto/authenc", "crypto/cbc", "crypto/ccm", "crypto/cmac", "crypto/crc32c_", "crypto/ctr",
		"crypto/des_generic", "crypto/echainiv", "crypto/essiv", "crypto/gcm", "crypto/seqiv", "crypto/xts",
		"lib/libcrc32c", "lib/ts_",
	}
}

// kernelLayout is a short name for what selectModules and fixHeaders do. The
// number changes with their code.
func kernelLayout() string { return hashOf("2", strings.Join(moduleDirs(), " "))[:6] }

// wantedModule says whether guests get a module for its own sake. name is
// relative to lib/modules/RELEASE.
func wantedModule(name string) bool {
	rel := strings.TrimPrefix(name, "kernel/")
	return rel == name || // extra/, updates/: the user's own
		slices.ContainsFunc(moduleDirs(), func(want string) bool {
			rest, ok := strings.CutPrefix(rel, want)
			// A name that ends in - or _ stands for a family, any other for
			// a folder or a module.
			return ok && rest != "" && (strings.ContainsAny(rest[:1], "/.") || strings.ContainsAny(want[len(want)-1:], "-_"))
		})
}

// moduleDeps parses modules.dep: a module's path to those it needs.
func moduleDeps(text string) (map[string][]string, error) {
	deps := map[string][]string{}
	for line := range strings.Lines(text) {
		name, needs, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			return nil, fmt.Errorf("modules.dep: no colon in %q", line)
		}
		deps[name] = strings.Fields(needs)
	}
	return deps, nil
}

// moduleClosure returns, sorted, the modules of deps that wanted picks and all
// that those need.
func moduleClosure(deps map[string][]string, wanted func(string) bool) []string {
	chosen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if chosen[name] {
			return
		}
		chosen[name] = true
		for _, need := range deps[name] {
			add(need)
		}
	}
	for name := range deps {
		if wanted(name) {
			add(name)
		}
	}
	names := make([]string, 0, len(chosen))
	for name := range chosen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// selectModules copies what guests need of the folder src, decompressed, to
// lib/modules/RELEASE below root, and runs depmod there.
func selectModules(ctx context.Context, src, root, release, systemMap string) error {
	deps, err := readDeps(ctx, src, release)
	if err != nil {
		return err
	}
	dst := filepath.Join(root, "lib/modules", release)
	var group errgroup.Group
	group.SetLimit(4)
	for _, name := range moduleClosure(deps, wantedModule) {
		group.Go(func() error { return copyModule(filepath.Join(src, name), filepath.Join(dst, plainName(name))) })
	}
	for _, name := range []string{"modules.builtin", "modules.builtin.modinfo", "modules.order"} {
		group.Go(func() error { return copyFile(filepath.Join(src, name), filepath.Join(dst, name), 0o644) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("modules of %s: %w", release, err)
	}
	return depmod(ctx, root, release, systemMap)
}

// readDeps reads src's modules.dep. Debian's packages come without: it is made
// then, for which src must be a lib/modules/RELEASE folder of the cache.
func readDeps(ctx context.Context, src, release string) (map[string][]string, error) {
	file := filepath.Join(src, "modules.dep")
	if !exists(file) {
		if err := depmod(ctx, filepath.Join(src, "../../.."), release, ""); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return moduleDeps(string(text))
}

// depmod writes modules.dep and its kin below root.
func depmod(ctx context.Context, root, release, systemMap string) error {
	args := []string{"-b", root}
	if systemMap != "" {
		args = append(args, "-F", systemMap)
	}
	_, err := run(ctx, "", sbin("depmod"), append(args, release)...)
	return err
}

// plainName is a module's name without the suffix of its compression.
func plainName(name string) string {
	if i := strings.LastIndex(name, ".ko."); i >= 0 {
		return name[:i+len(".ko")]
	}
	return name
}

// copyModule copies a module and takes off its compression: the guest's first
// modules are loaded before it has a program that could do that, and
// decompressing once here is cheaper than in every boot.
func copyModule(src, dst string) error {
	data, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	if data, err = decompress(data, path.Ext(src)); err != nil {
		return fmt.Errorf("%s: %w", src, err)
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	return os.WriteFile(dst, data, 0o644)
}

// decompress undoes the compression that a file's extension names, if any.
func decompress(data []byte, ext string) ([]byte, error) {
	var r io.Reader
	var err error
	switch ext {
	case ".xz":
		r, err = xz.NewReader(bytes.NewReader(data))
	case ".gz":
		r, err = gzip.NewReader(bytes.NewReader(data))
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(bytes.NewReader(data)); err == nil {
			defer d.Close()
		}
		r = d
	default:
		return data, nil
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// copyFile copies a file's content.
func copyFile(src, dst string, mode os.FileMode) error {
	data, err := os.ReadFile(src)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	return os.WriteFile(dst, data, mode)
}
