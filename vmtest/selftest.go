// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ksnif/vmtest/proto"
)

// expectation is what the harness has to make of one misbehaving test.
type expectation struct {
	name   string
	result proto.Result
	text   string // in the reason or in a problem
}

// expectations are in an order that has many tests share a boot: what ends the VM comes last.
func expectations() []expectation {
	return []expectation{
		{"TestPass", proto.Pass, ""},
		{"TestSkip", proto.Skip, "a reason"},
		{"TestSkipWithoutReason", proto.Fail, "without a reason"},
		{"TestSubtestSkipWithoutReason", proto.Fail, "without a reason"},
		{"TestFail", proto.Fail, ""},
		{"TestExit0", proto.Fail, "did not report how it ended"},
		{"TestExit1", proto.Fail, "did not report how it ended"},
		{"TestGoPanic", proto.Fail, "process died: exit status 2"},
		{"TestSIGKILL", proto.Fail, "process died: signal: killed"},
		{"TestHang", proto.Fail, "test limit: not done after 5s"},
		{"TestIsInNoBinary", proto.Fail, "did not report how it ended"},
		{"TestSplat", proto.Fail, "WARNING: CPU: 0 PID: 1 at kernel/selftest.c:1"},
		{"TestAllowedSplat", proto.Pass, ""},
		{"TestOtherThanAllowedSplat", proto.Fail, "BUG: this one is not"},
		{"TestLeftProcess", proto.Fail, "left behind: process"},
		{"TestLeftNamespace", proto.Fail, "left behind: network namespace left"},
		{"TestLeftMount", proto.Fail, "left behind: mount /tmp/left"},
		{"TestLeftDevice", proto.Fail, "left behind: network device left0"},
		{"TestTaint", proto.Fail, "kernel is tainted: 64"},
		{"TestPanic", proto.Fail, "Kernel panic - not syncing: sysrq triggered crash"},
		{"TestEndsVM", proto.Fail, "the VM ended without a verdict"},
		{"TestSilence", proto.Fail, "silence limit: the guest said nothing for"},
		{"TestStuck", proto.Fail, "cannot be killed"},
	}
}

// Limits for the tests that hang: what they prove does not get better by waiting.
const (
	selftestLimit   = 5 * time.Second
	selftestSilence = 10 * time.Second
)

// Selftest boots tests that misbehave, and checks that the harness says so of each of them. The misbehaving tests'
// own results go to out/vmtest/selftest/; those returned are of the harness.
func (h *Harness) Selftest(ctx context.Context, kernel string) (*Result, error) {
	start := time.Now()
	h.Progress.Step("self-test of the harness: about 20 tests that misbehave")
	binary := h.out("bin", "selftest")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", binary, "./vmtest/selftest")
	build.Dir = h.Root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the self-test: %w: %s", err, strings.TrimSpace(string(out)))
	}
	run := TestRun{
		Kernel: kernel, Binary: binary, Where: "selftest", TestLimit: selftestLimit, Silence: selftestSilence,
	}
	for _, e := range expectations() {
		run.Tests = append(run.Tests, e.name)
	}
	dir := h.out("vmtest", "selftest")
	if err := emptyDir(dir); err != nil {
		return nil, err
	}
	inner := *h
	log, err := os.Create(dir + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	inner.Progress = newQuiet(log)
	inner.NoModule = true
	got, err := inner.Test(ctx, run)
	if err != nil {
		return nil, err
	}
	res := &Result{Where: "selftest", Release: got.Release, Accel: got.Accel, Boots: got.Boots, Tests: judgeSelftest(got)}
	for _, t := range res.Tests {
		h.Progress.test(t)
	}
	res.Seconds = time.Since(start).Seconds()
	return res, res.Write(filepath.Join(h.out("vmtest"), "selftest.json"))
}

// judgeSelftest compares what the harness said of every test with what it has to say.
func judgeSelftest(got *Result) []*Test {
	results := map[string]*Test{}
	for _, t := range got.Tests {
		results[t.Name] = t
	}
	var list []*Test
	for _, e := range expectations() {
		t := &Test{Name: "harness/" + e.name, Result: proto.Pass}
		g := results[e.name]
		delete(results, e.name)
		if g == nil {
			t.fail("the harness has no result for it")
		} else {
			t.Seconds, t.Boot = g.Seconds, g.Boot
			e.compare(t, g)
		}
		list = append(list, t)
	}
	for _, g := range results {
		t := &Test{Name: "harness/" + g.Name}
		t.Problems, t.Output = g.Problems, g.Output
		t.fail("the harness reported it, and nothing should have happened there")
		list = append(list, t)
	}
	return list
}

func (e expectation) compare(t, got *Test) {
	texts := []string{got.Reason}
	for _, p := range got.Problems {
		texts = append(texts, p.Text)
	}
	all := strings.Join(texts, "; ")
	switch {
	case got.Result != e.result:
		t.fail(fmt.Sprintf("the harness says %q (%s), it has to say %q", got.Result, all, e.result))
	case !strings.Contains(all, e.text):
		t.fail(fmt.Sprintf("the harness gives the reason %q, it has to be %q", all, e.text))
	}
}
