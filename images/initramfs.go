// SPDX-License-Identifier: GPL-2.0

package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/u-root/mkuimage/cpio"
	"github.com/u-root/mkuimage/uimage"
	"github.com/u-root/uio/llog"
)

// initPackage is the guest's first process.
const initPackage = "ksnif/vmtest/guest/init"

// archiveVersion changes when the way an archive is put together does.
const archiveVersion = "archive 1"

// keepArchives is how many base archives of a kernel stay in the cache: a new
// one appears with every change of the guest's init.
const keepArchives = 3

// Initramfs returns the base archive for a kernel: init, the guest's programs,
// the kernel's modules. It changes only when one of these does; everything
// that changes from run to run belongs in a second one, see [Archive].
func (c *Cache) Initramfs(ctx context.Context, k *Kernel) (string, error) {
	userland, err := c.userland(ctx)
	if err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp("", "ksnif-init")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	init := filepath.Join(tmp, "init")
	if err := c.step(ctx, "compiling the guest's init", func() error { return buildInit(ctx, init) }); err != nil {
		return "", err
	}
	sum, err := hashFile(init)
	if err != nil {
		return "", err
	}
	target := c.path("initramfs", k.Release+"-"+hashOf(archiveVersion, userland, k.ModDir, sum)+".cpio")
	if exists(target) {
		now := time.Now()
		// What is in use must not be the first to go when prune looks.
		_ = os.Chtimes(target, now, now)
		return target, nil
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(target) {
		return target, nil
	}
	err = c.step(ctx, "making the initramfs of "+k.Release, func() error { return c.writeInitramfs(k, userland, init, target) })
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	return target, prune(c.path("initramfs", k.Release+"-*.cpio"), keepArchives)
}

// buildInit compiles the guest's init as a static program. (mkuimage could, but
// it passes -a, and so would compile the standard library in every run.)
func buildInit(ctx context.Context, file string) error {
	// The version control stamp would make a new archive of every commit.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, initPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compile the guest's init, %s: %w\n%s", initPackage, err, tail(string(out), 20))
	}
	return nil
}

// writeInitramfs puts the archive together. It is not compressed: loading it is
// cheaper than inflating it where the CPU is emulated.
func (c *Cache) writeInitramfs(k *Kernel, userland, init, target string) error {
	tmp, err := c.tempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	entries, err := os.ReadDir(userland)
	if err != nil {
		return err
	}
	base, err := cpio.ArchiveFromRecords([]cpio.Record{
		// The kernel makes the root writable for everybody, like a /tmp.
		cpio.Directory(".", 0o755),
		// What a plain user cannot make in a folder. The kernel opens the
		// console for init before that could mount anything.
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.Directory("tmp", 0o1777),
		cpio.Directory("var/tmp", 0o1777),
	})
	if err != nil {
		return err
	}
	files := []string{init + ":init"}
	for _, e := range entries {
		files = append(files, filepath.Join(userland, e.Name())+":"+e.Name())
	}
	if k.ModDir != "" {
		files = append(files, k.ModDir+":lib/modules/"+k.Release)
	}
	out := filepath.Join(tmp, "initramfs.cpio")
	err = uimage.Create(llog.Default(),
		uimage.WithTempDir(tmp),
		uimage.WithBaseArchive(base),
		// ldd would look at the host's libraries, and at the host's version of them.
		uimage.WithSkipLDD(),
		uimage.WithFiles(files...),
		uimage.WithCPIOOutput(out))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.Rename(out, target)
}

// prune removes all but the newest entries that match the pattern.
func prune(pattern string, keep int) error {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	age := func(name string) int64 {
		info, err := os.Stat(name)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(names, func(a, b string) int { return int(max(-1, min(1, age(b)-age(a)))) })
	var errs []error
	for _, name := range names[min(keep, len(names)):] {
		errs = append(errs, os.RemoveAll(name))
	}
	return errors.Join(errs...)
}

// hashOf is a short name for a list of inputs.
func hashOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
