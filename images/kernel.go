// SPDX-License-Identifier: GPL-2.0

package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kernel is a kernel that a VM can boot and the module can be built for.
type Kernel struct {
	// Name is what was asked for: "6.1", "6.12", "debug-6.1" or its like, or a path.
	Name string
	// Release is what uname -r says in it.
	Release string
	// Image is the bzImage.
	Image string
	// KDIR is the build tree for `make -C KDIR M=...`.
	KDIR string
	// ModDir is the lib/modules/RELEASE folder, with modules.dep; empty if
	// the kernel brings no modules.
	ModDir string
	// Config is the kernel's .config.
	Config string
	// Options are those of Kconfig that the module tested on it is built with, without their CONFIG_.
	Options []string
}

// KernelNames are the kernels that Kernel can fetch.
func KernelNames() []string { return []string{"6.1", "6.12"} }

// kernelSuite says which suite a kernel comes from.
func kernelSuite(name string) (string, bool) {
	suite, ok := map[string]string{"6.1": suiteStable, "6.12": suiteBackports}[name]
	return suite, ok
}

// Kernel returns the kernel of that name: one of [KernelNames], fetched unless
// it is in the cache; one of [BuiltKernelNames], built unless it is there; or
// the path of a bzImage whose build tree is $KDIR.
func (c *Cache) Kernel(ctx context.Context, name string) (*Kernel, error) {
	if strings.Contains(name, "/") {
		return c.localKernel(ctx, name, os.Getenv("KDIR"))
	}
	if _, ok := recipes()[name]; ok {
		k, err := c.builtKernel(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", name, err)
		}
		return k, nil
	}
	if _, ok := kernelSuite(name); !ok {
		names := strings.Join(append(KernelNames(), BuiltKernelNames()...), ", ")
		return nil, fmt.Errorf("kernel %q: want %s, or the path of a bzImage (with KDIR=)", name, names)
	}
	v, err := c.resolved()
	if err != nil {
		return nil, err
	}
	if k, err := c.cachedKernel(name, v.Kernels[name].Release); err == nil {
		return k, nil
	}
	release, err := c.fetchKernel(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", name, err)
	}
	return c.cachedKernel(name, release)
}

// kernelDir is where a kernel lies in the cache. The name changes with what is
// kept of its packages, lest an older selection be taken for today's.
func (c *Cache) kernelDir(release string) string {
	return c.path("kernels", release+"-"+kernelLayout())
}

// cachedKernel describes a kernel that lies unpacked in the cache.
func (c *Cache) cachedKernel(name, release string) (*Kernel, error) {
	if release == "" {
		return nil, fs.ErrNotExist
	}
	root := c.kernelDir(release)
	k := &Kernel{
		Name:    name,
		Release: release,
		Image:   filepath.Join(root, "boot", "vmlinuz-"+release),
		KDIR:    filepath.Join(root, "usr/src", "linux-headers-"+release),
		ModDir:  filepath.Join(root, "lib/modules", release),
	}
	k.Config = filepath.Join(k.KDIR, ".config")
	for _, f := range []string{k.Image, k.Config, filepath.Join(k.ModDir, "modules.dep")} {
		if _, err := os.Stat(f); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// fetchKernel downloads and unpacks a kernel at its resolved version, resolving
// it if that has not happened yet, and returns its release.
func (c *Cache) fetchKernel(ctx context.Context, name string) (string, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	a, err := c.apt("amd64")
	if err != nil {
		return "", err
	}
	kv, err := c.resolveOnce(ctx, a, name)
	if err != nil {
		return "", err
	}
	if _, err := c.cachedKernel(name, kv.Release); err == nil {
		return kv.Release, nil
	}
	return kv.Release, c.replaceDir(c.kernelDir(kv.Release), func(dir string) error {
		return c.unpackKernel(ctx, a, kv, dir)
	})
}

// unpackKernel makes a kernel's folder: image, build tree, modules.
func (c *Cache) unpackKernel(ctx context.Context, a *apt, kv kernelVersion, dir string) error {
	root := filepath.Join(dir, "debs")
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	if err := c.step(ctx, "fetching kernel "+kv.Release+" and its headers (40 to 50 MB)", func() error {
		return a.download(ctx, root, kv.Packages)
	}); err != nil {
		return err
	}
	return c.step(ctx, "unpacking kernel "+kv.Release, func() error {
		debs, err := filepath.Glob(filepath.Join(root, "*.deb"))
		if err != nil {
			return err
		}
		for _, deb := range debs {
			if err := unpack(ctx, deb, dir); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(root); err != nil {
			return err
		}
		if err := fixHeaders(dir, kv.Release); err != nil {
			return err
		}
		return trimKernel(ctx, dir, kv.Release)
	})
}

// trimKernel replaces the modules folder by the selection that guests get, and
// drops what nobody needs.
func trimKernel(ctx context.Context, dir, release string) error {
	all := filepath.Join(dir, "lib/modules", release)
	systemMap := filepath.Join(dir, "boot", "System.map-"+release)
	if err := selectModules(ctx, all, filepath.Join(dir, "selected"), release, systemMap); err != nil {
		return err
	}
	for _, d := range []string{filepath.Join(dir, "lib"), filepath.Join(dir, "usr/share"), systemMap} {
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	if err := os.Rename(filepath.Join(dir, "selected", "lib"), filepath.Join(dir, "lib")); err != nil {
		return err
	}
	return os.Remove(filepath.Join(dir, "selected"))
}

// fixHeaders makes Debian's build tree work where it lies: its top makefile
// names the shared half by its installed path, everything else is relative.
func fixHeaders(dir, release string) error {
	makefile := filepath.Join(dir, "usr/src", "linux-headers-"+release, "Makefile")
	text, err := os.ReadFile(makefile)
	if err != nil {
		return fmt.Errorf("headers of %s: %w", release, err)
	}
	fixed := strings.ReplaceAll(string(text), "include /usr/src/", "include $(dir $(realpath $(lastword $(MAKEFILE_LIST))))../")
	if fixed == string(text) {
		return fmt.Errorf("headers of %s: their Makefile no longer includes one below /usr/src:\n%s", release, text)
	}
	// With this file at hand every build of a module would need pahole, for
	// type information that nobody reads here.
	if err := os.Remove(filepath.Join(filepath.Dir(makefile), "vmlinux")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(makefile, []byte(fixed), 0o644)
}

// localKernel describes a kernel of the user's own.
func (c *Cache) localKernel(ctx context.Context, image, kdir string) (*Kernel, error) {
	if kdir == "" {
		return nil, fmt.Errorf("kernel %s: set KDIR= to its build tree", image)
	}
	image, err1 := filepath.Abs(image)
	kdir, err2 := filepath.Abs(kdir)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if _, err := os.Stat(image); err != nil {
		return nil, fmt.Errorf("kernel: %w", err)
	}
	release, err := utsRelease(kdir)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: KDIR is not a prepared build tree: %w", image, err)
	}
	k := &Kernel{Name: image, Release: release, Image: image, KDIR: kdir}
	k.Config = filepath.Join(kdir, ".config")
	for _, d := range []string{filepath.Join(kdir, "lib/modules"), "/lib/modules"} {
		if dir := filepath.Join(d, k.Release); exists(filepath.Join(dir, "modules.dep")) {
			k.ModDir, err = c.localModules(ctx, dir, k.Release)
			return k, err
		}
	}
	return k, nil
}

// utsRelease reads from a build tree what uname -r says in its kernel. (Debian's
// include/config/kernel.release has only the upstream version.)
func utsRelease(kdir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(kdir, "include/generated/utsrelease.h"))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(text), "UTS_RELEASE \"")
	release, _, ok := strings.Cut(rest, "\"")
	if !ok {
		return "", fmt.Errorf("utsrelease.h: no UTS_RELEASE in %q", text)
	}
	return release, nil
}

// localModules copies the modules that guests get from a folder of the host.
func (c *Cache) localModules(ctx context.Context, dir, release string) (string, error) {
	info, err := os.Stat(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return "", err
	}
	target := c.path("modules", hashOf(kernelLayout(), dir, info.ModTime().String()))
	err = c.populate(ctx, target, func(fresh string) error {
		return c.step(ctx, "copying the modules of "+release, func() error {
			return selectModules(ctx, dir, fresh, release, "")
		})
	})
	return filepath.Join(target, "lib/modules", release), err
}

// kernelVersion is what a kernel's name stands for until the next update.
type kernelVersion struct {
	Release  string `json:"release"`
	Packages []pkg  `json:"packages"`
}

// versions is the cache's record of what was resolved.
type versions struct {
	Kernels  map[string]kernelVersion `json:"kernels"`
	Userland []pkg                    `json:"userland,omitempty"`
}

// resolved reads the record; a cache without one has resolved nothing.
func (c *Cache) resolved() (*versions, error) {
	v := &versions{}
	data, err := os.ReadFile(c.path("versions.json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		if err := json.Unmarshal(data, v); err != nil {
			return nil, fmt.Errorf("%s: %w (delete it)", c.path("versions.json"), err)
		}
	}
	if v.Kernels == nil {
		v.Kernels = map[string]kernelVersion{}
	}
	return v, nil
}

// saveResolved writes the record; the caller holds the lock.
func (c *Cache) saveResolved(v *versions) error {
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return writeFile(c.path("versions.json"), append(data, '\n'))
}

// resolveKernel asks the lists for the packages of a kernel now.
func (c *Cache) resolveKernel(ctx context.Context, a *apt, name string) (kv kernelVersion, err error) {
	suite, _ := kernelSuite(name)
	err = c.step(ctx, "asking the mirror for kernel "+name, func() error {
		pkgs, err := a.closure(ctx, suite, "linux-headers-cloud-amd64")
		if err != nil {
			return err
		}
		kv, err = kernelPackages(pkgs)
		return err
	})
	return kv, err
}

// kernelPackages picks a kernel's own packages out of what its headers
// metapackage pulls in. The image is the one that matches the headers: the
// metapackages for both may be a release apart.
func kernelPackages(pkgs []pkg) (kernelVersion, error) {
	const prefix, suffix = "linux-headers-", "-cloud-amd64"
	var kv kernelVersion
	for _, p := range pkgs {
		switch {
		case p.Name == prefix+strings.TrimPrefix(suffix, "-"):
			// the metapackage itself
		case strings.HasPrefix(p.Name, prefix) && strings.HasSuffix(p.Name, suffix):
			kv.Release = strings.TrimPrefix(p.Name, prefix)
			kv.Packages = append(kv.Packages, p, pkg{"linux-image-" + kv.Release, p.Version})
		case strings.HasPrefix(p.Name, prefix), strings.HasPrefix(p.Name, "linux-kbuild-"):
			kv.Packages = append(kv.Packages, p)
		}
	}
	if kv.Release == "" || len(kv.Packages) != 4 {
		return kernelVersion{}, fmt.Errorf("the mirror's linux-headers-cloud-amd64 does not lead to headers, their common half and linux-kbuild, but to %v", kv.Packages)
	}
	slices.SortFunc(kv.Packages, func(a, b pkg) int { return strings.Compare(a.Name, b.Name) })
	return kv, nil
}
