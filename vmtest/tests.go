// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"ksnif/vmtest/proto"
)

// maxIdleBoots is how many boots in a row may end without a test having got its result.
const maxIdleBoots = 2

// TestRun says what to test.
type TestRun struct {
	Kernel string
	Binary string // test binary for the guest
	Run    string // regular expression as in go test -run, or nothing
	Skip   string // regular expression of tests that are left out, or nothing
	Module string // ksnif.ko to load, or nothing for the one of KERNEL-CONFIG
	CPUs   int    // of the machine, unless CPUS= says it; 0 is what all have
	Cover  bool   // Binary and the tool were built with -cover
	Where  string // folder below out/vmtest for the results; KERNEL-CONFIG if empty

	// The rest is for tests of the harness, and for those that need more than a boot.
	Tests     []string          // run these, whatever the binary lists
	Skips     []allowedSkip     // instead of those of allowedSkips
	More      map[string]string // more files: path in the guest to path on the host
	In        string            // folder to show at /in, or nothing
	Disks     []Disk            // more disks
	TestLimit time.Duration
	Silence   time.Duration
}

// ErrNoTests means that Run matches nothing.
var ErrNoTests = errors.New("no test matches")

// List returns the tests of a binary, without those for machines that are killed.
func List(ctx context.Context, binary string) ([]string, error) {
	cmd := exec.CommandContext(ctx, binary, "-test.list", ".")
	cmd.Env = append(os.Environ(), "KSNIF_LIST=1")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list tests of %s: %w", binary, err)
	}
	var names []string
	for _, line := range strings.Fields(string(bytes.TrimSpace(out))) {
		if strings.HasPrefix(line, "Test") && !strings.HasPrefix(line, crashTests) {
			names = append(names, line)
		}
	}
	return names, nil
}

// selected are the tests that are to run, of all those of the binary, and the expression for their subtests.
func (r TestRun) selected(all []string) (names []string, sub string, err error) {
	top, sub, _ := strings.Cut(r.Run, "/")
	run, err := regexp.Compile(top)
	if err != nil {
		return nil, "", fmt.Errorf("run %s: %w", r.Run, err)
	}
	skip, err := regexp.Compile(r.Skip)
	if err != nil {
		return nil, "", fmt.Errorf("skip %s: %w", r.Skip, err)
	}
	for _, name := range all {
		if run.MatchString(name) && (r.Skip == "" || !skip.MatchString(name)) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, "", fmt.Errorf("%w %q", ErrNoTests, r.Run)
	}
	return names, sub, nil
}

// Test runs tests on a kernel, with as many boots as it takes, and returns one result for each of them. The error
// is for what keeps it from starting at all, and for an interruption.
func (h *Harness) Test(ctx context.Context, r TestRun) (*Result, error) {
	names, sub := r.Tests, ""
	var all []string
	if names == nil {
		var err error
		if all, err = List(ctx, r.Binary); err != nil {
			return nil, err
		}
		if names, sub, err = r.selected(all); err != nil {
			return nil, err
		}
	}
	guest, err := h.guest(ctx, r.Kernel, r.Module)
	if err != nil {
		return nil, err
	}
	if guest.Tests, err = filepath.Abs(r.Binary); err != nil {
		return nil, err
	}
	guest.Schema, guest.More = filepath.Join(h.Root, "ctl", "schema"), r.More
	guest.In, guest.Disks = r.In, r.Disks
	if r.Where == "" {
		r.Where = h.name(r.Kernel)
	}
	t := &testLoop{h: h, run: r, guest: guest, sub: sub, dir: h.out("vmtest", r.Where)}
	t.judge = newJudge(names, skipPolicy{kernelKind(r.Kernel), r.Skips})
	if r.Tests == nil {
		t.judge.mayskip.list = allowedSkips()
		if r.Run == "" {
			t.judge.missing(t.judge.mayskip.stale(all))
		}
	}
	return t.all(ctx)
}

// testLoop boots until every test has a result.
type testLoop struct {
	h     *Harness
	run   TestRun
	guest Guest
	sub   string
	judge *judge
	dir   string
	accel Accel
}

func (t *testLoop) all(ctx context.Context) (*Result, error) {
	start := time.Now()
	leave, err := occupy(t.dir)
	if err != nil {
		return nil, err
	}
	defer leave()
	log, err := os.Create(filepath.Join(t.dir, "console.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	t.judge.onEnd = t.h.Progress.test
	t.judge.onStart = func(test *Test) { t.h.Progress.Status("run   %s", test.Name) }
	err = t.boots(ctx, log)
	t.judge.giveUp(giveUpReason(err))
	res := &Result{
		Where: t.run.Where, Release: t.guest.Kernel.Release, Accel: t.accel, Boots: t.judge.boot,
		Seconds: time.Since(start).Seconds(), Tests: t.judge.results(),
	}
	if len(t.judge.outside.Problems) > 0 {
		t.h.Progress.test(t.judge.outside)
	}
	if werr := res.Write(filepath.Join(t.dir, "result.json")); werr != nil {
		return res, werr
	}
	if interrupted(err) {
		return res, err
	}
	return res, nil
}

func giveUpReason(err error) string {
	switch {
	case interrupted(err):
		return "interrupted"
	case err != nil:
		return err.Error()
	}
	return fmt.Sprintf("%d boots in a row ended before a test did", maxIdleBoots)
}

// boots boots as long as tests remain and boots bring results.
func (t *testLoop) boots(ctx context.Context, log *os.File) error {
	for idle := 0; idle < maxIdleBoots; {
		before := t.judge.remaining()
		if len(before) == 0 {
			return nil
		}
		fell, err := t.boot(ctx, before, log)
		if err != nil {
			return err
		}
		switch {
		case fell:
		case len(t.judge.remaining()) == len(before):
			idle++
		default:
			idle = 0
		}
	}
	return nil
}

// boot runs one boot, and says whether another is due because the emulator was to blame for its end.
func (t *testLoop) boot(ctx context.Context, names []string, log *os.File) (fell bool, err error) {
	accel, why, err := t.h.accel()
	if err != nil {
		return false, err
	}
	t.accel = accel
	limit := testsTimeout
	if t.h.Options.Long || isDebug(t.guest.Kernel) {
		limit = longTimeout
	}
	o := t.h.options(t.guest, accel, limit)
	if t.run.CPUs > 0 && t.h.Options.CPUs == 0 {
		o.CPUs = t.run.CPUs
	}
	plan := t.h.plan(proto.ModeTests, t.run.Kernel, t.guest, accel, o)
	plan.Cover = t.run.Cover
	plan.Tests, plan.SubRun = names, t.sub
	if t.run.TestLimit > 0 {
		plan.TestLimit = t.run.TestLimit
	}
	t.h.announce(t.guest, accel, why)
	b, err := newBoot(ctx, t.h.out("tmp"), t.guest, plan, o, accel)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, b.clean()) }()
	b.silence, b.log = t.run.Silence, log
	t.judge.begin()
	fmt.Fprintf(log, "=== boot %d, tests left: %s\n", t.judge.boot, strings.Join(names, " "))
	end, err := b.run(ctx, &logged{sink: t.judge, log: log})
	if err != nil {
		t.interrupt(err)
		return false, err
	}
	if t.h.again(accel, end) {
		return true, nil
	}
	t.judge.finishBoot(end)
	return false, t.fetch(ctx, b)
}

// interrupt closes the test that ran.
func (t *testLoop) interrupt(err error) {
	if t.judge.running != nil {
		t.judge.running.fail(giveUpReason(err))
		t.judge.finish(t.judge.running)
	}
}

// fetch brings back what tests left on the results disk, if anything.
func (t *testLoop) fetch(ctx context.Context, b *boot) error {
	dir := filepath.Join(t.dir, fmt.Sprintf("out-%d", t.judge.boot))
	if err := fetchDisk(ctx, b.file("out.img"), dir); err != nil {
		t.judge.outside.blame(proto.Problem{Type: "disk", Text: err.Error()})
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) == 0 {
		return os.Remove(dir)
	}
	return err
}

// logged keeps the console, and notes in it what ran when.
type logged struct {
	sink
	log *os.File
}

func (l *logged) console(line string) {
	_, _ = l.log.WriteString(strings.TrimRight(line, "\r\n") + "\n")
	l.sink.console(line)
}

func (l *logged) record(r proto.Record) {
	if slices.Contains([]proto.Kind{proto.KindStart, proto.KindEnd, proto.KindVerdict}, r.Kind) {
		fmt.Fprintln(l.log, strings.TrimSpace(fmt.Sprintf("=== %s %s %s", r.Kind, r.Test, r.Result)))
	}
	l.sink.record(r)
}
