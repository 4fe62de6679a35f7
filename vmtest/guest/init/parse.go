// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"regexp"
	"strings"

	"ksnif/vmtest/proto"
)

var (
	markRe = regexp.MustCompile(`^=== (?:RUN|CONT|NAME|PAUSE)\s+(\S+)`)
	doneRe = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	logRe  = regexp.MustCompile(`^ {4,}[^\s:]+\.go:\d+: (.*)$`)
)

// parser reads the output of `-test.v` as far as the harness needs it: how the test ended, and why parts were
// skipped.
type parser struct {
	name    string
	partial string
	current string              // the test that prints
	logs    map[string][]string // what it logged
	ended   map[string]string   // PASS, FAIL or SKIP
	order   []string            // names in ended, as they came
}

func newParser(name string) *parser {
	return &parser{name: name, logs: map[string][]string{}, ended: map[string]string{}}
}

func (p *parser) write(text string) {
	lines := strings.Split(p.partial+text, "\n")
	p.partial = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		p.line(line)
	}
}

// close takes an unfinished last line.
func (p *parser) close() {
	if p.partial != "" {
		p.line(p.partial)
		p.partial = ""
	}
}

func (p *parser) line(line string) {
	if m := markRe.FindStringSubmatch(line); m != nil {
		p.current = m[1]
		return
	}
	if m := doneRe.FindStringSubmatch(line); m != nil {
		p.ended[m[2]] = m[1]
		p.order = append(p.order, m[2])
		return
	}
	if m := logRe.FindStringSubmatch(line); m != nil && p.current != "" {
		p.logs[p.current] = append(p.logs[p.current], m[1])
	}
}

// result says how the test ended, with the reason if that is not plain.
func (p *parser) result() (proto.Result, string) {
	switch p.ended[p.name] {
	case "PASS":
		return proto.Pass, ""
	case "FAIL":
		return proto.Fail, ""
	case "SKIP":
		reason := p.reason(p.name)
		if reason == "" {
			return proto.Fail, "skipped without a reason"
		}
		return proto.Skip, reason
	}
	return proto.Fail, fmt.Sprintf("%s did not report how it ended", p.name)
}

func (p *parser) reason(name string) string {
	logs := p.logs[name]
	if len(logs) == 0 {
		return ""
	}
	return strings.TrimSpace(logs[len(logs)-1])
}

type skipped struct{ name, reason string }

// skippedSubtests returns the parts of a test that were skipped.
func (p *parser) skippedSubtests() []skipped {
	var list []skipped
	for _, name := range p.order {
		if p.ended[name] == "SKIP" && name != p.name {
			list = append(list, skipped{name, p.reason(name)})
		}
	}
	return list
}
