// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/proto"
)

// FuzzRecords: every line from the guest is one record, and one that is garbled is a problem.
func FuzzRecords(f *testing.F) {
	f.Add([]byte("{\"kind\":\"alive\"}\n\n{\"kind\":\"end\",\"test\":\"A\",\"result\":\"pass\"}"))
	f.Add([]byte("{\"kind\":7}\n\x00\xff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, m := range records(b) {
			require.NotNil(t, m)
		}
		lines := 0
		for _, line := range bytes.Split(b, []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				lines++
			}
		}
		require.Len(t, records(b), lines)
	})
}

func records(b []byte) []*proto.Record {
	to := make(chan message, bytes.Count(b, []byte("\n"))+2)
	readRecords(bytes.NewReader(b), to)
	var list []*proto.Record
	for m := <-to; !m.closed; m = <-to {
		list = append(list, m.record)
	}
	return list
}

// FuzzJudge: whatever a guest says, every test has one result, and one passes only if the guest started it, said so,
// and nothing was wrong with it. A boot without a verdict leaves nothing that ran at its end a pass.
func FuzzJudge(f *testing.F) {
	const start, pass = `{"kind":"start","test":"A"}` + "\n", `{"kind":"end","test":"A","result":"pass"}` + "\n"
	f.Add([]byte(start+pass+`{"kind":"verdict","result":"pass"}`), "", "")
	f.Add([]byte(start+pass), "", "the VM hangs")
	f.Add([]byte(start+pass+pass+start), "BUG: x\n", "")
	f.Add([]byte(start+`{"kind":"start","test":"B"}`+"\n"+`{"kind":"end","test":"B","result":"skip","text":"why"}`), "", "")
	f.Add([]byte(start+`{"kind":"end","test":"A","result":"pass","problems":[{"type":"splat","text":"x"}]}`), "", "")
	f.Fuzz(func(t *testing.T, b []byte, console, reason string) {
		ended := map[string]int{}
		j := newJudge([]string{"A", "B"}, skipPolicy{})
		j.onEnd = func(test *Test) { ended[test.Name]++ }
		j.begin()
		said, started := map[string]bool{}, map[string]bool{}
		for _, line := range strings.Split(console, "\n") {
			j.console(line)
		}
		for _, r := range records(b) {
			j.record(*r)
			started[r.Test] = started[r.Test] || r.Kind == proto.KindStart
			said[r.Test] = said[r.Test] || r.Kind == proto.KindEnd && r.Result == proto.Pass && len(r.Problems) == 0
		}
		j.finishBoot(ending{Reason: reason})
		j.giveUp("no more boots")
		top := map[string]int{}
		for _, test := range j.results() {
			require.Contains(t, []proto.Result{proto.Pass, proto.Fail, proto.Skip}, test.Result)
			if test.Result == proto.Pass {
				require.True(t, started[test.Name] && said[test.Name], test.Name)
				require.Empty(t, test.Problems)
			}
			if !slices.Contains(j.skips, test) {
				top[test.Name]++
			}
		}
		for _, name := range []string{"A", "B"} {
			require.Equal(t, 1, top[name], name)
			require.Positive(t, ended[name], name)
		}
		if j.verdict == nil || reason != "" || len(j.log.Splats()) > 0 {
			require.True(t, failedAny(j.results()), "a boot that went wrong, and nothing failed")
		}
	})
}

func failedAny(list []*Test) bool {
	return slices.ContainsFunc(list, func(t *Test) bool { return t.Result == proto.Fail })
}

// FuzzHostJudge: a failure that go test reports, or its exit status, is never lost, and lines that are no report fail.
func FuzzHostJudge(f *testing.F) {
	f.Add([]byte(`{"Action":"pass","Package":"ksnif/a","Test":"TestX"}`+"\n"+`{"Action":"pass","Package":"ksnif/a"}`), false)
	f.Add([]byte(`{"Action":"fail","Package":"ksnif/a","Test":"TestX/s"}`+"\n"+`{"Action":"fail","Package":"ksnif/a"}`), true)
	f.Add([]byte(`panic: x`), true)
	f.Fuzz(func(t *testing.T, b []byte, bad bool) {
		j := newHostJudge(false, nil, func(*Test) {})
		j.read(bytes.NewReader(b))
		var err error
		if bad {
			err = errors.New("exit status 1")
		}
		j.finish(err, "")
		for _, test := range j.tests {
			require.Contains(t, []proto.Result{proto.Pass, proto.Fail, proto.Skip}, test.Result)
			require.False(t, test.Result == proto.Skip && test.Reason == "")
		}
		if bad || len(j.bad) > 0 {
			require.True(t, failedAny(j.tests))
		}
	})
}

// FuzzDumpTrouble: nothing that debugfs says is passed over but its name and what it may not do.
func FuzzDumpTrouble(f *testing.F) {
	f.Add("debugfs 1.47.0 (5-Feb-2023)\n")
	f.Add("debugfs 1.47.0\nrdump: Operation not permitted while changing ownership of ./a\nrdump: No space left\n")
	f.Fuzz(func(t *testing.T, out string) {
		const planted = "rdump: planted"
		got := dumpTrouble(out)
		assert.Equal(t, got == "", dumpTrouble(out+"\n"+planted) == planted)
		assert.Contains(t, dumpTrouble(out+"\n"+planted), planted)
		assert.NotContains(t, got, "\n")
	})
}

// FuzzOptions: what is taken is what was said, and in bounds.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"512", "512M", "2G", "127", "-5", "1T", "90", "90s", "1h2m", "9007199254740993G", "18014398509481985G"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if mb, err := parseMB(s); err == nil {
			require.GreaterOrEqual(t, mb, 128)
			again, err := parseMB(fmt.Sprintf("%dM", mb))
			require.NoError(t, err)
			require.Equal(t, mb, again)
			var n int
			_, err = fmt.Sscanf(strings.TrimPrefix(s, "+"), "%d", &n)
			require.NoError(t, err)
			require.LessOrEqual(t, n, mb, "%q is taken as %d MB", s, mb)
		}
		if d, err := parseTimeout(s); err == nil {
			require.Positive(t, d)
			again, err := parseTimeout(d.String())
			require.NoError(t, err)
			require.Equal(t, d, again)
			var n int64
			if _, err := fmt.Sscanf(s, "%d", &n); err == nil && fmt.Sprint(n) == s {
				require.Equal(t, n, int64(d/time.Second))
			}
		}
	})
}

// FuzzKallsyms: the symbol file that gdb gets has each of the kernel's symbols, at its address.
func FuzzKallsyms(f *testing.F) {
	f.Add([]byte("ffffffff81000000 T _text\nffffffff82000000 T _einittext\nffffffffc0000000 t f\t[ksnif]\n"))
	f.Add([]byte("0 A fixed_percpu_data\nxyz T bad\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		syms, names, text := readKallsyms(b)
		require.NotEmpty(t, syms)
		require.Len(t, syms, bytes.Count(names, []byte{0}))
		for _, s := range syms {
			require.Less(t, int(s.Name), len(names))
		}
		require.NotEmpty(t, symbolFile(syms, names, text))
	})
}
