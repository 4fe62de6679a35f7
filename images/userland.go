// SPDX-License-Identifier: GPL-2.0

package images

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// userlandVersion changes when what is taken from the packages does.
const userlandVersion = "userland 1"

// userlandPackages are the packages that the guest's programs come from.
func userlandPackages() []string {
	return []string{
		"bash", "busybox-static", "dash", "dmsetup", "e2fsprogs", "ethtool", "iproute2", "iputils-ping", "kmod", "libc-bin", "mount",
		"netsniff-ng", "nftables", "procps", "tcpdump", "util-linux", "wireshark-common", "xfsprogs", "netbase",
	}
}

// unneededPackages are large ones among the dependencies that the programs
// below do not link to. An error here cannot go unseen: a program that misses
// a library fails the build of the userland.
func unneededPackages() []string {
	return []string{
		"libwireshark16", "libwireshark-data", "libwiretap13", "libicu72", "python3", "libpython3", "perl",
		"debconf", "dpkg", "tar", "adduser", "passwd", "libxml2", "libtiff6", "libsqlite3-0", "libdb5.3", "libpam",
		"media-types", "libspandsp2", "libc-ares2", "mime-support", "base-files", "debianutils", "gcc-12-base",
	}
}

// programs are what the guest gets, besides busybox's applets for all other
// names. They go to /bin or /sbin, as in their package.
func programs() []string {
	return []string{
		"bash", "blkid", "blockdev", "bridge", "busybox", "capsh", "dash", "dmesg", "dmsetup", "dumpcap", "ethtool",
		"fallocate", "fsfreeze", "findmnt", "flock", "getent", "ip", "kmod", "losetup", "lsns", "mkfs.xfs", "mke2fs",
		"mount", "netsniff-ng", "nft", "nsenter", "nstat", "ping", "prlimit", "rtmon", "setpriv", "ss", "sysctl", "taskset", "tc",
		"tcpdump", "tune2fs", "umount", "unshare", "e2fsck", "debugfs", "xfs_io",
	}
}

// programLinks are the other names of these programs, and what they lead to.
//
// The shell is not busybox's: that runs its own applets in the place of the
// programs, and so would ignore the real ip, tc and ping.
func programLinks() map[string]string {
	links := map[string]string{"bin/sh": "dash", "sbin/ip": "../bin/ip", "bin/ping4": "ping", "bin/ping6": "ping", "bin/lsmod": "kmod"}
	for _, name := range []string{"depmod", "insmod", "modinfo", "modprobe", "rmmod"} {
		links["sbin/"+name] = "../bin/kmod"
	}
	for _, name := range []string{"mkfs.ext2", "mkfs.ext3", "mkfs.ext4"} {
		links["sbin/"+name] = "mke2fs"
	}
	links["sbin/fsck.ext4"] = "e2fsck"
	return links
}

// userland returns the folder that becomes the guest's root, without modules
// and init.
func (c *Cache) userland(ctx context.Context) (string, error) {
	v, err := c.resolved()
	if err != nil {
		return "", err
	}
	if v.Userland != nil {
		if dir := c.userlandDir(v.Userland); exists(dir) {
			return dir, nil
		}
	}
	pkgs, err := c.fetchUserland(ctx)
	if err != nil {
		return "", fmt.Errorf("guest's programs: %w", err)
	}
	return c.userlandDir(pkgs), nil
}

func (c *Cache) userlandDir(pkgs []pkg) string {
	parts := []string{userlandVersion, strings.Join(programs(), " "), fmt.Sprint(programLinks()), fmt.Sprint(etcFiles())}
	for _, p := range pkgs {
		parts = append(parts, p.String())
	}
	return c.path("userland", hashOf(parts...))
}

// fetchUserland resolves the packages unless that has happened, fetches them
// and makes the guest's root of them.
func (c *Cache) fetchUserland(ctx context.Context) ([]pkg, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	v, err := c.resolved()
	if err != nil {
		return nil, err
	}
	a, err := c.apt("amd64")
	if err != nil {
		return nil, err
	}
	if !hasAll(v.Userland, userlandPackages()) {
		if v.Userland, err = c.resolveUserland(ctx, a); err != nil {
			return nil, err
		}
		if err := c.saveResolved(v); err != nil {
			return nil, err
		}
	}
	target := c.userlandDir(v.Userland)
	if exists(target) {
		return v.Userland, nil
	}
	err = c.replaceDir(target, func(dir string) error { return c.buildUserland(ctx, a, v.Userland, dir) })
	return v.Userland, errors.Join(err, prune(c.path("userland", "*"), keepArchives))
}

// resolveUserland asks the lists for the guest's packages now.
func (c *Cache) resolveUserland(ctx context.Context, a *apt) (pkgs []pkg, err error) {
	err = c.step(ctx, "asking the mirror for the guest's programs", func() error {
		pkgs, err = a.closure(ctx, suiteStable, userlandPackages()...)
		return err
	})
	return neededPackages(pkgs), err
}

// hasAll says whether pkgs has a package of each name.
func hasAll(pkgs []pkg, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		return !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.Name == name })
	})
}

// neededPackages leaves out the packages that nothing in the guest uses.
func neededPackages(all []pkg) []pkg {
	var pkgs []pkg
	for _, p := range all {
		if !slices.ContainsFunc(unneededPackages(), func(prefix string) bool { return strings.HasPrefix(p.Name, prefix) }) {
			pkgs = append(pkgs, p)
		}
	}
	slices.SortFunc(pkgs, func(a, b pkg) int { return strings.Compare(a.Name, b.Name) })
	return pkgs
}

// buildUserland fetches and unpacks the packages and copies to dir what the
// guest gets of them.
func (c *Cache) buildUserland(ctx context.Context, a *apt, pkgs []pkg, dir string) error {
	debs, root := filepath.Join(dir, ".debs"), filepath.Join(dir, ".root")
	if err := errors.Join(os.Mkdir(debs, 0o755), os.Mkdir(root, 0o755)); err != nil {
		return err
	}
	if err := c.step(ctx, "fetching the guest's programs (25 MB)", func() error { return a.download(ctx, debs, pkgs) }); err != nil {
		return err
	}
	return c.step(ctx, "unpacking the guest's programs", func() error {
		names, err := filepath.Glob(filepath.Join(debs, "*.deb"))
		if err != nil {
			return err
		}
		for _, deb := range names {
			if err := unpack(ctx, deb, root); err != nil {
				return err
			}
		}
		if err := installUserland(ctx, root, dir); err != nil {
			return err
		}
		return errors.Join(os.RemoveAll(debs), os.RemoveAll(root))
	})
}

// installUserland copies programs, the libraries they need and /etc from the
// unpacked packages in root to dir.
//
// The guest's bin, sbin and lib are folders and usr's are links to them, not
// the other way round as in Debian: a folder in a second archive would replace
// such a link in the first.
func installUserland(ctx context.Context, root, dir string) error {
	g := &guestRoot{packages: root, dir: dir, libs: map[string]bool{}}
	if err := g.addFolders(); err != nil {
		return err
	}
	for _, name := range programs() {
		if err := g.addProgram(name); err != nil {
			return err
		}
	}
	// glibc loads this one by name when a thread is cancelled.
	if err := g.addLibrary("libgcc_s.so.1"); err != nil {
		return err
	}
	for link, target := range programLinks() {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			return err
		}
	}
	if err := g.addEtc(); err != nil {
		return err
	}
	return linkApplets(ctx, dir)
}

// etcFiles are the guest's configuration files.
func etcFiles() map[string]string {
	return map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n" +
			"tcpdump:x:104:104::/var/empty:/bin/false\n" +
			"user:x:1000:1000::/home/user:/bin/sh\n" +
			"nobody:x:65534:65534::/var/empty:/bin/false\n",
		"etc/group":         "root:x:0:\ntty:x:5:\nwireshark:x:103:\ntcpdump:x:104:\nuser:x:1000:\nnogroup:x:65534:\n",
		"etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n",
		"etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"etc/hostname":      "ksnif\n",
		// Where no udev does it, the disks of scsi_debug need their driver.
		"etc/modprobe.d/ksnif.conf": "softdep scsi_debug post: sd_mod\n",
		"etc/profile":               "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n",
	}
}

// linkApplets makes a link to busybox for every applet whose name is free. The
// static busybox runs on the host too, whatever that is.
func linkApplets(ctx context.Context, dir string) error {
	out, err := run(ctx, "", filepath.Join(dir, "bin/busybox"), "--list-full")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(out) {
		name = strings.TrimPrefix(name, "usr/")
		base := path.Base(name)
		if existsLink(filepath.Join(dir, "bin", base)) || existsLink(filepath.Join(dir, "sbin", base)) {
			continue
		}
		if d := path.Dir(name); d != "bin" && d != "sbin" {
			continue // linuxrc
		}
		if err := os.Symlink("/bin/busybox", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func existsLink(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// guestRoot copies programs from unpacked packages.
type guestRoot struct {
	packages string          // where the packages are unpacked
	dir      string          // the root that is being made
	libs     map[string]bool // libraries that are there
}

// addFolders makes the folders that hold programs, libraries and mounts.
func (g *guestRoot) addFolders() error {
	for _, d := range []string{
		"bin", "sbin", "lib/x86_64-linux-gnu", "lib64", "etc/modprobe.d", "usr", "dev", "proc", "sys", "run", "root", "home/user",
		"mnt", "out", "in", "var/log", "var/empty", "ksnif",
	} {
		if err := os.MkdirAll(filepath.Join(g.dir, d), 0o755); err != nil {
			return err
		}
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("../"+d, filepath.Join(g.dir, "usr", d)); err != nil {
			return err
		}
	}
	return nil
}

// addEtc fills /etc, from the packages where they have a file.
func (g *guestRoot) addEtc() error {
	for _, name := range []string{"etc/protocols", "etc/services", "etc/rpc", "etc/ethertypes", "etc/mke2fs.conf"} {
		if err := copyFile(filepath.Join(g.packages, name), filepath.Join(g.dir, name), 0o644); err != nil {
			return err
		}
	}
	for name, text := range etcFiles() {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// addProgram copies a program and its libraries.
func (g *guestRoot) addProgram(name string) error {
	for _, d := range []string{"bin", "sbin", "usr/bin", "usr/sbin"} {
		file, err := resolveIn(g.packages, path.Join(d, name))
		if err != nil {
			continue
		}
		return g.add(file, path.Join(path.Base(d), name))
	}
	return fmt.Errorf("program %s is in none of the packages %v", name, userlandPackages())
}

// addLibrary copies a shared library and those it needs.
func (g *guestRoot) addLibrary(soname string) error {
	if g.libs[soname] {
		return nil
	}
	g.libs[soname] = true
	for _, d := range []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib64", "usr/lib64", "usr/lib/x86_64-linux-gnu/wireshark"} {
		if file, err := resolveIn(g.packages, path.Join(d, soname)); err == nil {
			return g.add(file, path.Join("lib/x86_64-linux-gnu", soname))
		}
	}
	return fmt.Errorf("library %s is in none of the unpacked packages", soname)
}

// add copies an ELF file to a name in the guest, and what it is linked to.
func (g *guestRoot) add(file, name string) error {
	if err := copyFile(file, filepath.Join(g.dir, name), 0o755); err != nil {
		return err
	}
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if f.Section(".interp") != nil {
		const loader = "ld-linux-x86-64.so.2"
		libs = append(libs, loader)
		if link := filepath.Join(g.dir, "lib64", loader); !existsLink(link) {
			if err := os.Symlink("/lib/x86_64-linux-gnu/"+loader, link); err != nil {
				return err
			}
		}
	}
	for _, lib := range libs {
		if err := g.addLibrary(lib); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// resolveIn follows the symbolic links of name as if root were /.
func resolveIn(root, name string) (string, error) {
	for range 16 {
		file := filepath.Join(root, name)
		info, err := os.Lstat(file)
		if err != nil {
			return "", err
		}
		if info.Mode()&os.ModeSymlink == 0 {
			return file, nil
		}
		target, err := os.Readlink(file)
		if err != nil {
			return "", err
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir("/"+name), target)
		}
		name = path.Clean(target)
	}
	return "", fmt.Errorf("%s: too many symbolic links", name)
}
