// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSelected(t *testing.T) {
	all := []string{"TestA", "TestTortureA", "TestTortureB"}
	for name, c := range map[string]struct {
		run  TestRun
		want []string
		sub  string
	}{
		"all":             {TestRun{}, all, ""},
		"some":            {TestRun{Run: "Torture"}, all[1:], ""},
		"subtests":        {TestRun{Run: "^TestA$/x/y"}, all[:1], "x/y"},
		"all but some":    {TestRun{Skip: "^TestTorture"}, all[:1], ""},
		"some of others":  {TestRun{Run: "Torture", Skip: "B$"}, all[1:2], ""},
		"nothing is left": {TestRun{Run: "^TestA$", Skip: "A"}, nil, ""},
		"no such test":    {TestRun{Run: "TestC"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			names, sub, err := c.run.selected(all)
			if c.want == nil {
				require.ErrorIs(t, err, ErrNoTests)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, names)
			assert.Equal(t, c.sub, sub)
		})
	}
	for _, bad := range []TestRun{{Run: "("}, {Skip: "("}} {
		_, _, err := bad.selected(all)
		assert.ErrorContains(t, err, "(")
	}
}
