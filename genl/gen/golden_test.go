// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Programs that were built yesterday send yesterday's numbers. The file is
// therefore edited by hand: make gen never touches it.
func TestNumbersAreAppendOnly(t *testing.T) {
	golden := goldenNumbers(t)
	now := headerNumbers(t, filepath.Join(root, "kmod/uapi/ksnif.h"))
	for name, value := range golden {
		assert.Equal(t, value, now[name], "%s must stay %s for ever: append new entries to the end of their list", name, value)
	}
	for name, value := range now {
		_, ok := golden[name]
		assert.True(t, ok, "new number: append the line %s=%s to genl/testdata/numbers.golden", name, value)
	}
}

func goldenNumbers(t *testing.T) map[string]string {
	data, err := os.ReadFile("../testdata/numbers.golden")
	require.NoError(t, err)
	numbers := make(map[string]string)
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		name, value, ok := strings.Cut(line, "=")
		require.True(t, ok, "line %q", line)
		require.NotContains(t, numbers, name)
		numbers[name] = value
	}
	require.NotEmpty(t, numbers)
	return numbers
}

var (
	defineRE = regexp.MustCompile(`^#define (KSNIF_\w+)\s+(\S+)$`)
	entryRE  = regexp.MustCompile(`^\t(\w+)( = (\d+))?,$`)
)

// headerNumbers reads the header as a C compiler would, without the maxima,
// which are meant to grow.
func headerNumbers(t *testing.T, path string) map[string]string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	numbers := make(map[string]string)
	next := 0
	for _, line := range strings.Split(string(data), "\n") {
		if strings.HasPrefix(line, "enum ") {
			next = 0
		}
		if m := defineRE.FindStringSubmatch(line); m != nil {
			numbers[m[1]] = strings.Trim(m[2], `"`)
		}
		if m := entryRE.FindStringSubmatch(line); m != nil && !strings.HasPrefix(m[1], "__") {
			if m[3] != "" {
				next, err = strconv.Atoi(m[3])
				require.NoError(t, err)
			}
			numbers[m[1]] = fmt.Sprint(next)
			next++
		}
	}
	return numbers
}
