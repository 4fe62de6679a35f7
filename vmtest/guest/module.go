// SPDX-License-Identifier: GPL-2.0

package guest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ksnif/genl"
)

// Loaded says whether the module is loaded.
func Loaded() bool {
	_, err := os.Stat("/sys/module/ksnif")
	return err == nil
}

// ModuleFile is the file that modprobe loads the module from. Unlike that at [proto.PathModule] it has no unit tests.
func ModuleFile(t testing.TB) string {
	t.Helper()
	release := strings.TrimSpace(Run(t, "uname", "-r"))
	return filepath.Join("/lib/modules", release, "extra", "ksnif.ko")
}

// Load loads the module.
func Load(t testing.TB) {
	t.Helper()
	Run(t, "modprobe", "ksnif")
}

// Unload removes the module; a running capture is stopped by that.
func Unload(t testing.TB) {
	t.Helper()
	Run(t, "rmmod", "ksnif")
}

// Context ends at the limit, stretched for a slow VM, or with the test.
func Context(t testing.TB, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Limit(limit))
	t.Cleanup(cancel)
	return ctx
}

// Client returns a client of the module. When the test ends, the capture is stopped and all settings are what they
// were.
func Client(t testing.TB) *genl.Client {
	t.Helper()
	c, err := genl.New()
	if err != nil {
		t.Fatalf("connect to the module: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close the connection to the module: %v", err)
		}
	})
	before, err := c.Get(Context(t, 10*time.Second))
	if err != nil {
		t.Fatalf("get settings: %v", err)
	}
	t.Cleanup(func() { reset(t, c, before) })
	return c
}

// reset stops the capture and puts the settings back. A module that the test removed has forgotten them anyhow.
func reset(t testing.TB, c *genl.Client, to *genl.Capture) {
	t.Helper()
	if !Loaded() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), Limit(30*time.Second))
	defer cancel()
	if state, err := c.Get(ctx); err == nil && state.State != genl.StateStopped {
		if err := c.Stop(ctx); err != nil {
			t.Logf("stop at the end of the test: %v", err)
		}
	}
	if err := c.Set(ctx, Settings(to)); err != nil {
		t.Errorf("put settings back: %v", err)
	}
}

// Settings are all settings of a capture, for a set that makes them what they were.
func Settings(c *genl.Capture) genl.Settings {
	return genl.Settings{
		DeviceName: &c.DeviceName, Family: &c.Family, Logfile: &c.Logfile, Snaplen: &c.Snaplen,
		QueueSize: &c.QueueSize, Format: &c.Format, IO: &c.IO, SyncInterval: &c.SyncInterval,
	}
}

// Stats reads the counters.
func Stats(t testing.TB, c *genl.Client) *genl.Stats {
	t.Helper()
	s, err := c.Stats(Context(t, 10*time.Second))
	if err != nil {
		t.Fatalf("stats: %v", err)
	}
	return s
}
