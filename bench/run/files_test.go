// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest"
	"ksnif/vmtest/command"
)

// The guest's lines come in any pieces; those that begin with a space do not stay.
func TestSteps(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "shown"))
	require.NoError(t, err)
	defer file.Close()
	p := vmtest.NewProgress(file)
	s := &steps{progress: p}
	for _, piece := range []string{"60 by", "tes\n one\n two", "\n96 bytes\n", "unfinished"} {
		n, err := io.WriteString(s, piece)
		require.NoError(t, err)
		assert.Equal(t, len(piece), n)
	}
	p.Close()
	text, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.Equal(t, "60 bytes\n96 bytes\n", string(text))
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{{}, {"none"}, {"cost", "cost"}, {"--none"}} {
		cmd := newRoot()
		cmd.SetArgs(args)
		var usage command.UsageError
		err := cmd.Execute()
		assert.ErrorAs(t, err, &usage, args)
		assert.Equal(t, command.ExitUsage, command.ExitCode(cmd.Name(), err, false))
	}
	assert.Equal(t, command.ExitFailed, command.ExitCode("x", errors.New("x"), false))
	assert.Equal(t, command.ExitInterrupted, command.ExitCode("x", nil, true))
	assert.Zero(t, command.ExitCode("x", nil, false))
}
