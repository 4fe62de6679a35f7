// SPDX-License-Identifier: GPL-2.0

package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Fetch downloads and makes all that the cache can hold, so that everything
// works without a network afterwards. With update it takes the newest versions,
// otherwise those that were resolved before.
func (c *Cache) Fetch(ctx context.Context, update bool) error {
	if update {
		if err := c.update(ctx); err != nil {
			return fmt.Errorf("update: %w", err)
		}
	}
	for _, name := range KernelNames() {
		k, err := c.Kernel(ctx, name)
		if err != nil {
			return err
		}
		if _, err := c.Initramfs(ctx, k); err != nil {
			return err
		}
		if _, err := c.Source(ctx, name); err != nil {
			return err
		}
		if _, err := c.sourceDeb(ctx, name); err != nil { // of the kernels that are built
			return err
		}
	}
	if _, err := c.Headers32(ctx); err != nil {
		return err
	}
	return c.removeStale(ctx)
}

// update resolves everything anew. Nothing changes unless all of it succeeds.
func (c *Cache) update(ctx context.Context) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := c.apt("amd64")
	if err != nil {
		return err
	}
	if err := c.step(ctx, "fetching package lists", func() error { return a.update(ctx) }); err != nil {
		return err
	}
	fresh := &versions{Kernels: map[string]kernelVersion{}}
	for _, name := range KernelNames() {
		if fresh.Kernels[name], err = c.resolveKernel(ctx, a, name); err != nil {
			return err
		}
	}
	if fresh.Userland, err = c.resolveUserland(ctx, a); err != nil {
		return err
	}
	return c.saveResolved(fresh)
}

// removeStale deletes kernels that no name stands for any more, and what
// belongs to them.
func (c *Cache) removeStale(ctx context.Context) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := c.resolved()
	if err != nil {
		return err
	}
	current := map[string]bool{}
	for name, kv := range v.Kernels {
		current[c.kernelDir(kv.Release)] = true
		current[c.path("source", kv.Release)] = true
		current[c.path("debs", sourcePackage(name, kv).String())] = true
	}
	for name, r := range recipes() {
		if kv, ok := v.Kernels[r.series]; ok {
			dir, err := c.builtDir(ctx, name, kv)
			if err != nil {
				return err
			}
			current[dir] = true
			current[c.path("builds", filepath.Base(dir))] = true
		}
	}
	var errs []error
	for _, kind := range []string{"kernels", "builds", "source", "debs"} {
		dirs, err := filepath.Glob(c.path(kind, "*"))
		errs = append(errs, err)
		for _, dir := range dirs {
			if !current[dir] {
				errs = append(errs, os.RemoveAll(dir))
			}
		}
	}
	errs = append(errs, prune(c.path("headers", "*"), 1), prune(c.path("initramfs", "*.cpio"), keepArchives*len(v.Kernels)))
	return errors.Join(errs...)
}
