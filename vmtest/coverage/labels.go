// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"
)

var labelRe = regexp.MustCompile(`^\s?((?:err|out)\w*):\s*(?:/[/*].*)?$`)

// label is a place that a function goes to when something failed.
type label struct {
	name string
	line int
}

// labels finds the error labels of a C source in the kernel's style, where a label is alone on its line, not indented.
func labels(source string) []label {
	var list []label
	for i, line := range strings.Split(source, "\n") {
		if m := labelRe.FindStringSubmatch(line); m != nil {
			list = append(list, label{m[1], i + 1})
		}
	}
	return list
}

// unreached names the labels behind which no code ran. A label itself is no code: the first line behind it that is,
// before the function ends, tells.
func unreached(file, source string, c counts) []string {
	lines := strings.Split(source, "\n")
	var list []string
	for _, l := range labels(source) {
		var times int64
		for n := l.line; n <= len(lines); n++ {
			ran, code := c[n]
			if times = ran; code || lines[n-1] == "}" {
				break
			}
		}
		if times == 0 {
			list = append(list, fmt.Sprintf("%s:%d: %s", file, l.line, l.name))
		}
	}
	return list
}
