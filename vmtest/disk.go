// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tool finds a program of e2fsprogs, which a user without root has outside of PATH.
func tool(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); isFile(path) {
			return path
		}
	}
	return name
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func run(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool(name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// makeOutDisk makes an ext4 image with the contents of seed, if there is one. It is sparse: it takes only the space
// that is written to.
func makeOutDisk(ctx context.Context, file, seed string, mb int) error {
	if err := makeSparse(file, int64(mb)<<20); err != nil {
		return err
	}
	args := []string{"-q", "-F", "-m", "0", "-J", "size=16", "-E", "root_owner=0:0"}
	if seed != "" {
		args = append(args, "-d", seed)
	}
	_, err := run(ctx, "", "mkfs.ext4", append(args, file)...)
	return err
}

// makeInDisk makes an ext4 image with the contents of dir.
func makeInDisk(ctx context.Context, file, dir string) error {
	var bytes, files int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		files++
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("input folder: %w", err)
	}
	// Room for block rounding, inodes and metadata.
	if err := makeSparse(file, bytes*5/4+files*8192+(32<<20)); err != nil {
		return err
	}
	_, err = run(ctx, "", "mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal",
		"-N", fmt.Sprint(files+1024), "-d", dir, file)
	if err != nil {
		return err
	}
	_, err = run(ctx, "", "debugfs", "-w", "-R", "rmdir lost+found", file)
	return err
}

func makeSparse(file string, size int64) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// fetchDisk copies what is on an ext4 image to dir. The guest may have died with it mounted: e2fsck replays the
// journal first. Files belong to the caller then and can be read, whoever made them in the guest.
func fetchDisk(ctx context.Context, file, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// 0 is clean, 1 and 2 are repaired.
	if _, err := run(ctx, "", "e2fsck", "-fy", file); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() > 2 {
			return fmt.Errorf("results disk: %w", err)
		}
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	// It complains of what it may not do to owners, and exits with 0 whatever happened.
	out, err := run(ctx, dir, "debugfs", "-R", "rdump / .", abs)
	if err != nil {
		return fmt.Errorf("results disk: %w", err)
	}
	if msg := dumpTrouble(out); msg != "" {
		return fmt.Errorf("results disk: debugfs: %s", msg)
	}
	if err := os.RemoveAll(filepath.Join(dir, "lost+found")); err != nil {
		return err
	}
	if err := own(dir); err != nil {
		return err
	}
	return os.Chmod(dir, 0o755) // in the guest anybody may write there
}

// dumpTrouble returns what debugfs said that is worth failing for.
func dumpTrouble(out string) string {
	var bad []string
	for _, line := range strings.Split(out, "\n") {
		switch {
		case line == "", strings.HasPrefix(line, "debugfs 1."), strings.Contains(line, "while changing ownership"):
		default:
			bad = append(bad, line)
		}
	}
	return strings.Join(bad, "; ")
}

// own gives everything below dir to the caller.
func own(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, os.Getuid(), os.Getgid()); err != nil && os.Getuid() == 0 {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			return os.Chmod(path, info.Mode().Perm()|0o700)
		case info.Mode().IsRegular():
			return os.Chmod(path, info.Mode().Perm()|0o600)
		}
		return nil
	})
}
