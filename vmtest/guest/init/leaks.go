// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ksnif/vmtest/proto"
)

const (
	kmemleak = "/sys/kernel/debug/kmemleak"
	// leakAge is how old an object must be before kmemleak counts it (MSECS_MIN_AGE, 5 s), and a grace period more:
	// RCU must have had time to free what waits for it.
	leakAge = 6 * time.Second
)

// span is the time in which a test ran, in the kernel's jiffies.
type span struct {
	test     string
	from, to uint64
}

// leak is an object that kmemleak finds no pointer to.
type leak struct {
	text    string // all that kmemleak says of it
	jiffies uint64 // when it was allocated
}

var (
	leakRe    = regexp.MustCompile(`(?m)^  comm ".*", pid \d+, jiffies (\d+)`)
	jiffiesRe = regexp.MustCompile(`(?m)^jiffies: (\d+)$`)
)

// parseLeaks reads kmemleak's report. What it cannot read the time of is taken to be of the first moment.
func parseLeaks(report string) []leak {
	const title = "unreferenced object "
	var list []leak
	for _, text := range strings.Split("\n"+report, "\n"+title)[1:] {
		l := leak{text: title + strings.TrimSpace(text)}
		if m := leakRe.FindStringSubmatch(l.text); m != nil {
			l.jiffies, _ = strconv.ParseUint(m[1], 10, 64)
		}
		list = append(list, l)
	}
	return list
}

// jiffies returns the kernel's clock, in which kmemleak tells when something was allocated.
func jiffies() (uint64, error) {
	b, err := os.ReadFile("/proc/timer_list")
	if err != nil {
		return 0, err
	}
	m := jiffiesRe.FindSubmatch(b)
	if m == nil {
		return 0, fmt.Errorf("/proc/timer_list tells no jiffies")
	}
	return strconv.ParseUint(string(m[1]), 10, 64)
}

// leakHunt finds memory that is lost by the end of a boot, and the test that ran when it was allocated.
type leakHunt struct {
	born  uint64 // what is older is the kernel's own
	spans []span
	// sections is where the module lay: kmemleak has bare addresses of a module that is gone.
	sections string
}

// newLeakHunt returns nothing where the kernel has no kmemleak.
func newLeakHunt() (*leakHunt, error) {
	if _, err := os.Stat(kmemleak); err != nil {
		return nil, nil
	}
	now, err := jiffies()
	return &leakHunt{born: now}, err
}

// start notes that a test starts; the function that it returns is called at its end.
func (h *leakHunt) start(test string) (end func()) {
	if h == nil {
		return func() {}
	}
	from, _ := jiffies()
	return func() {
		to, _ := jiffies()
		h.spans = append(h.spans, span{test, from, to})
	}
}

// culprit returns the test that ran when the object was allocated, or nothing.
func (h *leakHunt) culprit(l leak) string {
	for _, s := range h.spans {
		if s.from <= l.jiffies && l.jiffies <= s.to {
			return s.test
		}
	}
	return ""
}

// problems sums leaks up by the test that is to blame, in the order in which they come. What was allocated before
// the hunt began is left out.
func (h *leakHunt) problems(leaks []leak) []proto.Record {
	var list []proto.Record
	index := map[string]int{}
	for _, l := range leaks {
		if l.jiffies != 0 && l.jiffies < h.born {
			continue
		}
		test := h.culprit(l)
		i, ok := index[test]
		if !ok {
			title, _, _ := strings.Cut(l.text, "\n")
			i, index[test] = len(list), len(list)
			list = append(list, proto.Record{
				Kind: proto.KindProblem, Test: test,
				Problems: []proto.Problem{{Type: "leak", Text: "leaked: " + title, More: "ksnif was at " + h.sections}},
			})
		}
		list[i].Problems[0].More += "\n" + l.text
	}
	return list
}

// checkLeaks lets kmemleak scan, where the kernel has it. An object counts from the second scan on: its content must
// not have changed in between.
func (s *session) checkLeaks() {
	if s.leaks == nil {
		return
	}
	fail := func(err error) { s.problem(proto.Problem{Type: "leak", Text: "kmemleak: " + err.Error()}) }
	time.Sleep(leakAge)
	for range 2 {
		if err := os.WriteFile(kmemleak, []byte("scan"), 0); err != nil {
			fail(err)
			return
		}
	}
	report, err := os.ReadFile(kmemleak)
	if err != nil {
		fail(err)
		return
	}
	for _, rec := range s.leaks.problems(parseLeaks(string(report))) {
		s.failed = s.failed || rec.Test == ""
		s.report.send(rec)
	}
	// What kmemleak says in the log is about the same objects.
	problems, expected := s.watch.kernel([]allowedReport{{`^kmemleak: \d+ new suspected memory leaks`, "read above"}})
	s.report.send(proto.Record{Kind: proto.KindNote, Allowed: expected})
	s.check("during the search for leaks: ", problems)
}
