// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"ksnif/vmtest/klog"
	"ksnif/vmtest/proto"
)

// vm is what a watcher can do about a QEMU.
type vm interface {
	stop()                  // end it, and return when it is gone
	ended() <-chan struct{} // closed when it is gone
	exit() error            // then: how it exited
}

// watcher follows one boot to its end, and says why it ended.
type watcher struct {
	boot    *boot
	vm      vm
	sink    sink
	up      bool
	onUp    func()
	verdict bool
	panic   string // the console's line
	closed  int    // channels at their end
}

// limits returns the host's time limits; zero is none.
func (w *watcher) limits() (silence, total time.Duration) {
	o := w.boot.opts
	switch {
	case o.GDB != "":
		return 0, 0
	case o.Icount:
		return 10 * silenceLimit, o.Timeout // the guest's 2 s are minutes here
	case w.boot.silence > 0:
		return w.boot.silence, o.Timeout
	}
	return silenceLimit, o.Timeout
}

// watch passes messages on until QEMU is gone and all that it said was read.
func (w *watcher) watch(ctx context.Context, messages <-chan message) ending {
	silence, total := w.limits()
	quiet := newAlarm(silence)
	all := newAlarm(total)
	off := newAlarm(0)
	up := newAlarm(w.upLimit())
	defer stopAll(quiet, all, off, up)
	for {
		select {
		case m := <-messages:
			if m.record != nil || m.console != "" || m.output != nil {
				quiet.reset(silence)
			}
			w.take(m)
			if w.up {
				up.stop()
			}
			if w.verdict && m.record != nil {
				off.reset(powerOffLimit)
			}
		case <-quiet.c():
			return w.end(messages, fmt.Sprintf("silence limit: the guest said nothing for %s", silence))
		case <-all.c():
			return w.end(messages, fmt.Sprintf("TIMEOUT: the VM was not done after %s", total))
		case <-off.c():
			return w.end(messages, fmt.Sprintf("the VM did not end within %s of its verdict", powerOffLimit))
		case <-up.c():
			return w.end(messages, fmt.Sprintf("init was not up after %s with KVM", kvmBootLimit))
		case <-w.vm.ended():
			return w.exited(messages)
		case <-ctx.Done():
			return w.end(messages, "interrupted")
		}
	}
}

// upLimit bounds the time until init is up where there is something else to try.
func (w *watcher) upLimit() time.Duration {
	if w.boot.accel == KVM && w.boot.opts.GDB == "" {
		return kvmBootLimit
	}
	return 0
}

func (w *watcher) take(m message) {
	switch {
	case m.closed:
		w.closed++
	case m.record != nil:
		if !w.up && w.onUp != nil {
			w.onUp()
		}
		w.up = true
		w.verdict = w.verdict || m.record.Kind == proto.KindVerdict
		w.sink.record(*m.record)
	case m.output != nil:
		w.sink.output(m.output)
	default:
		if line := klog.Strip(m.console); w.panic == "" && strings.HasPrefix(line, "Kernel panic - ") {
			w.panic = line
		}
		w.sink.console(m.console)
	}
}

// end stops QEMU for a reason of the host's.
func (w *watcher) end(messages <-chan message, reason string) ending {
	w.vm.stop()
	w.drain(messages)
	return ending{Reason: reason, Limit: true, NeverUp: !w.up}
}

// exited explains why QEMU is gone.
func (w *watcher) exited(messages <-chan message) ending {
	w.drain(messages)
	e := ending{NeverUp: !w.up}
	err := w.vm.exit()
	switch {
	case w.panic != "":
		e.Reason = w.panic
	case err != nil:
		e.Reason = fmt.Sprintf("QEMU: %v", err)
	case !w.verdict && !w.up:
		e.Reason = "the VM ended before init reported"
	case !w.verdict:
		e.Reason = "the VM ended without a verdict"
	}
	return e
}

// drain takes what QEMU said before it ended.
func (w *watcher) drain(messages <-chan message) {
	const channels = 3
	deadline := time.After(5 * time.Second)
	for w.closed < channels {
		select {
		case m := <-messages:
			w.take(m)
		case <-deadline:
			return
		}
	}
}

// alarm is a timer that may be off.
type alarm struct{ t *time.Timer }

func newAlarm(d time.Duration) *alarm {
	a := &alarm{}
	a.reset(d)
	return a
}

func (a *alarm) reset(d time.Duration) {
	a.stop()
	if d > 0 {
		a.t = time.NewTimer(d)
	}
}

func (a *alarm) stop() {
	if a.t != nil {
		a.t.Stop()
		a.t = nil
	}
}

// c is nil, and so never ready, while the alarm is off.
func (a *alarm) c() <-chan time.Time {
	if a.t == nil {
		return nil
	}
	return a.t.C
}

func stopAll(alarms ...*alarm) {
	for _, a := range alarms {
		a.stop()
	}
}
