// SPDX-License-Identifier: GPL-2.0

package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// FuzzSpec: a spec is refused, or everything can be generated from it: attributes and operations have their numbers,
// every refusal names its attribute, the Go code is Go, and a second rendering is the same.
func FuzzSpec(f *testing.F) {
	real, err := os.ReadFile(filepath.Join(root, specPath))
	require.NoError(f, err)
	f.Add(real)
	f.Add([]byte(smallSpec))
	lines := strings.SplitAfter(smallSpec, "\n")
	for i, line := range lines {
		f.Add([]byte(strings.Join(lines[:i], "") + strings.Join(lines[i+1:], "")))
		if before, _, ok := strings.Cut(line, "- "); ok {
			f.Add([]byte(strings.Join(lines[:i], "") + before + "-\n" + strings.Join(lines[i+1:], "")))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSpec(data)
		if err != nil {
			return
		}
		for _, set := range s.Sets {
			for i, a := range set.Attrs {
				assert.Equal(t, i+1, a.number)
				assert.True(t, strings.HasPrefix(a.refusal(), a.Name+": must be "), a.refusal())
			}
		}
		for i, op := range s.Operations.List {
			assert.Equal(t, i+1, op.number)
			assert.NotNil(t, op.set)
		}
		for _, o := range outputs() {
			first, err := o.render(s)
			if err != nil {
				continue // gofmt refuses the names, for one
			}
			again, err := o.render(s)
			require.NoError(t, err, o.path)
			assert.Equal(t, string(first), string(again), o.path)
			if strings.HasSuffix(o.path, ".go") {
				_, err := parser.ParseFile(token.NewFileSet(), o.path, first, parser.SkipObjectResolution)
				require.NoError(t, err)
			}
		}
	})
}

const smallSpec = `# SPDX-License-Identifier: GPL-2.0
name: x
protocol: genetlink
doc: x
definitions:
  - type: const
    name: n-max
    value: 9
  - type: enum
    name: e
    entries:
      - name: zero
attribute-sets:
  - name: s
    attributes:
      - name: n
        type: u32
        checks: { max: 9 }
      - name: e
        type: u32
        enum: e
      - name: t
        type: string
        checks: { min-len: 1, max-len: n-max }
operations:
  list:
    - name: get
      attribute-set: s
      flags: [ admin-perm ]
      do: { request: { attributes: [ n ] }, reply: { attributes: [ n, e, t ] } }
    - name: tell
      attribute-set: s
      mcgrp: g
      event: { attributes: [ e ] }
mcast-groups:
  list:
    - name: g
`
