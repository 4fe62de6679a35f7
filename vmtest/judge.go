// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ksnif/vmtest/klog"
	"ksnif/vmtest/proto"
)

// Outside is the name under which trouble is reported that no test can be blamed for.
const Outside = "(outside of tests)"

// maxKept bounds how much output of a test stays in memory; the end is the part that explains a failure.
const maxKept = 256 << 10

// Test is what became of one test.
type Test struct {
	Name     string          `json:"name"`
	Result   proto.Result    `json:"result,omitempty"`
	Seconds  float64         `json:"seconds"`
	Reason   string          `json:"reason,omitempty"` // of a skip or of a failure
	Problems []proto.Problem `json:"problems,omitempty"`
	Output   string          `json:"output,omitempty"` // of a failed test
	Boot     int             `json:"boot,omitempty"`   // the boot it ran in

	output []byte
	start  time.Time
}

// fail makes the test a failed one; the first reason stays.
func (t *Test) fail(reason string) {
	if t.Reason == "" || t.Result != proto.Fail {
		t.Reason = reason
	}
	t.Result = proto.Fail
}

func (t *Test) blame(p proto.Problem) {
	t.Problems = append(t.Problems, p)
	t.fail(p.Text)
}

func (t *Test) print(text string) {
	t.output = append(t.output, text...)
	if len(t.output) > maxKept {
		t.output = append([]byte("[…]\n"), t.output[len(t.output)-maxKept/2:]...)
	}
}

// judge turns what boots say into results. It knows beforehand which tests are to be heard of: a test that no
// record speaks of has failed.
type judge struct {
	names   []string // expected, in order
	tests   map[string]*Test
	skips   []*Test // subtests
	outside *Test
	boot    int
	running *Test
	last    *Test // the one that ended last in this boot
	verdict *proto.Record
	log     *klog.Scanner
	// suspects are the tests that ran when a report showed on the console. The guest's own look at its log is the
	// better witness: only what it did not see counts.
	suspects []*Test
	seen     map[string]bool // lines of what it told of
	allowed  map[string]bool // lines of what tests had announced
	mayskip  skipPolicy
	onEnd    func(*Test) // a test has its result
	onStart  func(*Test) // a test starts
}

func newJudge(names []string, mayskip skipPolicy) *judge {
	j := &judge{
		names: names, mayskip: mayskip, tests: map[string]*Test{}, outside: &Test{Name: Outside},
		onEnd: func(*Test) {}, onStart: func(*Test) {},
	}
	for _, n := range names {
		j.tests[n] = &Test{Name: n}
	}
	return j
}

// begin starts a boot.
func (j *judge) begin() {
	j.boot++
	j.running, j.last, j.verdict = nil, nil, nil
	j.log, j.suspects, j.seen = klog.NewScanner(), nil, map[string]bool{}
	j.allowed = map[string]bool{}
}

// remaining are the tests that have no result yet.
func (j *judge) remaining() []string {
	var names []string
	for _, n := range j.names {
		if j.tests[n].Result == "" {
			names = append(names, n)
		}
	}
	return names
}

// culprit is who answers for what happens now.
func (j *judge) culprit() *Test {
	if j.running != nil {
		return j.running
	}
	return j.outside
}

func (j *judge) console(line string) {
	if j.log.Line(line) {
		j.suspects = append(j.suspects, j.culprit())
	}
}

func (j *judge) output([]byte) {}

func (j *judge) record(r proto.Record) {
	for _, p := range r.Problems {
		j.seen[p.Text] = true
		for _, line := range strings.Split(p.More, "\n") {
			j.seen[line] = true
		}
	}
	for _, line := range r.Allowed {
		j.allowed[line] = true
	}
	switch r.Kind {
	case proto.KindStart:
		j.start(r)
	case proto.KindOutput:
		if t := j.tests[r.Test]; t != nil {
			t.print(r.Text)
		}
	case proto.KindSkip:
		j.skip(r)
	case proto.KindEnd:
		j.end(r)
	case proto.KindProblem:
		j.problem(r)
	case proto.KindVerdict:
		j.verdict = &r
	}
}

// missing complains of tests that are spoken of and are not there.
func (j *judge) missing(complaints []string) {
	for _, c := range complaints {
		j.outside.blame(proto.Problem{Type: "skip", Text: c})
	}
}

// problem blames the test that the record names, although it has ended, or the one that runs.
func (j *judge) problem(r proto.Record) {
	t := j.tests[r.Test]
	if t == nil {
		t = j.culprit()
	}
	for _, p := range r.Problems {
		t.blame(p)
	}
	if t != j.running && t != j.outside {
		j.onEnd(t)
	}
}

func (j *judge) start(r proto.Record) {
	t := j.tests[r.Test]
	if t == nil || t.Result != "" {
		j.outside.blame(proto.Problem{Type: "report", Text: "the guest ran a test that it was not asked for: " + r.Test})
		return
	}
	if j.running != nil {
		j.running.fail("the guest went on without saying how it ended")
		j.finish(j.running)
	}
	t.start, t.Boot = time.Now(), j.boot
	j.running = t
	j.onStart(t)
}

// skip notes a skipped subtest. Like a skipped test it must be allowed to, and say why.
func (j *judge) skip(r proto.Record) {
	if complaint := j.mayskip.complaint(r.Test, r.Text); complaint != "" {
		j.culprit().blame(proto.Problem{Type: "skip", Text: complaint})
		return
	}
	t := &Test{Name: r.Test, Result: proto.Skip, Reason: r.Text, Boot: j.boot}
	j.skips = append(j.skips, t)
	j.onEnd(t)
}

func (j *judge) end(r proto.Record) {
	t := j.tests[r.Test]
	if t == nil || t != j.running {
		j.outside.blame(proto.Problem{Type: "report", Text: "the guest ended a test that did not run: " + r.Test})
		return
	}
	t.Problems = append(t.Problems, r.Problems...)
	t.Seconds = r.Elapsed.Seconds()
	switch {
	case len(t.Problems) > 0:
		t.fail(t.Problems[0].Text)
	case r.Result == proto.Pass && t.Result == "":
		t.Result = proto.Pass
	case r.Result == proto.Skip && t.Result == "":
		t.Result, t.Reason = proto.Skip, r.Text
		if complaint := j.mayskip.complaint(t.Name, r.Text); complaint != "" {
			t.fail(complaint)
		}
	default:
		t.fail(r.Text)
	}
	j.finish(t)
}

// finish closes a test that has a result.
func (j *judge) finish(t *Test) {
	if t.Seconds == 0 && !t.start.IsZero() {
		t.Seconds = time.Since(t.start).Seconds()
	}
	if t.Result == proto.Fail {
		t.Output = string(t.output)
	}
	t.output = nil
	j.running, j.last = nil, t
	j.onEnd(t)
}

// neverUp is the type of the problem of a kernel that did not come as far as ksnif.
const neverUp = "boot"

// finishBoot judges the boot as a whole.
func (j *judge) finishBoot(e ending) {
	j.closeConsole()
	reason := e.Reason
	if reason == "" && j.verdict == nil {
		reason = "the VM ended without a verdict"
	}
	if reason == "" && j.verdict.Result != proto.Pass && j.verdict.Result != proto.Rest && len(j.outside.Problems) == 0 {
		reason = fmt.Sprintf("the guest's verdict is %q, without a reason", j.verdict.Result)
	}
	switch {
	case e.NeverUp:
		j.outside.blame(proto.Problem{Type: neverUp, Text: reason})
	case j.running != nil:
		if reason == "" {
			reason = "the guest gave its verdict while the test still ran"
		}
		j.running.blame(proto.Problem{Type: "vm", Text: reason})
		j.finish(j.running)
	case reason != "" && j.last != nil:
		j.outside.blame(proto.Problem{Type: "vm", Text: fmt.Sprintf("after %s: %s", j.last.Name, reason)})
	case reason != "":
		j.outside.blame(proto.Problem{Type: "vm", Text: reason})
	}
}

// closeConsole charges reports on the console that the guest did not tell of itself. The lines that say what a report
// is about tell which it is: the others, such as those around a call trace, are much the same in all.
func (j *judge) closeConsole() {
	for _, s := range j.log.Splats() {
		if j.toldOf(s) {
			continue
		}
		test := j.suspects[s.Number]
		ended := test != j.outside && test != j.running
		test.blame(proto.Problem{Type: "splat", Text: s.Title, More: strings.Join(s.Lines, "\n")})
		if ended {
			j.onEnd(test)
		}
	}
}

// toldOf says whether the guest has reported it, or that a test announced it: a bare stack by any function in it.
func (j *judge) toldOf(s klog.Splat) bool {
	lines := append(slices.Clone(s.Telling), s.Title)
	if slices.ContainsFunc(lines, func(line string) bool { return j.seen[line] }) {
		return true
	}
	if len(s.Telling) == 0 {
		lines = s.Lines
	}
	return slices.ContainsFunc(lines, func(line string) bool { return j.allowed[line] })
}

// giveUp fails what never ran.
func (j *judge) giveUp(reason string) {
	for _, n := range j.remaining() {
		j.tests[n].fail("never ran: " + reason)
		j.onEnd(j.tests[n])
	}
}

// results are all tests in order, skipped subtests behind them, trouble outside of tests last.
func (j *judge) results() []*Test {
	var list []*Test
	for _, n := range j.names {
		list = append(list, j.tests[n])
		for _, s := range j.skips {
			if strings.HasPrefix(s.Name, n+"/") {
				list = append(list, s)
			}
		}
	}
	for _, s := range j.skips {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	if j.outside.Result != "" {
		list = append(list, j.outside)
	}
	return list
}
