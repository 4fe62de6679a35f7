// SPDX-License-Identifier: GPL-2.0

package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Headers32 returns a build tree for the 32-bit kernel of Debian that is
// otherwise kernel 6.1: what divides 64-bit numbers, or takes size_t for a
// long, does not build there. No VM boots it.
//
// Only what is its own is fetched. The half of the headers that is common to
// all architectures is the 64-bit kernel's, and so are kbuild's programs,
// which run on this machine.
func (c *Cache) Headers32(ctx context.Context) (string, error) {
	k, err := c.Kernel(ctx, "6.1")
	if err != nil {
		return "", err
	}
	v, err := c.resolved()
	if err != nil {
		return "", err
	}
	abi := strings.TrimSuffix(k.Release, "-cloud-amd64")
	headers := pkg{Name: "linux-headers-" + abi + "-686"}
	for _, p := range v.Kernels["6.1"].Packages {
		if strings.HasPrefix(p.Name, "linux-headers-") {
			headers.Version = p.Version
		}
	}
	target := c.path("kernels", abi+"-686")
	err = c.populate(ctx, target, func(dir string) error {
		return c.unpackHeaders32(ctx, headers, k, dir)
	})
	if err != nil {
		return "", fmt.Errorf("headers of the 32-bit kernel %s: %w", abi, err)
	}
	return filepath.Join(target, "usr/src", headers.Name), nil
}

func (c *Cache) unpackHeaders32(ctx context.Context, headers pkg, k *Kernel, dir string) error {
	a, err := c.aptFor("apt-i386", "i386")
	if err != nil {
		return err
	}
	if err := c.step(ctx, "fetching "+headers.Name, func() error {
		return a.download(ctx, dir, []pkg{headers})
	}); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, deb := range debs {
		if err := unpack(ctx, deb, dir); err != nil {
			return err
		}
		if err := os.Remove(deb); err != nil {
			return err
		}
	}
	if err := linkShared(filepath.Join(dir, "usr"), filepath.Join(filepath.Dir(k.KDIR), "..")); err != nil {
		return err
	}
	return fixHeaders(dir, strings.TrimPrefix(headers.Name, "linux-headers-"))
}

// linkShared makes the folders that a build tree shares with others of its
// version appear below usr, where they lie below from.
func linkShared(usr, from string) error {
	if err := os.MkdirAll(filepath.Join(usr, "lib"), 0o755); err != nil {
		return err
	}
	for _, pattern := range []string{"src/linux-headers-*-common", "lib/linux-kbuild-*"} {
		found, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil {
			return err
		}
		for _, f := range found {
			rel, err := filepath.Rel(from, f)
			if err != nil {
				return err
			}
			if err := os.Symlink(f, filepath.Join(usr, rel)); err != nil {
				return err
			}
		}
	}
	return nil
}
