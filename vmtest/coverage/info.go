// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// counts say how often each line of a file ran; lines without code are not in it.
type counts map[int]int64

func (c counts) covered() int {
	n := 0
	for _, times := range c {
		if times > 0 {
			n++
		}
	}
	return n
}

// readInfo adds the files of one of lcov's tracefiles, by their path below root, to files. The format is that of
// geninfo(1): SF:PATH opens a file, DA:LINE,TIMES is a line of it, end_of_record ends it.
func readInfo(r io.Reader, root string, files map[string]counts) error {
	var now counts
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		kind, value, _ := strings.Cut(lines.Text(), ":")
		switch kind {
		case "SF":
			name := value
			if rel, err := filepath.Rel(root, value); err == nil && filepath.IsAbs(value) {
				name = rel
			}
			if files[name] == nil {
				files[name] = counts{}
			}
			now = files[name]
		case "DA":
			part := strings.Split(value, ",")
			if now == nil || len(part) < 2 {
				return fmt.Errorf("tracefile: %q outside of a file, or too short", lines.Text())
			}
			line, err := strconv.Atoi(part[0])
			if err != nil {
				return fmt.Errorf("tracefile: %q: %w", lines.Text(), err)
			}
			times, err := strconv.ParseInt(part[1], 10, 64)
			if err != nil {
				return fmt.Errorf("tracefile: %q: %w", lines.Text(), err)
			}
			now[line] += times
		case "end_of_record":
			now = nil
		}
	}
	return lines.Err()
}
