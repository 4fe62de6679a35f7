// SPDX-License-Identifier: GPL-2.0

// Package images makes what a VM boots: kernels with the build trees that
// belong to them, and the initramfs that ksnif's tests run in.
//
// Everything comes from Debian packages, fetched and checked by the host's
// apt with a private state, so that neither root nor the host's own release
// matters. Results are kept in a [Cache]; what is there is used without
// touching the network.
package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Cache is the folder that keeps kernels, userland and archives between runs.
//
// Entries appear by rename, complete or not at all, so readers need no lock;
// writers hold the cache's file lock.
type Cache struct {
	// Dir is the absolute path of the cache.
	Dir string
	// Log receives a line for every step that takes longer than two seconds.
	Log io.Writer
}

// OpenCache opens the cache in $KSNIF_CACHE, $XDG_CACHE_HOME/ksnif or
// ~/.cache/ksnif, whichever is set first, and makes the folder if need be.
func OpenCache(log io.Writer) (*Cache, error) {
	dir, err := cacheDir(os.Getenv)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open cache: %w (set KSNIF_CACHE to a folder that you can write)", err)
	}
	return &Cache{Dir: dir, Log: log}, nil
}

// cacheDir chooses the cache's folder from the environment.
func cacheDir(getenv func(string) string) (string, error) {
	dir := getenv("KSNIF_CACHE")
	if dir == "" {
		// A relative XDG path is invalid and to be ignored, says its specification.
		if xdg := getenv("XDG_CACHE_HOME"); filepath.IsAbs(xdg) {
			dir = filepath.Join(xdg, "ksnif")
		} else if home := getenv("HOME"); home != "" {
			dir = filepath.Join(home, ".cache", "ksnif")
		} else {
			return "", errors.New("open cache: neither KSNIF_CACHE nor HOME is set: set KSNIF_CACHE")
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("open cache: %w", err)
	}
	// The kernel's makefiles and apt's configuration cannot quote these.
	if strings.ContainsAny(dir, " \t\n:;\"'#$") {
		return "", fmt.Errorf("open cache: the path %q has a space or a special character, which kernel builds cannot handle: set KSNIF_CACHE to another", dir)
	}
	return dir, nil
}

// path joins elem to the cache's folder.
func (c *Cache) path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}

// lock takes the writers' lock and returns the function that releases it.
func (c *Cache) lock(ctx context.Context) (func(), error) {
	return c.lockFile(ctx, "lock", "waiting for another run to finish with the cache")
}

// lockFile takes the lock of that name; wait says what is going on if that takes time.
func (c *Cache) lockFile(ctx context.Context, name, wait string) (func(), error) {
	f, err := os.OpenFile(c.path(name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	err = c.step(ctx, wait, func() error {
		for {
			err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
			if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock cache: %w", err)
	}
	// Closing drops the lock, as does the end of the process.
	return func() { f.Close() }, nil
}

// populate makes the directory target with fill, which gets an empty folder
// beside it, and renames that into place. A target that exists is left alone.
func (c *Cache) populate(ctx context.Context, target string, fill func(dir string) error) error {
	if exists(target) {
		return nil
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if exists(target) { // another run made it while we waited
		return nil
	}
	return c.replaceDir(target, fill)
}

// replaceDir fills a new folder and puts it in the place of target. The caller
// holds the lock.
func (c *Cache) replaceDir(target string, fill func(dir string) error) error {
	tmp, err := c.tempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	fresh := filepath.Join(tmp, "new")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	if err := fill(fresh); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if exists(target) {
		if err := os.Rename(target, filepath.Join(tmp, "old")); err != nil {
			return err
		}
	}
	return os.Rename(fresh, target)
}

// tempDir makes a folder on the cache's own file system, so that rename works.
// Leftovers of runs that were killed go first; the caller holds the lock.
func (c *Cache) tempDir() (string, error) {
	root := c.path("tmp")
	if err := os.RemoveAll(root); err != nil {
		return "", fmt.Errorf("clear cache's temporary folder: %w", err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(root, "")
}

// writeFile writes a file of the cache by rename.
func writeFile(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// step runs fn and says what is going on if that takes longer than two seconds.
func (c *Cache) step(ctx context.Context, what string, fn func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.report(ctx, what)
	}()
	err := fn()
	cancel()
	<-finished // no line may appear after the step
	return err
}

// report prints what after two seconds, then how long it has been, until ctx ends.
func (c *Cache) report(ctx context.Context, what string) {
	start := time.Now()
	for next := 2 * time.Second; ; next = 15 * time.Second {
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		}
		if c.Log != nil {
			fmt.Fprintf(c.Log, "ksnif: %s (%d s)\n", what, int(time.Since(start).Seconds()))
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
