// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"ksnif/vmtest/proto"
)

// heard takes what a boot says.
type heard []string

func (h *heard) console(line string)   { *h = append(*h, "console "+line) }
func (h *heard) record(r proto.Record) { *h = append(*h, "record "+string(r.Kind)) }
func (h *heard) output(b []byte)       { *h = append(*h, "output "+string(b)) }

// fakeVM is a QEMU that is not there.
type fakeVM struct {
	done chan struct{}
	err  error
}

func (f *fakeVM) stop()                  { close(f.done) }
func (f *fakeVM) ended() <-chan struct{} { return f.done }
func (f *fakeVM) exit() error            { return f.err }

func record(kind proto.Kind) message { return message{record: &proto.Record{Kind: kind}} }

// play says something every five seconds, until it is through or was stopped.
func (f *fakeVM) play(say []message, exits bool, to chan<- message) {
	for _, m := range say {
		to <- m
		if f.waitEnded(5 * time.Second) {
			break
		}
	}
	if exits {
		close(f.done)
	}
	<-f.done
	for range 3 {
		to <- message{closed: true}
	}
}

func (f *fakeVM) waitEnded(limit time.Duration) bool {
	select {
	case <-f.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// TestWatcher runs boots in a made-up time.
func TestWatcher(t *testing.T) {
	up, alive, last := record(proto.KindBoot), record(proto.KindAlive), record(proto.KindVerdict)
	talk := []message{up}
	for range 30 {
		talk = append(talk, alive)
	}
	exits := errors.New("exit status 1")
	cases := []struct {
		name     string
		accel    Accel
		opts     Options
		messages []message
		exits    bool // by itself, behind the messages
		err      error
		want     ending
	}{
		{"a good end", TCG, Options{}, []message{up, last}, true, nil, ending{}},
		{"no verdict", TCG, Options{}, []message{up}, true, nil, ending{Reason: "the VM ended without a verdict"}},
		{"never up", TCG, Options{}, []message{{console: "SeaBIOS"}}, true, nil,
			ending{Reason: "the VM ended before init reported", NeverUp: true}},
		{"a panic", TCG, Options{}, []message{up, {console: "[    1.0] Kernel panic - not syncing: x\r\n"}}, true, nil,
			ending{Reason: "Kernel panic - not syncing: x"}},
		{"a panic after the verdict", TCG, Options{}, []message{up, last, {console: "[    1.0] Kernel panic - y\r\n"}}, true, nil,
			ending{Reason: "Kernel panic - y"}},
		{"QEMU fails", TCG, Options{}, []message{up, last}, true, exits, ending{Reason: "QEMU: exit status 1"}},
		{"silence", TCG, Options{}, []message{up, alive}, false, nil,
			ending{Reason: "silence limit: the guest said nothing for 1m0s", Limit: true}},
		{"timeout while it talks", TCG, Options{Timeout: time.Minute}, talk, false, nil,
			ending{Reason: "TIMEOUT: the VM was not done after 1m0s", Limit: true}},
		{"it goes on after the verdict", TCG, Options{}, []message{up, last, {console: "x"}, {console: "y"}, {console: "z"}},
			false, nil, ending{Reason: "the VM did not end within 20s of its verdict", Limit: true}},
		{"KVM that does not come up", KVM, Options{}, nil, false, nil,
			ending{Reason: "init was not up after 40s with KVM", Limit: true, NeverUp: true}},
		{"KVM that is up has time", KVM, Options{}, talk, true, nil, ending{Reason: "the VM ended without a verdict"}},
		{"a clock of instructions is slow", TCG, Options{Icount: true}, []message{up}, false, nil,
			ending{Reason: "silence limit: the guest said nothing for 10m0s", Limit: true}},
		{"gdb has all the time", KVM, Options{GDB: "1234", Timeout: time.Minute}, talk, true, nil,
			ending{Reason: "the VM ended without a verdict"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				vm := &fakeVM{done: make(chan struct{}), err: c.err}
				messages := make(chan message, len(c.messages)+3)
				go vm.play(c.messages, c.exits, messages)
				w := &watcher{boot: &boot{accel: c.accel, opts: c.opts}, vm: vm, sink: &heard{}}
				assert.Equal(t, c.want, w.watch(context.Background(), messages))
			})
		})
	}
}

func TestWatcherInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		vm := &fakeVM{done: make(chan struct{})}
		w := &watcher{boot: &boot{accel: TCG}, vm: vm, sink: &heard{}}
		assert.Equal(t, "interrupted", w.watch(ctx, make(chan message)).Reason)
		<-vm.done
	})
}

// TestWatcherPassesOn: what QEMU said before it ended counts, even if it is read after the end.
func TestWatcherPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		vm := &fakeVM{done: make(chan struct{})}
		close(vm.done)
		messages := make(chan message, 6)
		for _, m := range []message{
			{console: "a"}, {output: []byte("b")}, record(proto.KindVerdict), {closed: true}, {closed: true}, {closed: true},
		} {
			messages <- m
		}
		var got heard
		w := &watcher{boot: &boot{accel: TCG}, vm: vm, sink: &got}
		began := time.Now()
		assert.Equal(t, ending{}, w.watch(context.Background(), messages))
		assert.Equal(t, heard{"console a", "output b", "record verdict"}, got)
		assert.Zero(t, time.Since(began), "the last channel's end is the end")
	})
}

// What is typed before the guest is up would be lost if another boot had to try it: nothing is passed on until then.
func TestWatcherTellsWhenUp(t *testing.T) {
	var said heard
	w := &watcher{boot: &boot{}, sink: &said, onUp: func() { said = append(said, "up") }}
	for _, m := range []message{{console: "hello"}, record(proto.KindBoot), record(proto.KindAlive)} {
		w.take(m)
	}
	assert.Equal(t, heard{"console hello", "up", "record boot", "record alive"}, said)
}

// TestAgain: what the emulator does wrong is no failure of ksnif, but a kernel that never boots is one.
func TestAgain(t *testing.T) {
	dead := ending{Reason: "Kernel panic - x", NeverUp: true}
	mute := ending{Reason: "silence", Limit: true, NeverUp: true}
	h := &Harness{Progress: newQuiet(io.Discard)}
	assert.False(t, h.again(TCG, ending{Reason: "Kernel panic - x"}), "init was up")
	assert.False(t, h.again(TCG, mute), "the host ended it")
	assert.True(t, h.again(TCG, dead))
	assert.False(t, h.again(TCG, dead), "twice in a row")
	assert.False(t, h.again(TCG, ending{}))
	assert.True(t, h.again(TCG, dead), "a boot in between was good")
	beside := h.Named("beside")
	assert.True(t, h.again(KVM, mute))
	a, why, err := beside.accel()
	assert.NoError(t, err)
	assert.Equal(t, TCG, a)
	assert.Contains(t, why, "a boot with KVM failed", "nobody else has to find out")
	forced := &Harness{Options: Options{Accel: "kvm"}}
	assert.False(t, forced.again(KVM, mute), "the user wants KVM")
}
