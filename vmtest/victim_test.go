// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/vmtest/proto"
)

// chanKiller tells that it was called.
type chanKiller chan struct{}

func (c chanKiller) kill() { close(c) }

func says(v *victim, text string) {
	v.record(proto.Record{Kind: proto.KindOutput, Test: crashVictim, Text: text})
}

func TestVictim(t *testing.T) {
	v := newVictim(moment{step: proto.StepFlushed, nth: 2})
	dead := make(chanKiller)
	v.vm = dead
	v.record(proto.Record{Kind: proto.KindStart, Test: crashVictim})
	says(v, "=== RUN\ncrash: {\"name\":\"starting\",\"kept\":{\"file\":\"a\"}}\ncrash: {\"name\":\"flu")
	says(v, "shed\",\"kept\":{\"file\":\"a\",\"started\":true,\"packets\":7}}\n")
	assert.False(t, v.killed.Load(), "killed at the first flush")
	says(v, "crash: {\"name\":\"flushed\",\"kept\":{\"file\":\"b\",\"packets\":3}}\n")
	<-dead
	assert.True(t, v.killed.Load())
	assert.Equal(t, []proto.Kept{{File: "a", Started: true, Packets: 7}, {File: "b", Packets: 3}}, v.files)
	assert.Equal(t, proto.Pass, v.test("x", ending{Reason: "QEMU: signal: killed"}).Result)
}

// A machine that complains, ends by itself, or is never killed has failed.
func TestVictimFails(t *testing.T) {
	for name, does := range map[string]func(v *victim){
		"not killed": func(*victim) {},
		"splat": func(v *victim) {
			v.killed.Store(true)
			v.console("[    1.0] BUG: sleeping function called from invalid context at x.c:1\n")
		},
		"problem": func(v *victim) {
			v.killed.Store(true)
			v.record(proto.Record{Kind: proto.KindProblem, Problems: []proto.Problem{{Type: "boot", Text: "no disk"}}})
		},
		"ends": func(v *victim) {
			v.killed.Store(true)
			v.record(proto.Record{Kind: proto.KindEnd, Test: crashVictim, Result: proto.Fail})
		},
		"garbled": func(v *victim) {
			v.killed.Store(true)
			says(v, "crash: nonsense\n")
		},
	} {
		v := newVictim(moment{step: proto.StepStarting, nth: 1})
		v.record(proto.Record{Kind: proto.KindStart, Test: crashVictim})
		does(v)
		assert.Equal(t, proto.Fail, v.test("x", ending{Reason: "QEMU: signal: killed"}).Result, name)
	}
}

func TestMoments(t *testing.T) {
	list := moments(50, rand.New(rand.NewPCG(1, 0)))
	require.Len(t, list, 50)
	assert.Equal(t, list, moments(50, rand.New(rand.NewPCG(1, 0))), "the same seed")
	assert.NotEqual(t, list, moments(50, rand.New(rand.NewPCG(2, 0))))
	steps := map[string]bool{}
	for _, m := range list[:crashNormal] {
		steps[m.step] = true
		assert.Positive(t, m.nth)
	}
	assert.Len(t, steps, 6, "steps that the normal size has")
}
