// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/images"
	"ksnif/vmtest/proto"
)

// configured is a kernel with the options of fragments of images/kernels, or of a text.
func configured(t *testing.T, text string, fragments ...string) *images.Kernel {
	t.Helper()
	text = "#\n" + text
	for _, f := range fragments {
		b, err := os.ReadFile(filepath.Join("..", "images", "kernels", f+".config"))
		require.NoError(t, err)
		text += string(b)
	}
	file := filepath.Join(t.TempDir(), ".config")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return &images.Kernel{Config: file}
}

// planted are the splats that the self-test has for a kernel.
func planted(k *images.Kernel) []string {
	var names []string
	for _, b := range (&Harness{}).batches(k) {
		for _, e := range b.expect {
			if strings.HasPrefix(e.name, "TestSplat") && e.name != "TestSplat" {
				names = append(names, e.name)
			}
		}
	}
	return names
}

// TestPlantedSplats: each kernel gets what it can see, and a debug kernel no fewer than issue and README promise.
func TestPlantedSplats(t *testing.T) {
	debug := planted(configured(t, "", "base", "debug"))
	assert.Len(t, debug, len(splats()), "all but the race, and the leak")
	assert.NotContains(t, debug, "TestSplatDataRace")
	assert.Contains(t, debug, "TestSplatLeak")

	kcsan := planted(configured(t, "", "base", "kcsan"))
	assert.Contains(t, kcsan, "TestSplatDataRace")
	assert.NotContains(t, kcsan, "TestSplatUseAfterFree")
	assert.NotContains(t, kcsan, "TestSplatLeak")

	assert.Equal(t, []string{
		"TestSplatRCUStall", "TestSplatNullPointer", "TestSplatWarn", "TestSplatBug", "TestSplatRefcountUnderflow",
		"TestSplatRefcountSaturated", "TestSplatSoftLockup",
	}, planted(configured(t, "CONFIG_SMP=y\nCONFIG_BUG=y\nCONFIG_SOFTLOCKUP_DETECTOR=y\n# CONFIG_KASAN is not set\n")))
}

func TestCleanBootsAreNamed(t *testing.T) {
	h := &Harness{Options: Options{Long: true}}
	var names []string
	for _, b := range h.batches(configured(t, "")) {
		for _, result := range b.judge(&Result{}, true) {
			if strings.HasPrefix(result.Name, "harness/TestCleanBoot") {
				names = append(names, result.Name)
			}
		}
	}
	require.Len(t, names, 20)
	assert.Equal(t, "harness/TestCleanBoot 1 of 20", names[0])
	assert.Equal(t, "harness/TestCleanBoot 20 of 20", names[19])
}

// TestSelftestJudge: only the right result for the right reason will do, and nothing beside it.
func TestSelftestJudge(t *testing.T) {
	b := batch{name: "splats", expect: []expectation{{"TestX", proto.Fail, "BUG: KASAN"}}}
	right := &Test{Name: "TestX", Result: proto.Fail, Reason: "panic", Problems: []proto.Problem{{Text: "BUG: KASAN: x"}}}
	for name, c := range map[string]struct {
		got  []*Test
		want []want
	}{
		"right":             {[]*Test{right}, []want{{"harness/TestX", proto.Pass, ""}}},
		"not caught":        {[]*Test{{Name: "TestX", Result: proto.Pass}}, []want{{"harness/TestX", proto.Fail, "has to say"}}},
		"the wrong reason":  {[]*Test{{Name: "TestX", Result: proto.Fail, Reason: "y"}}, []want{{"harness/TestX", proto.Fail, "has to be"}}},
		"no result":         {nil, []want{{"harness/TestX", proto.Fail, "no result"}}},
		"something besides": {[]*Test{right, {Name: Outside, Result: proto.Fail}}, []want{{"harness/TestX", proto.Pass, ""}, {"harness/" + Outside, proto.Fail, "nothing should have happened"}}},
	} {
		t.Run(name, func(t *testing.T) { compare(t, c.want, b.judge(&Result{Tests: c.got}, false)) })
	}
}

// A report of a race is a warning, of others' races too: a kernel that looks for races must outlive it.
func TestKernelsDieOfWarnings(t *testing.T) {
	assert.Contains(t, (&machine{}).cmdline(), " panic_on_warn=1")
	assert.NotContains(t, (&machine{warns: true}).cmdline(), "panic_on_warn")
	for _, words := range []string{" softlockup_panic=1 ", " hung_task_panic=1 ", " oops=panic "} {
		assert.Contains(t, (&machine{warns: true}).cmdline(), words)
	}
}
