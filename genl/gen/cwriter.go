// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"
)

// cWriter collects C text the way ynl-gen-c lays it out.
type cWriter struct {
	bytes.Buffer
}

// p prints one line.
func (w *cWriter) p(format string, args ...any) {
	fmt.Fprintf(w, format+"\n", args...)
}

// head prints the licence, the origin and what made the file.
func (w *cWriter) head(s *spec, source bool, made string) {
	if source {
		w.p("// SPDX-License-Identifier: %s", s.license)
	} else {
		w.p("/* SPDX-License-Identifier: %s */", s.license)
	}
	w.p("/* Do not edit directly, auto-generated from: */")
	w.p("/*\t%s */", specPath)
	w.p("/* %s */", made)
	w.p("")
}

// defines prints macros with their values in one column.
func (w *cWriter) defines(list [][2]string) {
	longest := 0
	for _, d := range list {
		longest = max(longest, len(d[0]))
	}
	column := (longest + 8) / 8 * 8
	for _, d := range list {
		w.p("#define %s%s%s", d[0], strings.Repeat("\t", (column-len(d[0])+7)/8), d[1])
	}
}

// docLine prints one entry of a kernel-doc comment, wrapped.
func (w *cWriter) docLine(doc string) {
	line := " *"
	for _, word := range strings.Fields(doc) {
		if len(line)+len(word) >= 79 {
			w.p("%s", line)
			line = " *  "
		}
		line += " " + word
	}
	w.p("%s", line)
}

// indent aligns a line with the given column.
func indent(column int) string {
	return strings.Repeat("\t", column/8) + strings.Repeat(" ", column%8)
}

// upper and lower turn a name of the spec into one of C.
func upper(parts ...string) string {
	return strings.ToUpper(strings.ReplaceAll(strings.Join(parts, "_"), "-", "_"))
}

func lower(parts ...string) string {
	return strings.ToLower(upper(parts...))
}

// cName returns the attribute's constant, such as KSNIF_A_CAPTURE_SNAPLEN.
func (a *attr) cName(s *spec) string {
	return upper(s.Name, "a", a.set.Name, a.Name)
}

// cName returns the operation's constant, such as KSNIF_CMD_START.
func (op *operation) cName(s *spec) string {
	return upper(s.Name, "cmd", op.Name)
}
