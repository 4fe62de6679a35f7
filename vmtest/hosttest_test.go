// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"ksnif/vmtest/proto"
)

// TestHostJudge feeds what go test -json prints.
func TestHostJudge(t *testing.T) {
	exit1 := errors.New("exit status 1")
	cases := []struct {
		name    string
		partial bool
		events  []string
		err     error
		want    []want
	}{
		{"a pass", false, []string{
			`{"Action":"pass","Package":"ksnif/a","Test":"TestX","Elapsed":0.1}`,
			`{"Action":"pass","Package":"ksnif/a","Elapsed":0.1}`,
		}, nil, []want{{"a TestX", proto.Pass, ""}}},
		{"a failed subtest fails its test only once", false, []string{
			`{"Action":"output","Package":"ksnif/a","Test":"TestX/sub","Output":"wrong\n"}`,
			`{"Action":"fail","Package":"ksnif/a","Test":"TestX/sub"}`,
			`{"Action":"fail","Package":"ksnif/a","Test":"TestX"}`,
			`{"Action":"fail","Package":"ksnif/a"}`,
		}, exit1, []want{{"a TestX", proto.Fail, ""}}},
		{"a skip with a reason", false, []string{
			`{"Action":"output","Package":"ksnif/a","Test":"TestX","Output":"    x_test.go:12: no kernel here\n"}`,
			`{"Action":"output","Package":"ksnif/a","Test":"TestX","Output":"--- SKIP: TestX (0.00s)\n"}`,
			`{"Action":"skip","Package":"ksnif/a","Test":"TestX"}`,
			`{"Action":"pass","Package":"ksnif/a"}`,
		}, nil, []want{{"a TestX", proto.Skip, "no kernel here"}}},
		{"a skip without a reason", false, []string{
			`{"Action":"output","Package":"ksnif/a","Test":"TestX","Output":"--- SKIP: TestX (0.00s)\n"}`,
			`{"Action":"skip","Package":"ksnif/a","Test":"TestX"}`,
			`{"Action":"pass","Package":"ksnif/a"}`,
		}, nil, []want{{"a TestX", proto.Fail, "without a reason"}}},
		{"a skipped subtest", false, []string{
			`{"Action":"output","Package":"ksnif/a","Test":"TestX/s","Output":"    x_test.go:12: why\n"}`,
			`{"Action":"skip","Package":"ksnif/a","Test":"TestX/s"}`,
			`{"Action":"pass","Package":"ksnif/a","Test":"TestX"}`,
			`{"Action":"pass","Package":"ksnif/a"}`,
		}, nil, []want{{"a TestX/s", proto.Skip, "why"}, {"a TestX", proto.Pass, ""}}},
		{"a package that does not build", false, []string{
			`{"ImportPath":"ksnif/a [ksnif/a.test]","Action":"build-output","Output":"a.go:1: undefined: x\n"}`,
			`{"ImportPath":"ksnif/a [ksnif/a.test]","Action":"build-fail"}`,
			`{"Action":"fail","Package":"ksnif/a","FailedBuild":"ksnif/a [ksnif/a.test]"}`,
		}, exit1, []want{{"a", proto.Fail, "does not build"}}},
		{"a package that dies in TestMain", false, []string{
			`{"Action":"output","Package":"ksnif/a","Output":"panic: x\n"}`,
			`{"Action":"fail","Package":"ksnif/a"}`,
		}, exit1, []want{{"a", proto.Fail, "failed outside of its tests"}}},
		{"a package that dies after its tests", false, []string{
			`{"Action":"pass","Package":"ksnif/a","Test":"TestX"}`,
			`{"Action":"fail","Package":"ksnif/a"}`,
		}, exit1, []want{{"a TestX", proto.Pass, ""}, {"a", proto.Fail, "failed outside of its tests"}}},
		{"a package with tests of which none ran", false, []string{
			`{"Action":"output","Package":"ksnif/a","Output":"testing: warning: no tests to run\n"}`,
			`{"Action":"pass","Package":"ksnif/a"}`,
		}, nil, []want{{"a", proto.Fail, "no test reported"}}},
		{"the same where not all are asked for", true, []string{
			`{"Action":"pass","Package":"ksnif/a"}`,
		}, nil, nil},
		{"a package without tests", false, []string{
			`{"Action":"output","Package":"ksnif/a","Output":"?   \tksnif/a\t[no test files]\n"}`,
			`{"Action":"skip","Package":"ksnif/a"}`,
		}, nil, nil},
		{"what is no event", false, []string{"go: cannot find module"}, exit1,
			[]want{{"go test", proto.Fail, "no test report"}}},
		{"go test fails without a word", false, nil, exit1, []want{{"go test", proto.Fail, "exit status 1"}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			j := newHostJudge(c.partial, []allowedSkip{{"a TestX", []string{onHost}, "no "}, {"a TestX/s", []string{onHost}, "why"}}, func(*Test) {})
			j.read(strings.NewReader(strings.Join(c.events, "\n")))
			j.finish(c.err, "")
			compare(t, c.want, j.tests)
		})
	}
}

func TestHostJudgeFindsStaleSkips(t *testing.T) {
	list := []allowedSkip{{"a TestX/sub", []string{onHost}, "x"}, {"a TestGone", []string{onHost}, "x"}}
	j := newHostJudge(false, list, func(*Test) {})
	j.read(strings.NewReader(`{"Action":"pass","Package":"ksnif/a","Test":"TestX"}`))
	j.finish(nil, "")
	j.missing()
	compare(t, []want{{"a TestX", proto.Pass, ""}, {"go test", proto.Fail, "has a TestGone, and there is no such test"}}, j.tests)
}

func TestHostJudgeKeepsOutputOfSubtests(t *testing.T) {
	j := newHostJudge(false, nil, func(*Test) {})
	j.read(strings.NewReader(`{"Action":"output","Package":"ksnif/a","Test":"TestX/s","Output":"wrong\n"}
{"Action":"fail","Package":"ksnif/a","Test":"TestX/s"}
{"Action":"fail","Package":"ksnif/a","Test":"TestX"}`))
	assert.Contains(t, j.tests[0].Output, "wrong")
}

func TestHostJudgeMarksNames(t *testing.T) {
	j := newHostJudge(false, nil, func(*Test) {})
	j.mark = " (race)"
	j.read(strings.NewReader(`{"Action":"fail","Package":"ksnif/a","Test":"TestX"}`))
	compare(t, []want{{"a TestX (race)", proto.Fail, ""}}, j.tests)
}
