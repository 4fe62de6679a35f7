// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/proto"
)

func TestReadMutants(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("b.patch", "What: a bug\nTest: TestB\nKernel: debug\n\n--- a/kmod/x\n+++ b/kmod/x\n+Test: no\n")
	write("a.patch", "What: another\nTest: TestA\n\n--- a/kmod/x\n")
	list, err := ReadMutants(dir, "")
	require.NoError(t, err)
	assert.Equal(t, []Mutant{
		{Name: "a", File: filepath.Join(dir, "a.patch"), What: "another", Test: "TestA"},
		{Name: "b", File: filepath.Join(dir, "b.patch"), What: "a bug", Test: "TestB", Detector: true},
	}, list)
	list, err = ReadMutants(dir, "^b$")
	require.NoError(t, err)
	assert.Len(t, list, 1)
	_, err = ReadMutants(dir, "c")
	require.ErrorContains(t, err, "no mutant matches")
	write("c.patch", "What: no test\n--- a\n")
	_, err = ReadMutants(dir, "")
	require.ErrorContains(t, err, "c.patch: lines What: and Test: are missing")
}

// The patches must fit the module of today, and name tests that there are.
func TestMutantsFit(t *testing.T) {
	list, err := ReadMutants("mutants", "")
	require.NoError(t, err)
	assert.GreaterOrEqual(t, len(list), 25)
	if _, err := exec.LookPath("patch"); err != nil {
		t.Skip("patch is not installed")
	}
	tests := filepath.Join(t.TempDir(), "tests")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", tests, "./tests")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	names, err := List(t.Context(), tests)
	require.NoError(t, err)
	for _, m := range list {
		file, err := filepath.Abs(m.File)
		require.NoError(t, err)
		_, err = run(context.Background(), "..", "patch", "-p1", "--dry-run", "--fuzz=0", "-i", file)
		assert.NoError(t, err, m.Name)
		assert.Contains(t, names, m.Test, m.Name)
	}
}

func TestMutantKilled(t *testing.T) {
	m := Mutant{Test: "TestA"}
	result := func(name string, result proto.Result, problems ...proto.Problem) *Result {
		return &Result{Tests: []*Test{{Name: name, Result: result, Reason: "why", Problems: problems}}}
	}
	for name, c := range map[string]struct {
		res    *Result
		killed bool
	}{
		"it passes":        {result("TestA", proto.Pass), false},
		"it fails":         {result("TestA", proto.Fail), true},
		"another fails":    {result("TestB", proto.Fail), false},
		"the module leaks": {result(Outside, proto.Fail, proto.Problem{Type: "leak"}), true},
	} {
		killed, _, err := m.killed(c.res)
		assert.NoError(t, err, name)
		assert.Equal(t, c.killed, killed, name)
	}
	j := newJudge([]string{"TestA"}, testSkips())
	j.begin()
	j.finishBoot(ending{Reason: "Kernel panic - IO-APIC", NeverUp: true})
	_, _, err := m.killed(&Result{Tests: j.results()})
	assert.ErrorContains(t, err, "does not boot")
}
