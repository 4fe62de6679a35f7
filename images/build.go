// SPDX-License-Identifier: GPL-2.0

package images

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// buildVersion changes when the way a kernel is built does.
const buildVersion = "build 1"

// builtKernel returns a kernel of [recipes], built unless one of the same inputs is in the cache. That takes about
// twenty minutes on two processors; other users of the cache need not wait for it.
func (c *Cache) builtKernel(ctx context.Context, name string) (*Kernel, error) {
	r := recipes()[name]
	config, err := r.config(name)
	if err != nil {
		return nil, err
	}
	kv, err := c.version(ctx, r.series)
	if err != nil {
		return nil, err
	}
	root, err := c.builtDir(ctx, name, kv)
	if err != nil {
		return nil, err
	}
	if !exists(root) {
		if err := c.buildKernel(ctx, name, r, config, root); err != nil {
			return nil, fmt.Errorf("build it: %w", err)
		}
	}
	return describeBuilt(name, r, root)
}

// builtDir is where a kernel of [recipes] lies in the cache, once it is built. The name changes with all that goes
// into it.
func (c *Cache) builtDir(ctx context.Context, name string, kv kernelVersion) (string, error) {
	r := recipes()[name]
	config, err := r.config(name)
	if err != nil {
		return "", err
	}
	// The module is built by the same compiler: gcov's files, for one, have no other reader.
	compiler, err := run(ctx, "", "gcc", "-dumpfullversion")
	if err != nil {
		return "", err
	}
	inputs := hashOf(buildVersion, kv.Packages[0].Version, config, fmt.Sprint(r.edits), compiler)
	return c.path("kernels", name+"-"+inputs), nil
}

// describeBuilt describes a kernel that was built into root.
func describeBuilt(name string, r recipe, root string) (*Kernel, error) {
	k := &Kernel{
		Name: name, Image: filepath.Join(root, "bzImage"), KDIR: filepath.Join(root, "build"), Options: r.options,
	}
	k.Config = filepath.Join(k.KDIR, ".config")
	var err error
	if k.Release, err = utsRelease(k.KDIR); err != nil {
		return nil, err
	}
	k.ModDir = filepath.Join(root, "lib/modules", k.Release)
	return k, nil
}

// buildKernel fetches the source, and builds in a folder of its own under a lock of its own.
func (c *Cache) buildKernel(ctx context.Context, name string, r recipe, config, target string) error {
	unlock, err := c.lockFile(ctx, "lock-"+name, "waiting for another run to build kernel "+name)
	if err != nil {
		return err
	}
	defer unlock()
	if exists(target) { // built while we waited
		return nil
	}
	deb, err := c.sourceDeb(ctx, r.series)
	if err != nil {
		return err
	}
	// What a build that was interrupted has compiled stays, for the next run to go on with.
	dir := c.path("builds", filepath.Base(target))
	b := &kernelBuild{cache: c, name: name, recipe: r, config: config, dir: dir, tree: filepath.Join(dir, "build")}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return b.source(ctx, deb) }, b.configure, b.compile, b.install, b.trim,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.Rename(dir, target)
}

// kernelBuild is one kernel on its way from source to what a VM boots.
type kernelBuild struct {
	cache  *Cache
	name   string
	recipe recipe
	config string
	dir    string // becomes the cache's entry
	tree   string // source and objects in it; becomes KDIR
}

// source makes the tree, unless an earlier run did.
func (b *kernelBuild) source(ctx context.Context, deb string) error {
	if exists(b.tree) {
		return nil
	}
	if err := os.RemoveAll(b.dir); err != nil {
		return err
	}
	fresh := &kernelBuild{cache: b.cache, recipe: b.recipe, tree: b.tree + ".new"}
	if err := os.MkdirAll(fresh.tree, 0o755); err != nil {
		return err
	}
	if err := b.cache.unpackTree(ctx, deb, "linux-source-"+b.recipe.series, fresh.tree, nil); err != nil {
		return err
	}
	if err := fresh.edit(); err != nil {
		return err
	}
	return os.Rename(fresh.tree, b.tree)
}

func (b *kernelBuild) edit() error {
	for _, e := range b.recipe.edits {
		file := filepath.Join(b.tree, e.file)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		changed := strings.Replace(string(text), e.line+"\n", "", 1)
		if changed == string(text) {
			return fmt.Errorf("%s has no line %q any more (%s)", e.file, e.line, e.why)
		}
		if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// make runs the kernel's make. The flags of a make above us are not for it.
func (b *kernelBuild) make(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "make", append([]string{"-s", "-C", b.tree}, args...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "MAKE") && !strings.HasPrefix(v, "MFLAGS=") && !strings.HasPrefix(v, "KERNEL") &&
			!strings.HasPrefix(v, "CONFIG") && !strings.HasPrefix(v, "KDIR=") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "KBUILD_BUILD_USER=ksnif", "KBUILD_BUILD_HOST=ksnif", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make %s: %w\n%s", strings.Join(args, " "), err, tail(string(out), 20))
	}
	return nil
}

// configure makes the .config, unless an earlier run did: made anew, it would have all compiled anew. Then it proves
// that all that was asked for is really in it: an option whose dependencies are missing vanishes without a word.
func (b *kernelBuild) configure(ctx context.Context) error {
	file := filepath.Join(b.tree, ".config")
	if !exists(file) {
		if err := b.makeConfig(ctx, file); err != nil {
			return errors.Join(err, os.RemoveAll(file))
		}
	}
	done, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if bad := unset(b.config, string(done)); len(bad) > 0 {
		return fmt.Errorf("the configuration lost options:\n%s", strings.Join(bad, "\n"))
	}
	return nil
}

func (b *kernelBuild) makeConfig(ctx context.Context, file string) error {
	if err := b.make(ctx, "tinyconfig"); err != nil {
		return err
	}
	tiny, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	// Of two lines about an option the last one counts.
	if err := os.WriteFile(file, append(tiny, b.config...), 0o644); err != nil {
		return err
	}
	return b.make(ctx, "olddefconfig")
}

func (b *kernelBuild) compile(ctx context.Context) error {
	return b.cache.step(ctx, "building kernel "+b.name+", 20 minutes on two processors", func() error {
		return b.make(ctx, "-j"+strconv.Itoa(runtime.NumCPU()), "bzImage", "modules")
	})
}

// install puts image and modules where a VM's boot finds them.
func (b *kernelBuild) install(ctx context.Context) error {
	if err := b.make(ctx, "modules_install", "INSTALL_MOD_PATH="+b.dir); err != nil {
		return err
	}
	links, err := filepath.Glob(filepath.Join(b.dir, "lib/modules/*/build"))
	if err != nil {
		return err
	}
	for _, link := range links { // to this tree, which is renamed in the end
		if err := errors.Join(os.Remove(link), os.RemoveAll(filepath.Join(filepath.Dir(link), "source"))); err != nil {
			return err
		}
	}
	return os.Rename(filepath.Join(b.tree, "arch/x86/boot/bzImage"), filepath.Join(b.dir, "bzImage"))
}

// trim leaves of the tree what building a module needs: a tenth of it.
func (b *kernelBuild) trim(context.Context) error {
	return filepath.WalkDir(b.tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(b.tree, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if !unneededDir(rel) {
				return nil
			}
			if err := os.RemoveAll(path); err != nil {
				return err
			}
			return fs.SkipDir
		}
		if neededForModules(rel) {
			return nil
		}
		return os.Remove(path)
	})
}

// unneededDir says whether nothing of a folder of the tree is needed to build a module.
func unneededDir(rel string) bool {
	dir, name := filepath.Split(rel)
	return rel == "Documentation" || rel == "samples" || dir == "arch/" && name != "x86"
}

// neededForModules says whether building a module needs a file of the tree.
func neededForModules(rel string) bool {
	base := filepath.Base(rel)
	top, _, _ := strings.Cut(rel, "/")
	switch {
	case top == "scripts", top == "include", rel == "tools/objtool/objtool", rel == ".config", rel == "Module.symvers":
		return true
	case strings.HasPrefix(base, "Makefile"), strings.HasPrefix(base, "Kbuild"), strings.HasPrefix(base, "Kconfig"):
		return true
	}
	return filepath.Ext(base) == ".h"
}
