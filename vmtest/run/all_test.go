// SPDX-License-Identifier: GPL-2.0

package main

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest"
	"ksnif/vmtest/command"
	"ksnif/vmtest/proto"
)

func fakePart(title string, err error, results ...proto.Result) part {
	return part{title, func(context.Context, *vmtest.Harness) (*vmtest.Result, error) {
		if err != nil {
			return nil, err
		}
		res := &vmtest.Result{}
		for _, r := range results {
			res.Tests = append(res.Tests, &vmtest.Test{Result: r})
		}
		return res, nil
	}}
}

// A part that does not run counts as a failure and keeps no other from running; the sums are in the order of the list.
func TestLanes(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer null.Close()
	h := &vmtest.Harness{Progress: vmtest.NewProgress(null)}
	lanes := []lane{
		{"a", []part{fakePart("a1", errors.New("no kernel")), fakePart("a2", nil, proto.Pass, proto.Skip)}},
		{"b", []part{fakePart("b1", nil, proto.Fail)}},
		{"c", []part{fakePart("c1", vmtest.ErrNoTests)}},
	}
	assert.Equal(t, []tally{
		{"a1", vmtest.Counts{Failed: 1}}, {"a2", vmtest.Counts{Passed: 1, Skipped: 1}},
		{"b1", vmtest.Counts{Failed: 1}}, {"c1", vmtest.Counts{Failed: 1}},
	}, (&allRun{}).beside(t.Context(), h, lanes))
	assert.Equal(t, vmtest.Counts{}, (&allRun{run: "TestX"}).beside(t.Context(), h, lanes[2:])[0].Counts)
}

// A pattern that is none is refused at once, not once for every test binary.
func TestPatternIsChecked(t *testing.T) {
	for _, name := range []string{"all", "test", "mutants"} {
		root := newRoot()
		root.SetArgs([]string{name, "--run", "["})
		err := root.Execute()
		var usage command.UsageError
		require.ErrorAs(t, err, &usage, name)
		assert.ErrorContains(t, err, "missing closing ]")
	}
}
