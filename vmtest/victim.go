// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"ksnif/vmtest/proto"
)

// moment is when a machine is killed: so long after it said for the nth time that it is at that step.
type moment struct {
	step  string
	nth   int
	delay time.Duration
}

func (m moment) String() string { return fmt.Sprintf("%s after %s %d", m.delay, m.step, m.nth) }

// moments chooses when to kill n machines: at each step of a capture for a start, and then anywhere.
func moments(n int, rnd *rand.Rand) []moment {
	steps := []string{
		proto.StepStarting, proto.StepFlushing, proto.StepStopped, proto.StepFlushed, proto.StepStopping, proto.StepStarted,
	}
	within := func(limit time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(limit))) }
	list := make([]moment, n)
	for i := range list {
		m := &list[i]
		m.nth = 1 + rnd.IntN(3)
		if i < len(steps) {
			m.step, m.delay = steps[i], within(10*time.Millisecond)
		} else {
			m.step, m.delay = steps[rnd.IntN(len(steps))], within(500*time.Millisecond)
		}
	}
	return list
}

// victim listens to a machine, and kills it at its moment.
type victim struct {
	*judge
	moment  moment
	vm      killer
	files   []proto.Kept // as it was said last
	seen    int          // how often it was at the moment's step
	ready   bool         // it waits for the word to capture
	partial string       // of a line
	bad     error
	killed  atomic.Bool
}

// killer is what ends a machine as a power cut does.
type killer interface{ kill() }

func newVictim(m moment) *victim {
	v := &victim{judge: newJudge([]string{crashVictim}, skipPolicy{}), moment: m}
	v.begin()
	return v
}

func (v *victim) record(r proto.Record) {
	v.judge.record(r)
	if r.Kind != proto.KindOutput {
		return
	}
	lines := strings.Split(v.partial+r.Text, "\n")
	v.partial = lines[len(lines)-1]
	for _, line := range lines[:len(lines)-1] {
		if text, ok := strings.CutPrefix(line, proto.CrashWord); ok {
			v.step(text)
		}
	}
}

// step notes what the machine said, and kills it if this is the moment.
func (v *victim) step(text string) {
	var s proto.Step
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		v.bad = fmt.Errorf("the machine says %q: %w", text, err)
		return
	}
	if s.Name == proto.StepReady {
		v.ready = true
		return
	}
	if n := len(v.files); n > 0 && v.files[n-1].File == s.Kept.File {
		v.files[n-1] = s.Kept
	} else {
		v.files = append(v.files, s.Kept)
	}
	if s.Name != v.moment.step {
		return
	}
	if v.seen++; v.seen == v.moment.nth {
		time.AfterFunc(v.moment.delay, func() {
			v.killed.Store(true)
			v.vm.kill()
		})
	}
}

// test says whether the machine came to its end as it should.
func (v *victim) test(name string, e ending) *Test {
	v.closeConsole()
	t := &Test{Name: name, Result: proto.Pass}
	guest := v.tests[crashVictim]
	for _, p := range append(guest.Problems, v.outside.Problems...) {
		t.blame(p)
	}
	switch {
	case guest.Result != "":
		t.Output = guest.Output
		t.fail("the capture ended by itself: " + guest.Reason)
	case !v.killed.Load() || e.Limit:
		t.Output = string(guest.output)
		t.fail("it was not killed: " + e.Reason)
	case v.bad != nil:
		t.fail(v.bad.Error())
	}
	if t.Result == proto.Fail {
		t.Reason = fmt.Sprintf("%s: %s", v.moment, t.Reason)
	}
	return t
}
