// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/proto"
)

// The line of the README, as typed: it works, says nothing and exits 0.
func TestSetAsTyped(t *testing.T) {
	p := newPlace(t)
	out, err := p.NS.Try("sh", "-c", "ksnifctl set snaplen 96")
	require.NoError(t, err)
	assert.Empty(t, out)
	assert.EqualValues(t, 96, p.Get().Snaplen)
}

// Every command does its work on the real module, in the order in which somebody would use them.
func TestEveryCommand(t *testing.T) {
	p := newPlace(t)
	file := p.path("cli.pcapng")
	quiet := func(args ...string) {
		t.Helper()
		require.Equal(t, told{}, p.ksnifctl(args...), "ksnifctl %v", args)
	}
	prints := func(want string, args ...string) {
		t.Helper()
		require.Equal(t, told{Stdout: want}, p.ksnifctl(args...), "ksnifctl %v", args)
	}
	quiet("set", "device_name", "lo", "family", "inet", "logfile", file, "snaplen", "96", "queue_size", "2M", "format", "pcapng")
	prints("device_name    lo\nfamily         inet\nlogfile        "+file+"\nsnaplen        96\nqueue_size     2M\n"+
		"format         pcapng\nio             buffered\nsync_interval  0\n", "get")
	for name, value := range map[string]string{
		"device_name": "lo", "family": "inet", "logfile": file, "snaplen": "96", "queue_size": "2097152", "format": "pcapng",
		"io": "buffered", "sync_interval": "0",
	} {
		prints(value+"\n", "get", name)
		quiet("set", name, value) // what get prints, set takes
	}
	quiet("start")
	p.send(7, 200)
	quiet("flush")
	const counters = "received            7\ncaptured            7\nerrors              0\n"
	const books = "filtered            0\ndropped_queue_full  0\ndropped_no_memory   0\nqueued              0\nwritten             7\n" +
		"dropped_write       0\ndiscarded           0\n"
	prints(counters+"\n"+books, "stats")
	perCPU := p.ksnifctl("stats", "--per-cpu")
	assert.Equal(t, 0, perCPU.Code)
	assert.Contains(t, perCPU.Stdout, "dropped_no_memory")
	status := p.ksnifctl("status")
	assert.Equal(t, 0, status.Code)
	assert.Contains(t, status.Stdout, "state               running\n")
	assert.Contains(t, status.Stdout, "sees                IPv4 and IPv6, received packets only\n"+counters+books)
	quiet("restart")
	p.send(3, 200)
	quiet("stop")
	quiet("stop")
	assert.EqualValues(t, 3, p.Stats().Written)
	quiet("set", "io", "discard")
	quiet("start")
	p.send(2, 10)
	quiet("stop")
	assert.EqualValues(t, 2, p.Stats().Discarded)
}

// Each command, as the tool lists them, explains itself.
func TestHelp(t *testing.T) {
	p := newPlace(t)
	list := p.ksnifctl("--help")
	require.Equal(t, 0, list.Code)
	_, after, ok := strings.Cut(list.Stdout, "Available Commands:\n")
	require.True(t, ok, list.Stdout)
	commands, _, _ := strings.Cut(after, "\n\n")
	var names []string
	for _, line := range strings.Split(strings.TrimRight(commands, "\n"), "\n") {
		names = append(names, strings.Fields(line)[0])
	}
	assert.ElementsMatch(t, []string{
		"completion", "events", "flush", "get", "help", "restart", "set", "start", "stats", "status", "stop", "version",
	}, names)
	for _, name := range names {
		got := p.ksnifctl(name, "--help")
		assert.Equal(t, told{Stdout: got.Stdout}, got, name)
		assert.Contains(t, got.Stdout, "Usage:\n  ksnifctl "+name)
		if name == "set" || name == "help" {
			assert.Equal(t, got, p.ksnifctl("help", name))
			assert.Equal(t, got, p.ksnifctl(name, "-h"))
		}
	}
}

// The tool tells its own version and that of the module, which needs no privilege; without a module it says so.
func TestVersion(t *testing.T) {
	p := newPlace(t)
	version := strings.TrimSpace(guest.Run(t, "modinfo", "-F", "version", proto.PathModule))
	require.NotEmpty(t, version)
	loaded, err := os.ReadFile("/sys/module/ksnif/version")
	require.NoError(t, err)
	assert.Equal(t, version+"\n", string(loaded))
	assert.Equal(t, told{Stdout: "ksnifctl  " + version + "\nksnif     " + version + "\n"}, p.ksnifctl("version"))
	assert.Equal(t, told{Stdout: "ksnifctl version " + version + "\n"}, p.ksnifctl("--version"))
}

// The module is loaded by its first user. Where it cannot be, every command says what to do.
func TestFirstUse(t *testing.T) {
	ksnifctl := func(args ...string) told {
		p := &place{capture: &capture{T: t}}
		cmd, stdout, stderr := p.command(args...)
		_ = cmd.Run()
		return told{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
	const helper = "/proc/sys/kernel/modprobe"
	modprobe, err := os.ReadFile(helper)
	require.NoError(t, err)
	guest.Unload(t)
	t.Cleanup(func() {
		require.NoError(t, os.WriteFile(helper, modprobe, 0))
		guest.Load(t)
	})
	require.NoError(t, os.WriteFile(helper, []byte("/bin/false"), 0))
	for _, line := range []string{
		"get", "get snaplen", "set snaplen 64", "start", "stop", "restart", "flush", "stats", "stats --watch", "status", "events",
	} {
		args := strings.Fields(line)
		want := told{Code: 1, Stderr: "ksnifctl: " + args[0] + ": ksnif is not loaded: run modprobe ksnif, or insmod kmod/ksnif.ko where it was built\n"}
		assert.Equal(t, want, ksnifctl(args...))
	}
	version := ksnifctl("version")
	assert.Equal(t, 0, version.Code)
	assert.Contains(t, version.Stdout, "\nksnif     not loaded\n")
	assert.False(t, guest.Loaded())

	require.NoError(t, os.WriteFile(helper, modprobe, 0))
	assert.Equal(t, told{Stdout: "262144\n"}, ksnifctl("get", "snaplen"))
	assert.True(t, guest.Loaded())
}

// The defaults that help tells are those of a capture that nobody has set.
func TestDefaultsInHelp(t *testing.T) {
	help := guest.Run(t, "ksnifctl", "help", "set")
	settings := guest.NewNamespace(t, "new").Run(t, "ksnifctl", "get")
	lines := strings.Split(strings.TrimSpace(settings), "\n")
	require.Len(t, lines, 8)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		assert.Regexp(t, `(?m)^ +`+name+` .* \[`+regexp.QuoteMeta(strings.TrimSpace(value))+`\]$`, help)
	}
}

// What a shell is offered where the real module and real devices are.
func TestCompletion(t *testing.T) {
	p := newPlace(t)
	guest.Run(t, "modprobe", "dummy")
	p.NS.Run(t, "ip", "link", "add", "wan7", "type", "dummy")
	offered := func(args ...string) []string {
		got := p.ksnifctl(append([]string{"__completeNoDesc"}, args...)...)
		require.Equal(t, 0, got.Code)
		return strings.Fields(got.Stdout)
	}
	assert.Equal(t, []string{"snaplen", ":4"}, offered("set", "sn"))
	assert.Equal(t, []string{"queue_size", ":4"}, offered("set", "snaplen", "96", "qu"))
	// a namespace has the fallback devices of the tunnels whose modules are loaded, too
	devices := strings.Fields(p.NS.Run(t, "sh", "-c", "ip -o link | cut -d: -f2 | cut -d@ -f1"))
	require.Contains(t, devices, "wan7")
	assert.ElementsMatch(t, append(devices, "any", ":4"), offered("set", "device_name", ""))
	assert.Equal(t, []string{"wan7", ":4"}, offered("set", "device_name", "w"))

	// And through bash, as with a press of the tabulator key. _init_completion is bash-completion's, in short.
	script := `
source <(ksnifctl completion bash)
COMP_WORDS=(ksnifctl set device_name w) COMP_CWORD=3 COMP_LINE="ksnifctl set device_name w" COMP_POINT=26 COMP_TYPE=9
_init_completion() { words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${words[cword]} prev=${words[cword-1]}; }
compopt() { :; }
__start_ksnifctl
echo "${COMPREPLY[@]}"`
	out, err := p.NS.Try("bash", "-c", script)
	require.NoError(t, err)
	assert.Equal(t, "wan7", strings.TrimSpace(out))
}

// schemas are the committed ones, which the harness brings along.
func schemas(t *testing.T) func(name, line string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	files, err := filepath.Glob(proto.DirSchema + "/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files, "schemas in %s", proto.DirSchema)
	for _, file := range files {
		f, err := os.Open(file)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(f)
		f.Close()
		require.NoError(t, err, file)
		require.NoError(t, c.AddResource(filepath.Base(file), doc))
	}
	return func(name, line string) {
		t.Helper()
		s, err := c.Compile(name + ".json")
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		require.NoError(t, err, line)
		require.NoError(t, s.Validate(doc), line)
	}
}

// Whatever prints JSON prints what its schema says, with the real module's values.
func TestJSON(t *testing.T) {
	valid := schemas(t)
	p := newPlaceIn(t, mountTmpfs(t, "size=64k"))
	check := func(args ...string) {
		t.Helper()
		got := p.ksnifctl(append(args, "--json")...)
		require.Equal(t, told{Stdout: got.Stdout}, got)
		require.Equal(t, 1, strings.Count(got.Stdout, "\n"), "one object on one line: %s", got.Stdout)
		valid(args[0], got.Stdout)
	}
	for _, line := range []string{
		"get device_name", "get family", "get logfile", "get snaplen", "get queue_size", "get format", "get io", "version",
	} {
		check(strings.Fields(line)...)
	}
	for _, bring := range []func(){func() {}, func() { p.captured(3) }, p.Stop, p.failed} {
		bring()
		for _, line := range []string{"get", "stats", "stats --per-cpu", "status"} {
			check(strings.Fields(line)...)
		}
	}
	var status struct {
		State string
		Errno struct {
			Number int
			Name   string
		}
		Snaplen int
		Written uint64
	}
	require.NoError(t, json.Unmarshal([]byte(p.ksnifctl("status", "--json").Stdout), &status))
	assert.Equal(t, "failed", status.State)
	assert.Equal(t, 28, status.Errno.Number)
	assert.Equal(t, "ENOSPC", status.Errno.Name)
	assert.Equal(t, genl.SnaplenMax, status.Snaplen)
	assert.Equal(t, p.Stats().Written, status.Written)
}

// running is a ksnifctl that goes on until it is told to end.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
	err   *strings.Builder
	ended chan error
}

func (p *place) run(t *testing.T, args ...string) *running {
	t.Helper()
	cmd, _, _ := p.command(args...)
	r := &running{t: t, cmd: cmd, lines: make(chan string, 1000), err: &strings.Builder{}, ended: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = nil, r.err
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.NS.Do(cmd.Start))
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
		close(r.lines)
		r.ended <- cmd.Wait()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return r
}

// interrupt is ^C: the process has to end with that exit code, and soon.
func (r *running) interrupt(code int) {
	r.t.Helper()
	require.NoError(r.t, r.cmd.Process.Signal(syscall.SIGINT))
	r.wait(5*time.Second, code)
}

func (r *running) wait(limit time.Duration, code int) {
	r.t.Helper()
	go func() {
		for range r.lines { // what is still on its way
		}
	}()
	select {
	case <-r.ended:
	case <-time.After(guest.Limit(limit)):
		r.t.Fatalf("%v did not end in %s", r.cmd.Args, guest.Limit(limit))
	}
	require.Equal(r.t, code, r.cmd.ProcessState.ExitCode(), r.err.String())
}

// until is the next line that has the text.
func (r *running) until(text string) string {
	r.t.Helper()
	const most = 100
	var line string
	for range most {
		if line = r.next(); strings.Contains(line, text) {
			return line
		}
	}
	r.t.Fatalf("%v prints no line with %q, but %q", r.cmd.Args, text, line)
	return ""
}

// next is the next line printed.
func (r *running) next() string {
	r.t.Helper()
	select {
	case line, ok := <-r.lines:
		require.True(r.t, ok, "%v ended: %s", r.cmd.Args, r.err)
		return line
	case <-time.After(guest.Limit(10 * time.Second)):
		r.t.Fatalf("%v prints nothing", r.cmd.Args)
		return ""
	}
}
