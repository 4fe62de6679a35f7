// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"context"
	"runtime"
	"strings"
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
	within(t, func() { assert.NoError(t, c.Start(ctx)) })
	time.Sleep(2 * grace)
	within(t, func() { assert.NoError(t, c.Start(t.Context()), "the next must not meet the old deadline") })
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

func TestRestartAsksAgain(t *testing.T) {
	asked := 0
	f := newFake(func(req netlink.Message) []netlink.Message {
		if asked++; asked < 3 {
			return refuse(req, unix.EINPROGRESS, "stopping", 0)
		}
		return refuse(req, unix.ENOSPC, "", 0)
	})
	err := f.client(t).Restart(t.Context())
	require.ErrorIs(t, err, unix.ENOSPC)
	assert.EqualError(t, err, "restart: no space left on device")
	assert.Equal(t, 3, asked)
}

// told is what get tells of the capture.
func told(capture Capture) func(netlink.Message) []netlink.Message {
	return func(req netlink.Message) []netlink.Message {
		return reply(req, genlMessage(CmdGet, func(ae *netlink.AttributeEncoder) { encodeCapture(ae, &capture) }))
	}
}

// A command that takes long is given once, and seen through with get: how the capture that it was for ended, or that
// its flush is done. Nothing is sent beyond what is listed.
func TestFinish(t *testing.T) {
	get := func(state State, errno unix.Errno, wanted, done uint64) func(netlink.Message) []netlink.Message {
		return told(Capture{State: state, Errno: errno, FlushWanted: wanted, FlushDone: done, Runs: 7})
	}
	answer := func(errno unix.Errno) func(netlink.Message) []netlink.Message {
		return func(req netlink.Message) []netlink.Message { return refuse(req, errno, "", 0) }
	}
	running, stopping := get(StateRunning, 0, 0, 0), get(StateStopping, 0, 0, 0)
	working, next := answer(unix.EINPROGRESS), told(Capture{State: StateRunning, FlushWanted: 9, FlushDone: 9, Runs: 8})
	type answers []func(netlink.Message) []netlink.Message
	stop, flush := (*Client).Stop, (*Client).Flush
	for name, tt := range map[string]struct {
		call    func(*Client, context.Context) error
		answers answers
		want    error
	}{
		"stop, at once":                  {stop, answers{running, acknowledge}, nil},
		"stop, refused":                  {stop, answers{running, answer(unix.EIO)}, unix.EIO},
		"stop, later":                    {stop, answers{running, working, stopping, stopping, get(StateStopped, 0, 0, 0)}, nil},
		"stop, later in an error":        {stop, answers{running, working, stopping, get(StateFailed, unix.EIO, 0, 0)}, unix.EIO},
		"stop, somebody else was told":   {stop, answers{running, working, get(StateStopped, unix.EIO, 0, 0)}, unix.EIO},
		"stop, the next one runs":        {stop, answers{running, working, stopping, next}, ErrStartedAgain},
		"stop, a flush is not a stop":    {stop, answers{running, working, get(StateRunning, 0, 1, 1), get(StateStopped, 0, 1, 1)}, nil},
		"flush, at once":                 {flush, answers{running, acknowledge}, nil},
		"flush, refused":                 {flush, answers{running, answer(unix.ENOTCONN)}, unix.ENOTCONN},
		"flush, get refused":             {flush, answers{answer(unix.EPERM)}, unix.EPERM},
		"flush, get refused later":       {flush, answers{running, working, answer(unix.ENOMEM)}, unix.ENOMEM},
		"flush, later":                   {flush, answers{running, working, get(StateRunning, 0, 5, 3), get(StateRunning, 0, 6, 4), get(StateRunning, 0, 9, 5)}, nil},
		"flush, done when first seen":    {flush, answers{running, working, get(StateRunning, 0, 5, 5)}, nil},
		"flush, stopping is not done":    {flush, answers{running, working, get(StateStopping, 0, 5, 5), get(StateStopped, 0, 5, 5)}, nil},
		"flush, the capture was stopped": {flush, answers{running, working, get(StateRunning, 0, 5, 3), get(StateStopped, 0, 5, 5)}, nil},
		"flush, the capture failed":      {flush, answers{running, working, get(StateRunning, 0, 5, 3), get(StateFailed, unix.EIO, 5, 3)}, unix.EIO},
		"flush, the next one runs":       {flush, answers{running, working, get(StateRunning, 0, 5, 3), next}, ErrStartedAgain},
	} {
		t.Run(name, func(t *testing.T) {
			sent := 0
			f := newFake(func(req netlink.Message) []netlink.Message {
				sent++
				if sent > len(tt.answers) {
					return refuse(req, unix.ELOOP, "asked too often", 0)
				}
				return tt.answers[sent-1](req)
			})
			err := tt.call(f.client(t), t.Context())
			require.ErrorIs(t, err, tt.want)
			if err != nil {
				assert.Regexp(t, "^"+strings.Split(name, ",")[0]+": ", err.Error())
			}
			assert.Equal(t, len(tt.answers), sent)
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
		{(*Client).Restart, "restart: interrupted: the capture may still stop, and is not started again"},
		{(*Client).Flush, "flush: interrupted: the capture goes on writing"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			asked := 0
			f := newFake(func(req netlink.Message) []netlink.Message {
				if asked++; asked == 4 {
					cancel()
				}
				if req.Data[0] == CmdGet {
					return told(Capture{State: StateRunning, FlushWanted: 1})(req)
				}
				return refuse(req, unix.EINPROGRESS, "", 0)
			})
			err := tt.call(f.client(t), ctx)
			require.ErrorIs(t, err, context.Canceled)
			var unfinished *UnfinishedError
			require.ErrorAs(t, err, &unfinished)
			assert.EqualError(t, err, tt.want)
			assert.Equal(t, 4, asked)
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
