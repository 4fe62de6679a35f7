// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksnif/genl"
)

// fake is a module as the commands see it. calls lists what was asked.
type fake struct {
	capture genl.Capture
	stats   genl.Stats
	cpus    []genl.CPUStats
	events  chan genl.Event
	err     error // every command's answer but Get's and Stats's
	readErr error // Get's and Stats's answer

	onControl func(ctx context.Context) error // stands in for stop, restart and flush
	onStats   func(call int)
	onIdle    func() // when no event is left to read

	set        genl.Settings
	calls      []string
	statsCalls int
	closed     int
}

func newFake(t *testing.T) *fake {
	t.Helper()
	return &fake{
		capture: genl.Capture{
			Name: "default", DeviceName: "any", Family: parsed(t, genl.ParseIPFamily, "inet"),
			Logfile: "/var/log/ksnif.pcapng", Snaplen: 262144, QueueSize: 16 << 20,
			Format: parsed(t, genl.ParseFormat, "pcapng"), IO: parsed(t, genl.ParseIO, "buffered"),
			State: parsed(t, genl.ParseState, "running"), FileSize: 123456,
			FlushWanted: 7, FlushDone: 6, Runs: 3,
		},
		stats: genl.Stats{
			Name: "default", Received: 1010, Filtered: 3, Captured: 1000, DroppedQueueFull: 5,
			DroppedNoMemory: 2, Queued: 100, Written: 890, DroppedWrite: 4, Discarded: 6, Errors: 6,
		},
		cpus: []genl.CPUStats{
			{CPU: 0, Received: 1000, Filtered: 3, Captured: 990, DroppedQueueFull: 5, DroppedNoMemory: 2},
			{CPU: 1, Received: 10, Captured: 10},
		},
		events: make(chan genl.Event, 16),
	}
}

// parsed is the value of an enum by its name.
func parsed[T any](t *testing.T, parse func(string) (T, error), word string) T {
	t.Helper()
	v, err := parse(word)
	require.NoError(t, err)
	return v
}

func (f *fake) Close() error { f.closed++; return nil }

func (f *fake) Get(context.Context) (*genl.Capture, error) {
	f.calls = append(f.calls, "get")
	return &f.capture, f.readErr
}

func (f *fake) Set(_ context.Context, s genl.Settings) error {
	f.calls = append(f.calls, "set")
	f.set = s
	return f.err
}

func (f *fake) Start(context.Context) error {
	f.calls = append(f.calls, "start")
	return f.err
}

func (f *fake) Stop(ctx context.Context) error    { return f.control(ctx, "stop") }
func (f *fake) Restart(ctx context.Context) error { return f.control(ctx, "restart") }
func (f *fake) Flush(ctx context.Context) error   { return f.control(ctx, "flush") }

func (f *fake) control(ctx context.Context, name string) error {
	f.calls = append(f.calls, name)
	if f.onControl != nil {
		return f.onControl(ctx)
	}
	return f.err
}

func (f *fake) Stats(context.Context) (*genl.Stats, error) {
	f.statsCalls++
	if f.onStats != nil {
		f.onStats(f.statsCalls)
	}
	s := f.stats
	return &s, f.readErr
}

func (f *fake) StatsPerCPU(context.Context) ([]genl.CPUStats, error) { return f.cpus, f.readErr }

func (f *fake) Events(ctx context.Context) (EventReader, error) {
	if f.err != nil {
		return nil, f.err
	}
	return fakeReader{ctx, f}, nil
}

type fakeReader struct {
	ctx context.Context
	*fake
}

func (r fakeReader) Next() (*genl.Event, error) {
	select {
	case e := <-r.events:
		return &e, nil
	default:
	}
	if r.onIdle != nil {
		r.onIdle()
	}
	<-r.ctx.Done()
	return nil, r.ctx.Err()
}

func (r fakeReader) Close() error { return nil }

// result is what a run left.
type result struct {
	code           int
	stdout, stderr string
}

// run runs the tool against f, which may be nil where no module is asked.
func run(t *testing.T, f *fake, args ...string) result {
	t.Helper()
	return runContext(t, t.Context(), f, args...)
}

func runContext(t *testing.T, ctx context.Context, f *fake, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := fakeEnv(t, f, args...)
	env.Stdout, env.Stderr = &stdout, &stderr
	code := Main(ctx, env)
	if f != nil {
		require.LessOrEqual(t, f.closed, 1)
		if len(f.calls) > 0 {
			require.Equal(t, 1, f.closed, "the connection is closed")
		}
	}
	return result{code, stdout.String(), stderr.String()}
}

func fakeEnv(t *testing.T, f *fake, args ...string) Env {
	t.Helper()
	return Env{
		Args:    args,
		Version: "1.2.3",
		Sysfs:   t.TempDir(),
		Dial: func() (Client, error) {
			require.NotNil(t, f, "this command must not ask the module")
			return f, nil
		},
	}
}

// golden compares with a file of testdata; UPDATE=1 rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// soon bounds a test that would hang if it failed.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
