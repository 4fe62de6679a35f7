// SPDX-License-Identifier: GPL-2.0

package images

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// sourceFiles says what is kept of a kernel's source, which is large: what
// lint and the check of the netlink spec need.
func sourceFiles(name string) []string {
	files := []string{"scripts/checkpatch.pl", "scripts/spelling.txt", "scripts/const_structs.checkpatch"}
	if name != "6.1" { // the generator appeared later
		files = append(files, "tools/net/ynl", "Documentation/netlink")
	}
	return files
}

// Source returns a folder with a few files of a kernel's source: checkpatch and
// what it reads, from 6.12 on also the kernel's netlink generator.
func (c *Cache) Source(ctx context.Context, name string) (string, error) {
	kv, err := c.version(ctx, name)
	if err != nil {
		return "", err
	}
	target := c.path("source", kv.Release)
	if exists(target) {
		return target, nil
	}
	deb, err := c.sourceDeb(ctx, name)
	if err != nil {
		return "", err
	}
	return target, c.populate(ctx, target, func(dir string) error {
		return c.unpackTree(ctx, deb, "linux-source-"+name, dir, sourceFiles(name))
	})
}

// sourcePackage is the package with a kernel's source.
func sourcePackage(name string, kv kernelVersion) pkg {
	return pkg{"linux-source-" + name, kv.Packages[0].Version}
}

// sourceDeb returns the package with the source of a kernel, which stays in the cache.
func (c *Cache) sourceDeb(ctx context.Context, name string) (string, error) {
	kv, err := c.version(ctx, name)
	if err != nil {
		return "", err
	}
	source := sourcePackage(name, kv)
	target := c.path("debs", source.String())
	err = c.populate(ctx, target, func(dir string) error {
		deb, err := c.fetchOne(ctx, "amd64", source, dir, "140 MB")
		if err != nil {
			return fmt.Errorf("source of kernel %s: %w", name, err)
		}
		return os.Rename(deb, filepath.Join(dir, source.Name+".deb"))
	})
	return filepath.Join(target, source.Name+".deb"), err
}

// unpackTree extracts files, or everything if none are named, of the tarball that a package with a kernel's source
// brings.
func (c *Cache) unpackTree(ctx context.Context, deb, name, dir string, files []string) error {
	// The shell joins the three; what it cannot tell, that one of the first
	// two failed, shows in what is missing afterwards.
	const script = `dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" | tar -xJ -C "$3" --strip-components=1 "${@:4}"`
	args := []string{"-c", script, "bash", deb, name, dir}
	for _, f := range files {
		args = append(args, name+"/"+f)
	}
	err := c.step(ctx, "unpacking "+name, func() error {
		_, err := run(ctx, "", "bash", args...)
		return err
	})
	if err != nil {
		return err
	}
	if len(files) == 0 {
		files = []string{"Makefile"}
	}
	for _, f := range files {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return err
		}
	}
	return nil
}

// Headers32 returns a build tree for the 32-bit sibling of kernel 6.1: what a
// 64-bit compiler lets pass often fails there.
func (c *Cache) Headers32(ctx context.Context) (string, error) {
	kv, err := c.version(ctx, "6.1")
	if err != nil {
		return "", err
	}
	release := strings.TrimSuffix(kv.Release, "-cloud-amd64") + "-686"
	target := c.path("headers", release)
	err = c.populate(ctx, target, func(dir string) error {
		for _, p := range kv.Packages {
			// The tools run here, so they stay those of this machine.
			arch := "amd64"
			switch {
			case strings.HasPrefix(p.Name, "linux-image-"):
				continue
			case p.Name == "linux-headers-"+kv.Release:
				p.Name, arch = "linux-headers-"+release, "i386"
			}
			deb, err := c.fetchOne(ctx, arch, p, dir, "10 MB")
			if err != nil {
				return fmt.Errorf("32-bit headers: %w", err)
			}
			if err := unpack(ctx, deb, dir); err != nil {
				return err
			}
			if err := os.Remove(deb); err != nil {
				return err
			}
		}
		return fixHeaders(dir, release)
	})
	return filepath.Join(target, "usr/src", "linux-headers-"+release), err
}

// fetchOne downloads one package to dir and returns the file.
func (c *Cache) fetchOne(ctx context.Context, arch string, p pkg, dir, size string) (string, error) {
	a, err := c.apt(arch)
	if err != nil {
		return "", err
	}
	err = c.step(ctx, fmt.Sprintf("fetching %s (%s)", p.Name, size), func() error {
		return a.download(ctx, dir, []pkg{p})
	})
	if err != nil {
		return "", err
	}
	debs, err := filepath.Glob(filepath.Join(dir, p.Name+"_*.deb"))
	if err == nil && len(debs) != 1 {
		err = fmt.Errorf("apt-get download %s left %d files", p, len(debs))
	}
	if err != nil {
		return "", err
	}
	return debs[0], nil
}

// version returns what name stands for, resolving it if need be.
func (c *Cache) version(ctx context.Context, name string) (kernelVersion, error) {
	if !slices.Contains(KernelNames(), name) {
		return kernelVersion{}, fmt.Errorf("kernel %q: want %s", name, strings.Join(KernelNames(), " or "))
	}
	v, err := c.resolved()
	if err != nil {
		return kernelVersion{}, err
	}
	if kv, ok := v.Kernels[name]; ok {
		return kv, nil
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return kernelVersion{}, err
	}
	defer unlock()
	a, err := c.apt("amd64")
	if err != nil {
		return kernelVersion{}, err
	}
	return c.resolveOnce(ctx, a, name)
}

// resolveOnce resolves a kernel unless that has happened. The caller holds the
// lock.
func (c *Cache) resolveOnce(ctx context.Context, a *apt, name string) (kernelVersion, error) {
	v, err := c.resolved()
	if err != nil {
		return kernelVersion{}, err
	}
	if kv, ok := v.Kernels[name]; ok {
		return kv, nil
	}
	kv, err := c.resolveKernel(ctx, a, name)
	if err != nil {
		return kernelVersion{}, err
	}
	v.Kernels[name] = kv
	return kv, c.saveResolved(v)
}
