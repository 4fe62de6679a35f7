// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
	"ksnif/vmtest/proto"
)

// unitCases is how many cases the module's suites have at least: one for each KUNIT_CASE in kmod/.
const unitCases = 15

var (
	kunitPlan = regexp.MustCompile(`(?m)^    1\.\.(\d+)$`)
	kunitCase = regexp.MustCompile(`(?m)^    ok \d+ \w+$`)
)

// TestKUnit loads the module with its unit tests, which run at that: all passed, and none was skipped. A "not ok" that
// they print in the kernel's log fails the test, too.
func TestKUnit(t *testing.T) {
	guest.NeedsDebug(t)
	guest.Unload(t)
	t.Cleanup(func() {
		if guest.Loaded() {
			guest.Unload(t)
		}
		guest.Load(t)
	})
	require.NoError(t, unix.FinitModule(openModule(t, proto.PathModule), "", 0))
	files, err := filepath.Glob("/sys/kernel/debug/kunit/ksnif*/results")
	require.NoError(t, err)
	require.NotEmpty(t, files, "the module has no unit tests")
	var cases int
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		t.Logf("%s:\n%s", file, text)
		plan := kunitPlan.FindSubmatch(text)
		require.NotNil(t, plan, "a plan of cases")
		ok := kunitCase.FindAll(text, -1)
		assert.Equal(t, string(plan[1]), strconv.Itoa(len(ok)), "cases that passed, of all in %s", file)
		assert.Regexp(t, `(?m)^ok \d+ ksnif`, string(text), "the suite's own result")
		cases += len(ok)
	}
	assert.GreaterOrEqual(t, cases, unitCases)
}
