// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	yaml "go.yaml.in/yaml/v3"

	"ksnif/genl"
)

// spec is what the tests read of genl/ksnif.yaml.
type spec struct {
	Operations struct {
		List []struct {
			Name string
			Do   struct {
				Request, Reply struct{ Attributes []string }
			}
			Dump struct {
				Reply struct{ Attributes []string }
			}
		}
	}
}

func readSpec(t *testing.T) spec {
	t.Helper()
	text, err := os.ReadFile("../genl/ksnif.yaml")
	require.NoError(t, err)
	var s spec
	require.NoError(t, yaml.Unmarshal(text, &s))
	return s
}

// Nothing of the spec is missing here, and nothing has another name.
func TestNamesAreTheSpecs(t *testing.T) {
	seen := 0
	for _, op := range readSpec(t).Operations.List {
		switch op.Name {
		case "set":
			var names []string
			for _, s := range settings() {
				names = append(names, s.name)
			}
			assert.Equal(t, without(op.Do.Request.Attributes, "name"), names)
		case "get":
			var names []string
			for _, f := range captureFields() {
				names = append(names, f.name)
			}
			assert.ElementsMatch(t, op.Do.Reply.Attributes, names)
		case "stats":
			var names []string
			for _, c := range counters(&genl.Stats{}) {
				names = append(names, c.name)
			}
			assert.Equal(t, without(op.Do.Reply.Attributes, "name"), names)
			names = nil
			for _, c := range cpuCounters(genl.CPUStats{}) {
				names = append(names, c.name)
			}
			assert.Equal(t, without(op.Dump.Reply.Attributes, "name", "cpu"), names)
		default:
			continue
		}
		seen++
	}
	assert.Equal(t, 3, seen)
}

func without(list []string, drop ...string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(drop, s) })
}

// loadSchema is a committed schema; formats are checked too.
func loadSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob("schema/*.json")
	require.NoError(t, err)
	for _, file := range files {
		f, err := os.Open(file)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(f)
		f.Close()
		require.NoError(t, err, file)
		require.NoError(t, c.AddResource(filepath.Base(file), doc))
	}
	s, err := c.Compile(name + ".json")
	require.NoError(t, err)
	return s
}

// jsonRuns are all commands that print JSON, in all forms.
func jsonRuns() map[string][][]string {
	runs := map[string][][]string{
		"get":     {{"get", "--json"}},
		"stats":   {{"stats", "--json"}, {"stats", "--json", "--per-cpu"}, {"stats", "--json", "--watch=0.1"}},
		"status":  {{"status", "--json"}, {"status", "--json", "--watch=0.1"}},
		"events":  {{"events", "--json"}},
		"version": {{"version", "--json"}},
	}
	for _, s := range settings() {
		runs["get"] = append(runs["get"], []string{"get", s.name, "--json"})
	}
	return runs
}

// jsonOutput runs a command, a watch for two frames, events for one of each.
func jsonOutput(t *testing.T, args []string) []string {
	t.Helper()
	f := newFake(t)
	state := []string{"name", "state", "errno", "unsynced", "torn"}
	for _, e := range []genl.Event{
		{Type: genl.EventStarted, Attrs: state}, {Type: genl.EventStopped, Attrs: state}, {Type: genl.EventFailed, Attrs: state},
		{Type: genl.EventDeviceGone, Attrs: []string{"name", "device_name"}},
		{Type: genl.EventDeviceBack, Attrs: []string{"name", "device_name"}},
		{Type: genl.EventSettingsChanged, Attrs: []string{"name", "device_name", "family", "snaplen", "queue_size", "format", "io", "sync_interval"}},
		{Type: genl.EventLost},
	} {
		e.Time, e.Capture = time.Now(), f.capture
		f.events <- e
	}
	ctx, cancel := context.WithCancel(soon(t))
	f.onIdle = cancel
	f.onStats = func(call int) {
		if call == 3 {
			cancel()
		}
	}
	got := runContext(t, ctx, f, args...)
	require.Equal(t, exitOK, got.code, got.stderr)
	lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	require.NotEmpty(t, lines)
	return lines
}

func TestJSONFitsTheSchema(t *testing.T) {
	for name, runs := range jsonRuns() {
		schema := loadSchema(t, name)
		for _, args := range runs {
			t.Run(strings.Join(args, " "), func(t *testing.T) {
				for _, line := range jsonOutput(t, args) {
					v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
					require.NoError(t, err)
					assert.NoError(t, schema.Validate(v), line)
					spoil(t, schema, line)
				}
			})
		}
	}
}

// spoil makes sure that the schema says no to an object with a key more, a key
// less, or another type.
func spoil(t *testing.T, schema *jsonschema.Schema, line string) {
	t.Helper()
	object := func() map[string]any {
		var v map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		require.NoError(t, d.Decode(&v))
		return v
	}
	more := object()
	more["more"] = json.Number("1")
	assert.Error(t, schema.Validate(more))
	for key := range object() {
		other := object()
		other[key] = []any{}
		if key != "cpus" {
			assert.Error(t, schema.Validate(other), "%s of another type", key)
		}
		less := object()
		delete(less, key)
		if optional := key == "time" && less["event"] == nil || key == "cpus"; !optional {
			assert.Error(t, schema.Validate(less), "without %s", key)
		}
	}
}

// The manual pages render without a warning, are the same every day, and there
// is one for each command.
func TestManualPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	require.Equal(t, result{}, run(t, nil, "man", dir))
	var names []string
	pages, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, p := range pages {
		names = append(names, strings.TrimSuffix(p.Name(), ".8"))
		text, err := os.ReadFile(filepath.Join(dir, p.Name()))
		require.NoError(t, err)
		assert.Contains(t, string(text), `.TH "`+strings.ToUpper(strings.TrimSuffix(p.Name(), ".8"))+`" "8" "Jan 2026" "ksnif 1.2.3"`)
		assert.Equal(t, p.Name() == "ksnifctl.8", strings.Contains(string(text), ".SH WHAT KSNIF PROMISES\n"), p.Name())
		assert.Equal(t, p.Name() == "ksnifctl.8", strings.Contains(string(text), ".SH COMMANDS\n"), p.Name())
		assert.NotContains(t, string(text), "[=]")
		assert.NotContains(t, string(text), "[=false]")
		renders(t, filepath.Join(dir, p.Name()))
	}
	assert.Equal(t, []string{
		"ksnifctl-completion", "ksnifctl-events", "ksnifctl-flush", "ksnifctl-get", "ksnifctl-help",
		"ksnifctl-restart", "ksnifctl-set", "ksnifctl-start", "ksnifctl-stats", "ksnifctl-status", "ksnifctl-stop",
		"ksnifctl-version", "ksnifctl",
	}, names)
}

func TestManualPagesDate(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	dir := t.TempDir()
	require.Equal(t, result{}, run(t, nil, "man", dir))
	text, err := os.ReadFile(filepath.Join(dir, "ksnifctl-set.8"))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"Sep 2001"`)

	t.Setenv("SOURCE_DATE_EPOCH", "today")
	got := run(t, nil, "man", dir)
	assert.Equal(t, exitFailed, got.code)
	assert.Regexp(t, `^ksnifctl: man: SOURCE_DATE_EPOCH: must be seconds since 1970`, got.stderr)
}

func TestManualPagesNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	var stderr bytes.Buffer
	env := fakeEnv(t, nil, "man", filepath.Join(file, "x"))
	env.Stdout, env.Stderr = io.Discard, &stderr
	assert.Equal(t, exitFailed, Main(t.Context(), env))
	assert.Regexp(t, `^ksnifctl: man: manual pages: mkdir .*: not a directory\n$`, stderr.String())
}
