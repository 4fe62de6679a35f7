// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/proto"
)

// say is a step of a scripted boot: a record or a line on the console.
type say struct {
	rec     proto.Record
	console string
}

func start(test string) say { return say{rec: proto.Record{Kind: proto.KindStart, Test: test}} }

func end(test string, r proto.Result, problems ...proto.Problem) say {
	return say{rec: proto.Record{Kind: proto.KindEnd, Test: test, Result: r, Problems: problems, Elapsed: time.Second}}
}

func skip(test, reason string) say {
	return say{rec: proto.Record{Kind: proto.KindEnd, Test: test, Result: proto.Skip, Text: reason}}
}

func verdict(r proto.Result) say { return say{rec: proto.Record{Kind: proto.KindVerdict, Result: r}} }

func console(line string) say { return say{console: line} }

func problem(kind, text string) proto.Problem { return proto.Problem{Type: kind, Text: text} }

// testSkips lets TestA and TestA/old be skipped on a stock kernel.
func testSkips() skipPolicy {
	return skipPolicy{onStock, []allowedSkip{
		{"TestA", []string{onStock}, "too old"}, {"TestA/old", []string{onStock}, "kernel too old"},
		{"TestB", []string{onKCSAN}, "too old"},
	}}
}

// want is what a test has to come out as.
type want struct {
	name   string
	result proto.Result
	text   string
}

func TestJudge(t *testing.T) {
	clean := []say{start("TestA"), end("TestA", proto.Pass), start("TestB"), end("TestB", proto.Pass)}
	ok := []want{{"TestA", proto.Pass, ""}, {"TestB", proto.Pass, ""}}
	const splat = "[    5.1] WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2"
	cases := []struct {
		name string
		boot []say
		end  ending
		want []want
	}{
		{"all is well", append(clean, verdict(proto.Pass)), ending{}, ok},
		{"a report that has a line in common with one that the guest told of", []say{
			start("TestA"), console(splat), console("RIP: f+0x1/0x2"), console("Call Trace:"), console(" <TASK>"), console(" </TASK>"),
			end("TestA", proto.Fail, proto.Problem{Type: "splat", Text: strings.TrimPrefix(splat, "[    5.1] "), More: " <TASK>\n </TASK>"}),
			start("TestB"), console("BUG: kernel NULL pointer dereference"), console(" <TASK>"), console(" </TASK>"),
		}, ending{Reason: "QEMU is gone"},
			[]want{{"TestA", proto.Fail, "WARNING"}, {"TestB", proto.Fail, "BUG: kernel NULL pointer dereference"}}},
		{"a bare stack that the test announced by a function in it, and one that it did not", []say{
			start("TestA"), console("Call Trace:"), console(" <TASK>"), console(" warn_alloc+0x1/0x2"), console(" </TASK>"),
			{rec: proto.Record{Kind: proto.KindEnd, Test: "TestA", Result: proto.Pass, Allowed: []string{" warn_alloc+0x1/0x2"}}},
			start("TestB"), console("Call Trace:"), console(" <TASK>"), console(" other+0x1/0x2"), console(" </TASK>"),
			end("TestB", proto.Pass), verdict(proto.Pass),
		}, ending{},
			[]want{{"TestA", proto.Pass, ""}, {"TestB", proto.Fail, "Call Trace:"}}},
		{"a verdict of rest is fine", append(clean, verdict(proto.Rest)), ending{}, ok},
		{"no verdict", clean, ending{},
			append(ok, want{Outside, proto.Fail, "after TestB: the VM ended without a verdict"})},
		{"a bad verdict without a reason", append(clean, verdict(proto.Fail)), ending{},
			append(ok, want{Outside, proto.Fail, `the guest's verdict is "fail"`})},
		{"QEMU died after the verdict", append(clean, verdict(proto.Pass)), ending{Reason: "QEMU: exit status 1"},
			append(ok, want{Outside, proto.Fail, "QEMU: exit status 1"})},
		{"the VM dies in a test", []say{start("TestA"), end("TestA", proto.Pass), start("TestB")},
			ending{Reason: "Kernel panic - not syncing: x"},
			[]want{{"TestA", proto.Pass, ""}, {"TestB", proto.Fail, "Kernel panic - not syncing: x"}}},
		{"the VM ends in a test without a word", []say{start("TestA")}, ending{},
			[]want{{"TestA", proto.Fail, "without a verdict"}, {"TestB", "", ""}}},
		{"a verdict while a test runs", []say{start("TestA"), verdict(proto.Pass)}, ending{},
			[]want{{"TestA", proto.Fail, "while the test still ran"}, {"TestB", "", ""}}},
		{"a test goes silent about its end", []say{start("TestA"), start("TestB"), end("TestB", proto.Pass), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "without saying how it ended"}, {"TestB", proto.Pass, ""}}},
		{"a test that nobody asked for", append(clean, start("TestC"), end("TestC", proto.Pass), verdict(proto.Pass)), ending{},
			append(ok, want{Outside, proto.Fail, "not asked for: TestC"})},
		{"an end without a start", []say{end("TestA", proto.Pass), verdict(proto.Pass)}, ending{},
			[]want{{"TestA", "", ""}, {"TestB", "", ""}, {Outside, proto.Fail, "did not run: TestA"}}},
		{"an unknown result", []say{start("TestA"), end("TestA", "fine"), verdict(proto.Pass)}, ending{},
			[]want{{"TestA", proto.Fail, ""}, {"TestB", "", ""}}},
		{"a skip with a reason", []say{start("TestA"), skip("TestA", "too old"), verdict(proto.Pass)}, ending{},
			[]want{{"TestA", proto.Skip, "too old"}, {"TestB", "", ""}}},
		{"a skip without a reason", []say{start("TestA"), skip("TestA", ""), verdict(proto.Pass)}, ending{},
			[]want{{"TestA", proto.Fail, ""}, {"TestB", "", ""}}},
		{"a subtest skipped without a reason",
			[]say{start("TestA"), {rec: proto.Record{Kind: proto.KindSkip, Test: "TestA/x"}}, end("TestA", proto.Pass), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "TestA/x was skipped without a reason"}, {"TestB", "", ""}}},
		{"a skip for a reason that is not on the list", []say{start("TestA"), skip("TestA", "no time"), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "does not allow here: no time"}, {"TestB", "", ""}}},
		{"a skip that is allowed elsewhere", []say{start("TestB"), skip("TestB", "too old"), verdict(proto.Pass)}, ending{},
			[]want{{"TestA", "", ""}, {"TestB", proto.Fail, "does not allow here: too old"}}},
		{"a subtest skipped that is not on the list", []say{start("TestA"),
			{rec: proto.Record{Kind: proto.KindSkip, Test: "TestA/x", Text: "too old"}}, end("TestA", proto.Pass), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "TestA/x was skipped, which"}, {"TestB", "", ""}}},
		{"a leak of a test that has ended", append(clean,
			say{rec: proto.Record{Kind: proto.KindProblem, Test: "TestA", Problems: []proto.Problem{problem("leak", "unreferenced object")}}},
			verdict(proto.Pass)), ending{}, []want{{"TestA", proto.Fail, "unreferenced object"}, {"TestB", proto.Pass, ""}}},
		{"a pass with a problem", []say{start("TestA"), end("TestA", proto.Pass, problem("taint", "512")), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "512"}, {"TestB", "", ""}}},
		{"a skip with a problem", []say{start("TestA"), end("TestA", proto.Skip, problem("splat", "BUG")), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "BUG"}, {"TestB", "", ""}}},
		{"a splat that only the console saw",
			[]say{start("TestA"), console(splat), end("TestA", proto.Pass), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "WARNING: CPU: 0"}, {"TestB", "", ""}}},
		{"a splat between tests", append(clean, console(splat), verdict(proto.Pass)), ending{},
			append(ok, want{Outside, proto.Fail, "WARNING: CPU: 0"})},
		{"a splat after the verdict", append(clean, verdict(proto.Pass), console(splat)), ending{},
			append(ok, want{Outside, proto.Fail, "WARNING: CPU: 0"})},
		{"a splat that the guest charged to the test before", []say{
			start("TestA"), end("TestA", proto.Fail, problem("splat", "WARNING: CPU: 0 PID: 1 at x.c:1 f+0x1/0x2")),
			start("TestB"), console(splat), end("TestB", proto.Pass), verdict(proto.Pass)},
			ending{}, []want{{"TestA", proto.Fail, "WARNING"}, {"TestB", proto.Pass, ""}}},
		{"trouble that no test made", append(clean,
			say{rec: proto.Record{Kind: proto.KindProblem, Problems: []proto.Problem{problem("leak", "unreferenced object")}}},
			verdict(proto.Fail)), ending{}, append(ok, want{Outside, proto.Fail, "unreferenced object"})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			j := newJudge([]string{"TestA", "TestB"}, testSkips())
			j.begin()
			for _, s := range c.boot {
				if s.console != "" {
					j.console(s.console + "\r\n")
				} else {
					j.record(s.rec)
				}
			}
			j.finishBoot(c.end)
			compare(t, c.want, j.results())
		})
	}
}

func compare(t *testing.T, wanted []want, got []*Test) {
	t.Helper()
	require.Len(t, got, len(wanted))
	for i, w := range wanted {
		assert.Equal(t, w.name, got[i].Name)
		assert.Equal(t, w.result, got[i].Result, w.name)
		assert.Contains(t, got[i].Reason, w.text, w.name)
	}
}

func TestJudgeGivesUp(t *testing.T) {
	j := newJudge([]string{"TestA", "TestB"}, testSkips())
	j.begin()
	j.record(start("TestA").rec)
	j.record(end("TestA", proto.Pass).rec)
	j.finishBoot(ending{Reason: "silence"})
	assert.Equal(t, []string{"TestB"}, j.remaining())
	j.giveUp("enough")
	compare(t, []want{
		{"TestA", proto.Pass, ""}, {"TestB", proto.Fail, "never ran: enough"}, {Outside, proto.Fail, "silence"},
	}, j.results())
}

func TestJudgeSubtestSkips(t *testing.T) {
	j := newJudge([]string{"TestA"}, testSkips())
	j.begin()
	j.record(start("TestA").rec)
	j.record(proto.Record{Kind: proto.KindSkip, Test: "TestA/old", Text: "kernel too old"})
	j.record(end("TestA", proto.Pass).rec)
	j.record(verdict(proto.Pass).rec)
	j.finishBoot(ending{})
	compare(t, []want{{"TestA", proto.Pass, ""}, {"TestA/old", proto.Skip, "kernel too old"}}, j.results())
	r := &Result{Tests: j.results()}
	assert.Equal(t, "1 passed, 0 failed, 1 skipped", r.Counts().String())
}

func TestCountsWithoutResultFail(t *testing.T) {
	r := &Result{Tests: []*Test{{Name: "TestA"}, {Name: "TestB", Result: "odd"}}}
	assert.Equal(t, Counts{Failed: 2}, r.Counts())
}

// TestJudgeForgetsTheBootBefore: a verdict, or a test that ran, must not count for the next boot.
func TestJudgeForgetsTheBootBefore(t *testing.T) {
	j := newJudge([]string{"TestA", "TestB"}, testSkips())
	j.begin()
	for _, s := range []say{start("TestA"), end("TestA", proto.Pass), verdict(proto.Rest)} {
		j.record(s.rec)
	}
	j.finishBoot(ending{})
	j.begin()
	j.record(start("TestB").rec)
	j.record(end("TestB", proto.Pass).rec)
	j.finishBoot(ending{})
	compare(t, []want{
		{"TestA", proto.Pass, ""}, {"TestB", proto.Pass, ""}, {Outside, proto.Fail, "after TestB: the VM ended without a verdict"},
	}, j.results())
	assert.Equal(t, 2, j.tests["TestB"].Boot)
}

func TestJudgeKeepsWhatExplainsAFailure(t *testing.T) {
	j := newJudge([]string{"TestA"}, testSkips())
	j.begin()
	j.record(start("TestA").rec)
	long := strings.Repeat("x", maxKept)
	for _, text := range []string{long, long, "the end"} {
		j.record(proto.Record{Kind: proto.KindOutput, Test: "TestA", Text: text})
	}
	j.finishBoot(ending{Reason: "silence"})
	got := j.results()[0]
	assert.True(t, strings.HasSuffix(got.Output, "the end"))
	assert.Less(t, len(got.Output), 2*maxKept)
	assert.Equal(t, []proto.Problem{problem("vm", "silence")}, got.Problems)
}
