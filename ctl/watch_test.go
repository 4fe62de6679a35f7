// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"context"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// counting makes the counters grow by 10 with each call and sends the process
// a signal at the third.
func counting(t *testing.T, f *fake, sig syscall.Signal) {
	t.Helper()
	f.onStats = func(call int) {
		f.stats.Received += 10
		if call == 3 {
			require.NoError(t, syscall.Kill(os.Getpid(), sig))
		}
	}
}

// steady replaces what differs from run to run.
func steady(s string) string {
	s = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)`).ReplaceAllString(s, "TIME")
	return regexp.MustCompile(` +\d+/s`).ReplaceAllString(s, " N/s")
}

func TestWatchPrintsLinesUntilSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		f := newFake(t)
		counting(t, f, sig)
		got := runContext(t, soon(t), f, "stats", "--watch=0.1")
		assert.Equal(t, exitOK, got.code)
		assert.Empty(t, got.stderr)
		lines := strings.Split(strings.TrimSuffix(steady(got.stdout), "\n"), "\n")
		require.GreaterOrEqual(t, len(lines), 2)
		rest := " captured 1000 errors 6 filtered 3 dropped_queue_full 5 dropped_no_memory 2 queued 100 written 890 dropped_write 4 discarded 6"
		assert.Equal(t, "TIME received 1020"+rest, lines[0])
		assert.Equal(t, "TIME received 1030"+rest, lines[1])
	}
}

func TestWatchForms(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"watch_stats_json", []string{"stats", "--json", "--watch=0.1"}},
		{"watch_stats_per_cpu", []string{"stats", "--per-cpu", "--watch=100ms"}},
		{"watch_status", []string{"status", "--watch=0.1"}},
		{"watch_status_json", []string{"status", "--json", "--watch=0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t)
			ctx, cancel := context.WithCancel(soon(t))
			f.onStats = func(call int) {
				if call == 3 {
					cancel()
				}
			}
			got := runContext(t, ctx, f, tt.args...)
			assert.Equal(t, exitOK, got.code)
			assert.Empty(t, got.stderr)
			golden(t, tt.name, steady(got.stdout))
		})
	}
}

// On a terminal each frame overwrites the one before, and has rates.
func TestWatchRedrawsOnATerminal(t *testing.T) {
	screen := onTerminal(t, func(tty *os.File) {
		f := newFake(t)
		counting(t, f, syscall.SIGINT)
		env := fakeEnv(t, f, "stats", "--watch=0.1")
		env.Stdout, env.Stderr = tty, io.Discard
		assert.Equal(t, exitOK, Main(soon(t), env))
	})
	assert.Equal(t, 1, strings.Count(screen, "\x1b[2J"), "cleared once")
	frames := strings.Split(steady(screen), "\x1b[H")
	require.GreaterOrEqual(t, len(frames), 3)
	assert.Contains(t, frames[1], "received            1020\x1b[K\r\n", "no rate yet")
	assert.Contains(t, frames[2], "received            1030 N/s\x1b[K\r\n")
	assert.Contains(t, frames[2], "queued               100\x1b[K\r\n", "a level has no rate")
	assert.Contains(t, frames[2], "\x1b[J")
}

func TestRates(t *testing.T) {
	at := time.Unix(1000, 0)
	r := statsRun{every: 1}
	assert.Equal(t, []string{""}, r.rates([]counter{{"received", 100}}, at), "nothing to compare with")
	assert.Equal(t, []string{"50/s"}, r.rates([]counter{{"received", 200}}, at.Add(2*time.Second)))
	assert.Equal(t, []string{""}, r.rates([]counter{{"received", 3}}, at.Add(3*time.Second)), "started anew")
	once := statsRun{}
	assert.Nil(t, once.rates([]counter{{"received", 1}}, at))
}

func TestWatchFailsWhenTheModuleDoes(t *testing.T) {
	f := newFake(t)
	f.onStats = func(call int) {
		if call == 2 {
			f.readErr = genl.ErrNotLoaded
		}
	}
	got := runContext(t, soon(t), f, "stats", "--watch=0.1", "--json")
	assert.Equal(t, exitFailed, got.code)
	assert.Equal(t, 1, strings.Count(got.stdout, "\n"))
	assert.Equal(t, "ksnifctl: stats: ksnif is not loaded: run modprobe ksnif, or insmod kmod/ksnif.ko where it was built\n", got.stderr)
}

func TestEvents(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)
	state := []string{"name", "state", "errno", "unsynced", "torn"}
	device := []string{"name", "device_name"}
	send := func(f *fake) {
		running, failed := f.capture, f.capture
		running.DeviceName = "eth0"
		failed.State = parsed(t, genl.ParseState, "failed")
		failed.Errno, failed.Unsynced, failed.Torn = unix.EIO, true, true
		for _, e := range []genl.Event{
			{Type: genl.EventStarted, Attrs: state, Capture: running},
			{Type: genl.EventDeviceGone, Attrs: device, Capture: running},
			{Type: genl.EventDeviceBack, Attrs: device, Capture: running},
			{
				Type: genl.EventSettingsChanged, Capture: running,
				Attrs: []string{"name", "device_name", "family", "snaplen", "queue_size", "format", "io", "sync_interval"},
			},
			{Type: genl.EventLost},
			{Type: genl.EventFailed, Attrs: state, Capture: failed},
		} {
			e.Time = at
			f.events <- e
		}
	}
	for name, args := range map[string][]string{"events": {"events"}, "events_json": {"events", "--json"}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			send(f)
			ctx, cancel := context.WithCancel(soon(t))
			f.onIdle = cancel
			got := runContext(t, ctx, f, args...)
			assert.Equal(t, exitOK, got.code, "ended by ^C")
			assert.Empty(t, got.stderr)
			golden(t, name, got.stdout)
		})
	}
}

// A wait that gets long shows what it waits for, but only to a person.
func TestProgress(t *testing.T) {
	for _, command := range []string{"stop", "restart", "flush"} {
		t.Run(command, func(t *testing.T) {
			f := newFake(t)
			shown := make(chan bool)
			f.onStats = func(call int) {
				if call == 3 {
					close(shown)
				}
			}
			f.onControl = func(context.Context) error { <-shown; return nil }
			screen := onTerminal(t, func(tty *os.File) {
				a := &app{Env: fakeEnv(t, f, command), progressAfter: time.Millisecond, progressEvery: time.Millisecond}
				a.Stdout, a.Stderr = io.Discard, tty
				assert.Equal(t, exitOK, a.run(soon(t)))
			})
			line := "\rksnifctl: " + command + ": still writing (100 packets queued) …\x1b[K"
			assert.Greater(t, strings.Count(screen, line), 1)
			assert.True(t, strings.HasSuffix(screen, "\r\x1b[K"), "the line is empty again")
			assert.Equal(t, 2, f.closed)

			f = newFake(t)
			f.onControl = func(context.Context) error { time.Sleep(100 * time.Millisecond); return nil }
			var stderr bytes.Buffer
			a := &app{Env: fakeEnv(t, f, command), progressAfter: time.Millisecond, progressEvery: time.Millisecond}
			a.Stdout, a.Stderr = io.Discard, &stderr
			assert.Equal(t, exitOK, a.run(soon(t)))
			assert.Empty(t, stderr.String())
		})
	}
}

func TestQuickStopShowsNothing(t *testing.T) {
	screen := onTerminal(t, func(tty *os.File) {
		f := newFake(t)
		f.onControl = func(context.Context) error { time.Sleep(50 * time.Millisecond); return nil }
		env := fakeEnv(t, f, "stop")
		env.Stdout, env.Stderr = tty, tty
		assert.Equal(t, exitOK, Main(t.Context(), env))
	})
	assert.Empty(t, screen)
}

// ^C ends the wait, not the stopping, and says so.
func TestInterruptedWait(t *testing.T) {
	f := newFake(t)
	f.onControl = func(ctx context.Context) error {
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGINT))
		<-ctx.Done()
		return &genl.UnfinishedError{Command: "stop", GoesOn: "the capture goes on stopping", Err: ctx.Err()}
	}
	got := runContext(t, soon(t), f, "stop")
	assert.Equal(t, result{
		code:   exitFailed,
		stderr: "ksnifctl: stop: interrupted: the capture goes on stopping: see ksnifctl status\n",
	}, got)

	f.onControl = func(ctx context.Context) error { return context.Canceled }
	f.closed = 0
	assert.Equal(t, "ksnifctl: flush: interrupted\n", run(t, f, "flush").stderr)
}

// onTerminal runs fn with a terminal and returns what appeared on it.
func onTerminal(t *testing.T, fn func(tty *os.File)) string {
	t.Helper()
	master, tty, err := pty.Open()
	require.NoError(t, err)
	screen := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // ends with EIO once the terminal is closed
		screen <- string(text)
	}()
	fn(tty)
	require.NoError(t, tty.Close())
	text := <-screen
	require.NoError(t, master.Close())
	return text
}
