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

	"ksnif/images"
	"ksnif/vmtest/proto"
)

// expectation is what the harness has to make of one misbehaving test.
type expectation struct {
	name   string
	result proto.Result
	text   string // in the reason or in a problem
}

// splat is a test that makes the kernel complain.
type splat struct {
	name  string
	needs string // option of the kernel without which it does not notice
	text  string
	kasan string // what a kernel with KASAN says instead, if it is another thing
}

// splats are planted with the module in selftest/splat/. Those that the kernel survives come first.
func splats() []splat {
	return []splat{
		{name: "TestSplatRCUStall", needs: "SMP", text: "rcu: INFO: rcu_"},
		{name: "TestSplatDataRace", needs: "KCSAN", text: "BUG: KCSAN: data-race in race"},
		{name: "TestSplatSleepInAtomic", needs: "DEBUG_ATOMIC_SLEEP", text: "BUG: sleeping function called from invalid context at "},
		{name: "TestSplatLockInversion", needs: "PROVE_LOCKING", text: "WARNING: possible circular locking dependency detected"},
		{name: "TestSplatRCUUsage", needs: "PROVE_RCU", text: "WARNING: suspicious RCU usage"},
		{name: "TestSplatUseAfterFree", needs: "KASAN", text: "use-after-free in use_after_free+"},
		{name: "TestSplatOutOfBounds", needs: "KASAN", text: "BUG: KASAN: slab-out-of-bounds in out_of_bounds+"},
		{name: "TestSplatNullPointer", needs: "BUG", text: "BUG: kernel NULL pointer dereference, address: 0000000000000000",
			kasan: "general protection fault, probably for non-canonical address 0xdffffc0000000000"}, // the shadow of address 0
		{name: "TestSplatWarn", needs: "BUG", text: " warn+0x"},
		{name: "TestSplatBug", needs: "BUG", text: "kernel BUG at "},
		{name: "TestSplatRefcountUnderflow", needs: "BUG", text: "refcount_t: underflow; use-after-free."},
		{name: "TestSplatRefcountSaturated", needs: "BUG", text: "refcount_t: saturated; leaking memory."},
		{name: "TestSplatShift", needs: "UBSAN_SHIFT", text: "UBSAN: shift-out-of-bounds in "},
		{name: "TestSplatArrayIndex", needs: "UBSAN_BOUNDS", text: "UBSAN: array-index-out-of-bounds in "},
		{name: "TestSplatListCorruption", needs: "DEBUG_LIST", text: "list_del corruption, "},
		{name: "TestSplatFreeActive", needs: "DEBUG_OBJECTS_TIMERS", text: "ODEBUG: free active (active state 0) object"},
		{name: "TestSplatSoftLockup", needs: "SOFTLOCKUP_DETECTOR", text: "watchdog: BUG: soft lockup - CPU#"},
		{name: "TestSplatHungTask", needs: "DETECT_HUNG_TASK", text: "blocked for more than 3 seconds."},
	}
}

// misbehaviour is in an order that has many tests share a boot: what ends the VM comes last.
func misbehaviour() []expectation {
	return []expectation{
		{"TestPass", proto.Pass, ""},
		{"TestDetectors", proto.Pass, ""},
		{"TestSkip", proto.Skip, "a reason"},
		{"TestSkipWithoutReason", proto.Fail, "without a reason"},
		{"TestSkipNotAllowed", proto.Fail, "vmtest/skips.go does not allow here: a reason"},
		{"TestSubtestSkipWithoutReason", proto.Fail, "without a reason"},
		{"TestFail", proto.Fail, ""},
		{"TestExit0", proto.Fail, "did not report how it ended"},
		{"TestExit1", proto.Fail, "did not report how it ended"},
		{"TestGoPanic", proto.Fail, "process died: exit status 2"},
		{"TestSIGKILL", proto.Fail, "process died: signal: killed"},
		{"TestHang", proto.Fail, "test limit: not done after "},
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

// batch is tests that share boots and limits.
type batch struct {
	name    string
	expect  []expectation
	module  bool // ksnif is loaded
	limit   time.Duration
	silence time.Duration // zero is the usual one
}

// Limits for the tests that hang: what they prove does not get better by waiting. Planted splats may take longer.
const (
	selftestLimit   = 5 * time.Second
	selftestSilence = 10 * time.Second
	splatLimit      = 100 * time.Second
)

// cleanBoots is how many boots have to go without a false alarm, in the normal and in the long size.
func cleanBoots(long bool) int {
	if long {
		return 20
	}
	return 3
}

// batches are all that the self-test does on a kernel.
func (h *Harness) batches(k *images.Kernel) []batch {
	slow := time.Duration(1)
	if isDebug(k) {
		slow = debugSlow
	}
	list := []batch{{
		name: "misbehaviour", expect: misbehaviour(), limit: slow * selftestLimit, silence: slow * selftestSilence,
	}}
	planted := batch{name: "splats", limit: slow * splatLimit}
	for _, s := range splats() {
		if s.kasan != "" && has(k, "KASAN") {
			s.text = s.kasan
		}
		if has(k, s.needs) {
			planted.expect = append(planted.expect, expectation{s.name, proto.Fail, s.text})
		}
	}
	list = append(list, planted)
	if has(k, "DEBUG_KMEMLEAK") {
		// A leak shows at the end of a boot, which others would not let come. Those around it are not to blame.
		list = append(list, batch{name: "leak", limit: slow * splatLimit, expect: []expectation{
			{"TestPass", proto.Pass, ""}, {"TestSplatLeak", proto.Fail, "leaked: unreferenced object 0x"}, {"TestDetectors", proto.Pass, ""},
		}})
	}
	for i := range cleanBoots(h.Options.Long) {
		list = append(list, batch{
			name: fmt.Sprintf("clean-%d", i+1), module: true, limit: slow * splatLimit,
			expect: []expectation{{"TestCleanBoot", proto.Pass, ""}},
		})
	}
	return list
}

// title is what a test of the batch is called in the harness's own results.
func (b batch) title(test string, long bool) string {
	if n, ok := strings.CutPrefix(b.name, "clean-"); ok {
		return fmt.Sprintf("harness/%s %s of %d", test, n, cleanBoots(long))
	}
	if b.name == "leak" && test != "TestSplatLeak" {
		return "harness/" + test + " beside a leak"
	}
	return "harness/" + test
}

// Selftest boots tests that misbehave, and checks that the harness says so of each of them, and nothing of those that
// do not. Their own results go to out/vmtest/selftest/; those returned are of the harness.
func (h *Harness) Selftest(ctx context.Context, kernel string) (*Result, error) {
	start := time.Now()
	h.Progress.Step("self-test of the harness: tests that misbehave, kernels that complain")
	dir := h.out("vmtest", "selftest")
	leave, err := occupy(dir)
	if err != nil {
		return nil, err
	}
	defer leave()
	log, err := os.Create(dir + ".log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	k, err := h.Cache.Kernel(ctx, kernel)
	if err != nil {
		return nil, err
	}
	run := TestRun{Kernel: kernel, Binary: h.out("bin", "selftest")}
	run.Skips = []allowedSkip{{"TestSkip", []string{onStock, onDebug, onKCSAN}, "a reason"}}
	if err := h.buildSelftest(ctx, run.Binary); err != nil {
		return nil, err
	}
	ko, err := h.BuildModule(ctx, kernel, filepath.Join(h.Root, "vmtest", "selftest", "splat"))
	if err != nil {
		return nil, err
	}
	run.More = map[string]string{proto.PathSplat: ko}
	inner := *h
	inner.Progress = newQuiet(log)
	res := &Result{Where: "selftest", Release: k.Release}
	for _, b := range h.batches(k) {
		got, err := inner.batch(ctx, run, b)
		if err != nil {
			return nil, err
		}
		res.Accel, res.Boots = got.Accel, res.Boots+got.Boots
		for _, t := range b.judge(got, h.Options.Long) {
			h.Progress.test(t)
			res.Tests = append(res.Tests, t)
		}
	}
	res.Seconds = time.Since(start).Seconds()
	return res, res.Write(filepath.Join(h.out("vmtest"), "selftest.json"))
}

// batch runs one batch.
func (h *Harness) batch(ctx context.Context, run TestRun, b batch) (*Result, error) {
	one := *h
	one.NoModule = !b.module
	run.Where, run.TestLimit, run.Silence = filepath.Join("selftest", b.name), b.limit, b.silence
	for _, e := range b.expect {
		run.Tests = append(run.Tests, e.name)
	}
	return one.Test(ctx, run)
}

// buildSelftest compiles the tests that misbehave.
func (h *Harness) buildSelftest(ctx context.Context, binary string) error {
	build := exec.CommandContext(ctx, "go", "test", "-c", "-trimpath", "-o", binary, "./vmtest/selftest")
	build.Dir = h.Root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the self-test: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// judge compares what the harness said of every test with what it has to say.
func (b batch) judge(got *Result, long bool) []*Test {
	results := map[string]*Test{}
	for _, t := range got.Tests {
		results[t.Name] = t
	}
	var list []*Test
	for _, e := range b.expect {
		t := &Test{Name: b.title(e.name, long), Result: proto.Pass}
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
		t := &Test{Name: b.title(g.Name, long)}
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
