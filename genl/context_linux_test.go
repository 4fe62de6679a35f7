// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// soon is far longer than anything here should take, and far shorter than for
// ever.
const soon = 10 * time.Second

// within fails the test if fn takes for ever.
func within(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	select {
	case <-done:
	case <-time.After(soon):
		t.Fatal("still blocked")
	}
}

func TestContextIsDoneBefore(t *testing.T) {
	var asked atomic.Int32
	f := newFake(func(req netlink.Message) []netlink.Message { asked.Add(1); return acknowledge(req) })
	c := f.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := c.Stop(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.EqualError(t, err, "stop: context canceled")
	assert.Zero(t, asked.Load(), "nothing must have been sent")
}

// An answer that never comes ends with the context; one that comes late is not
// taken for the next request's.
func TestContextEndsReceive(t *testing.T) {
	var lost atomic.Pointer[netlink.Message]
	f := newFake(func(req netlink.Message) []netlink.Message {
		if lost.CompareAndSwap(nil, &req) {
			return nil
		}
		return reply(req, genlMessage(CmdGet, captureAttributes))
	})
	c := f.client(t)
	within(t, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := c.Get(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	f.push(reply(*lost.Load(), genlMessage(CmdGet, func(*netlink.AttributeEncoder) {})))
	within(t, func() {
		for range 2 {
			capture, err := c.Get(t.Context())
			assert.NoError(t, err)
			assert.Equal(t, wantCapture(), capture)
		}
	})
}

// The kernel's answer counts, even if the context ended during the send.
func TestAnswerIsThereWhenContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := newFake(func(req netlink.Message) []netlink.Message { cancel(); return acknowledge(req) })
	c := f.client(t)
	f.slow = grace / 10
	within(t, func() { assert.NoError(t, c.Stop(ctx)) })
	time.Sleep(2 * grace)
	within(t, func() { assert.NoError(t, c.Stop(t.Context()), "the next must not meet the old deadline") })
}

func TestWaitingForTheTurnEndsWithContext(t *testing.T) {
	sent := make(chan struct{})
	f := newFake(func(netlink.Message) []netlink.Message { close(sent); return nil })
	c := f.client(t)
	first, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); _, _ = c.Get(first) }()
	<-sent
	within(t, func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := c.Stats(ctx)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	cancel()
	within(t, func() { <-done })
}

func TestFinishAsksAgain(t *testing.T) {
	for name, call := range map[string]func(*Client, context.Context) error{
		"stop": (*Client).Stop, "restart": (*Client).Restart,
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			f := newFake(func(req netlink.Message) []netlink.Message {
				if asked.Add(1) < 3 {
					return refuse(req, unix.EINPROGRESS, "stopping", 0)
				}
				return refuse(req, unix.ENOSPC, "", 0)
			})
			err := call(f.client(t), t.Context())
			require.ErrorIs(t, err, unix.ENOSPC)
			assert.EqualError(t, err, name+": no space left on device")
			assert.EqualValues(t, 3, asked.Load())
		})
	}
}

// A flush that takes long is asked for once, and again only of a capture that ends or is another.
func TestFlushAsksHowFarItIs(t *testing.T) {
	type step struct {
		command uint8      // what the client is to ask
		state   State      // the answer to get
		numbers [2]uint64  // wanted and done, there
		errno   unix.Errno // the answer to flush
	}
	const working = unix.EINPROGRESS
	asks := step{command: CmdFlush, errno: working}
	running := func(wanted, done uint64) step { return step{CmdGet, StateRunning, [2]uint64{wanted, done}, 0} }
	for name, steps := range map[string][]step{
		"done at once":         {{command: CmdFlush}},
		"refused":              {{command: CmdFlush, errno: unix.ENOTCONN}},
		"done later":           {asks, running(5, 3), running(5, 4), running(9, 5)},
		"done when first seen": {asks, running(5, 5)},
		"stopping":             {asks, running(5, 3), {command: CmdGet, state: StateStopping, numbers: [2]uint64{5, 3}}, {command: CmdFlush}},
		"stopped":              {asks, {command: CmdGet, state: StateStopped, numbers: [2]uint64{5, 5}}, {command: CmdFlush, errno: unix.ENOTCONN}},
		"failed":               {asks, {command: CmdGet, state: StateFailed, numbers: [2]uint64{5, 5}}, {command: CmdFlush, errno: unix.ENOTCONN}},
		"another capture":      {asks, running(5, 3), running(4, 4), asks, running(6, 5), running(6, 6)},
		"another, not asked":   {asks, running(0, 0), asks, running(1, 0), running(2, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			next := 0
			f := newFake(func(req netlink.Message) []netlink.Message {
				require.Less(t, next, len(steps), "asked too often")
				s := steps[next]
				next++
				require.Equal(t, s.command, req.Data[0], "step %d", next)
				switch {
				case s.command == CmdGet:
					return reply(req, genlMessage(CmdGet, func(ae *netlink.AttributeEncoder) {
						ae.Uint32(AttrCaptureState, uint32(s.state))
						ae.Uint64(AttrCaptureFlushWanted, s.numbers[0])
						ae.Uint64(AttrCaptureFlushDone, s.numbers[1])
					}))
				case s.errno != 0:
					return refuse(req, s.errno, "", 0)
				}
				return acknowledge(req)
			})
			err := f.client(t).Flush(t.Context())
			if last := steps[len(steps)-1]; last.errno != 0 {
				require.ErrorIs(t, err, last.errno)
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, len(steps), next)
		})
	}
}

func TestStartDoesNotAskAgain(t *testing.T) {
	f := newFake(func(req netlink.Message) []netlink.Message {
		return refuse(req, unix.EINPROGRESS, "start: stopping", 0)
	})
	require.ErrorIs(t, f.client(t).Start(t.Context()), unix.EINPROGRESS)
}

func TestFinishSaysWhatGoesOn(t *testing.T) {
	for _, tt := range []struct {
		call func(*Client, context.Context) error
		want string
	}{
		{(*Client).Stop, "stop: interrupted: the capture goes on stopping"},
		{(*Client).Restart, "restart: interrupted: the capture goes on stopping and is not started again"},
		{(*Client).Flush, "flush: interrupted: the capture goes on writing"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var asked atomic.Int32
			f := newFake(func(req netlink.Message) []netlink.Message {
				if asked.Add(1) == 2 {
					cancel()
				}
				return refuse(req, unix.EINPROGRESS, "", 0)
			})
			err := tt.call(f.client(t), ctx)
			require.ErrorIs(t, err, context.Canceled)
			var unfinished *UnfinishedError
			require.ErrorAs(t, err, &unfinished)
			assert.EqualError(t, err, tt.want)
			assert.EqualValues(t, 2, asked.Load())
		})
	}
}

func TestNoGoroutineIsLeft(t *testing.T) {
	f := newFake(func(req netlink.Message) []netlink.Message { return acknowledge(req) })
	c := f.client(t)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	for range 20 {
		require.NoError(t, c.Start(ctx))
	}
	cancel()
	_ = c.Start(ctx)
	assert.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, soon, time.Millisecond)
}
