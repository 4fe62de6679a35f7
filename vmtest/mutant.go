// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ksnif/vmtest/proto"
)

// Mutant is a known bug: a patch of the module, and the test that must fail with it.
type Mutant struct {
	Name string // of the file, without .patch
	File string
	What string // the bug, in a line
	Test string // that kills it
	// Config is the queue that has the bug; empty if both have.
	Config string
	// Detector is set if only a kernel's detectors can see the bug: it needs one of the kernels that images/ builds.
	Detector bool
}

// ReadMutants reads the patches of a folder whose names the expression matches, sorted by name.
func ReadMutants(dir, expr string) ([]Mutant, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", expr, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	var list []Mutant
	for _, file := range files {
		m, err := readMutant(file)
		if err != nil {
			return nil, err
		}
		if re.MatchString(m.Name) {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no mutant matches %q in %s", expr, dir)
	}
	return list, nil
}

// readMutant reads the lines before the patch proper: What:, Test: and, for some, Kernel: debug or Config: ring.
func readMutant(file string) (Mutant, error) {
	m := Mutant{Name: strings.TrimSuffix(filepath.Base(file), ".patch"), File: file}
	f, err := os.Open(file)
	if err != nil {
		return m, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "--- ") {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "What":
			m.What = value
		case "Test":
			m.Test = value
		case "Config":
			m.Config = value
		case "Kernel":
			m.Detector = value == "debug"
		}
	}
	if m.What == "" || m.Test == "" {
		return m, fmt.Errorf("%s: lines What: and Test: are missing", file)
	}
	return m, lines.Err()
}

// Fate is what became of a mutant.
type Fate struct {
	Mutant
	Kernel  string
	Killed  bool
	By      string // what the harness said of the test, if it did not fail by itself
	Seconds float64
}

func (f Fate) String() string {
	if f.Killed {
		return fmt.Sprintf("%s: killed by %s (%s, %.0f s)%s", f.Name, f.Test, f.Kernel, f.Seconds, prefixed(": ", f.By))
	}
	return fmt.Sprintf("%s: survived (%s on %s): %s", f.Name, f.Test, f.Kernel, f.What)
}

// Mutants tries the mutants one at a time: the test of each must fail on the module with the bug, and pass on the one
// without, or its failure would mean nothing. Those that only detectors see run on debug, the others on kernel.
func (h *Harness) Mutants(ctx context.Context, list []Mutant, binary, kernel, debug string) ([]Fate, error) {
	n := &nursery{h: h, binary: binary, tree: h.out("mutants", "tree")}
	tests := map[ground][]string{}
	for _, m := range list {
		g := m.ground(kernel, debug, h.Config)
		if !slices.Contains(tests[g], m.Test) {
			tests[g] = append(tests[g], m.Test)
		}
	}
	for g, names := range tests {
		if err := n.healthy(ctx, g, names); err != nil {
			return nil, err
		}
	}
	var fates []Fate
	for i, m := range list {
		h.Progress.Step("mutant %d of %d: %s", i+1, len(list), m.Name)
		fate, err := n.try(ctx, m, m.ground(kernel, debug, h.Config))
		if err != nil {
			return fates, fmt.Errorf("mutant %s: %w", m.Name, err)
		}
		h.Progress.Line("%s", fate)
		fates = append(fates, fate)
	}
	return fates, nil
}

// ground is where a mutant lives: the kernel, and the queue of the module.
type ground struct{ kernel, config string }

func (m Mutant) ground(plain, debug, config string) ground {
	g := ground{plain, config}
	if m.Detector {
		g.kernel = debug
	}
	if m.Config != "" {
		g.config = m.Config
	}
	return g
}

// nursery builds mutants in a tree of their own.
type nursery struct {
	h      *Harness
	binary string
	tree   string
}

// healthy runs the tests that are to kill mutants on the module as it is.
func (n *nursery) healthy(ctx context.Context, g ground, names []string) error {
	module, err := n.build(ctx, g, "")
	if err != nil {
		return err
	}
	slices.Sort(names)
	n.h.Progress.Step("%d tests on %s, %s, without a bug planted", len(names), g.kernel, g.config)
	res, err := n.test(ctx, g, module, names)
	if err != nil {
		return err
	}
	for _, t := range res.Tests {
		if t.Result != proto.Pass {
			return fmt.Errorf("%s does not pass on %s without a mutant: %s\n%s", t.Name, g.kernel, t.Reason, t.Output)
		}
	}
	return nil
}

func (n *nursery) try(ctx context.Context, m Mutant, g ground) (Fate, error) {
	start := time.Now()
	fate := Fate{Mutant: m, Kernel: g.kernel}
	module, err := n.build(ctx, g, m.File)
	if err != nil {
		return fate, err
	}
	res, err := n.test(ctx, g, module, []string{m.Test})
	if err != nil {
		return fate, err
	}
	fate.Seconds = time.Since(start).Seconds()
	fate.Killed, fate.By, err = m.killed(res)
	return fate, err
}

// killed says whether the mutant is, and what by. A kernel that dies before ksnif is loaded says nothing of it.
func (m Mutant) killed(res *Result) (killed bool, by string, err error) {
	for _, t := range res.Tests {
		if slices.ContainsFunc(t.Problems, func(p proto.Problem) bool { return p.Type == neverUp }) {
			return false, "", fmt.Errorf("the kernel does not boot, which is not the mutant's doing: %s", t.Reason)
		}
		// What shows when the module goes (a leak, a file that is still open) is outside of tests: with a
		// single test in the boot there is nobody else to have brought it about.
		if t.Result == proto.Fail && (t.Name == m.Test || t.Name == Outside) {
			killed, by = true, t.Reason
		}
	}
	return killed, by, nil
}

func (n *nursery) test(ctx context.Context, g ground, module string, names []string) (*Result, error) {
	h := n.on(g)
	h.Progress = newQuiet(io.Discard)
	return h.Test(ctx, TestRun{
		Kernel: g.kernel, Binary: n.binary, Module: module, Tests: names, Where: filepath.Join("mutants", filepath.Base(g.kernel)),
	})
}

// on returns a harness for that queue.
func (n *nursery) on(g ground) *Harness {
	one := *n.h
	one.Config = g.config
	return &one
}

// build builds the module, with the patch if there is one, and returns it. Sources are copied anew, so that no
// mutant sees another; kbuild compiles only what differs.
func (n *nursery) build(ctx context.Context, g ground, patch string) (string, error) {
	if err := os.RemoveAll(n.tree); err != nil {
		return "", err
	}
	for _, name := range []string{"kmod", "Kconfig"} {
		if err := copyTree(filepath.Join(n.h.Root, name), filepath.Join(n.tree, name)); err != nil {
			return "", err
		}
	}
	if patch != "" {
		abs, err := filepath.Abs(patch)
		if err != nil {
			return "", err
		}
		// No fuzz: a patch that fits only nearly may plant another bug than it says.
		if _, err := run(ctx, n.tree, "patch", "-p1", "--fuzz=0", "--no-backup-if-mismatch", "-i", abs); err != nil {
			return "", err
		}
	}
	k, err := n.h.Cache.Kernel(ctx, g.kernel)
	if err != nil {
		return "", err
	}
	dir := n.h.out("mutants", n.on(g).name(g.kernel))
	cmd := exec.CommandContext(ctx, filepath.Join(n.tree, "kmod", "build.sh"), k.KDIR, dir, g.config)
	cmd.Env = append(os.Environ(), "KSNIF_OPTIONS="+strings.Join(k.Options, " "))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, tail(string(out), 20))
	}
	return filepath.Join(dir, "ksnif.ko"), nil
}

// copyTree copies a file, or a folder without what a build left in it.
func copyTree(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.CopyFS(to, os.DirFS(from)))
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, b, info.Mode()))
}
