// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/klog"
	"ksnif/vmtest/proto"
)

// maxOutput bounds what one test may send; a test that prints in a loop must not fill the host's disk.
const maxOutput = 4 << 20

// runTests runs every test in a process of its own, so that one that dies takes no other with it.
func (s *session) runTests() {
	for _, name := range s.plan.Tests {
		s.report.send(proto.Record{Kind: proto.KindStart, Test: name})
		mark(name + " starts")
		rec := s.runTest(name)
		s.report.send(rec)
		if s.broken {
			return
		}
	}
}

// runTest runs one test and judges it.
func (s *session) runTest(name string) proto.Record {
	rec := proto.Record{Kind: proto.KindEnd, Test: name}
	defer s.leaks.start(name)()
	if err := s.loadModule(); err != nil {
		rec.Result = proto.Fail
		rec.Problems = append(s.after(&rec), proto.Problem{Type: "module", Text: err.Error()})
		return rec
	}
	_ = os.Remove(proto.PathAllowed)
	s.watch.baseline = takeBaseline()
	start := time.Now()
	t := &testProcess{name: name, report: s.report, parser: newParser(name)}
	problem := t.run(s.testCommand(name), s.plan.TestLimit)
	rec.Elapsed = time.Since(start)
	rec.Result, rec.Text = t.parser.result()
	if problem != nil {
		rec.Result, rec.Problems = proto.Fail, append(rec.Problems, *problem)
	}
	for _, sub := range t.parser.skippedSubtests() {
		s.report.send(proto.Record{Kind: proto.KindSkip, Test: sub.name, Text: sub.reason})
	}
	s.broken = s.broken || t.stuck
	rec.Problems = append(rec.Problems, s.after(&rec)...)
	if len(rec.Problems) > 0 {
		rec.Result = proto.Fail
	}
	return rec
}

// after looks for traces that the test left in the kernel's log and in the guest. Behind a test that is stuck in the
// kernel, to look at the guest may be to get stuck, too.
func (s *session) after(rec *proto.Record) []proto.Problem {
	var problems []proto.Problem
	if !s.broken {
		problems = s.watch.baseline.leftovers()
	}
	kernel, allowed := s.watch.kernel(readAllowed())
	rec.Allowed = allowed
	for _, p := range kernel {
		// Once lockdep is off, or the kernel has warned or oopsed, a clean next test would mean nothing.
		s.broken = s.broken || p.Type == "lockdep" || p.Type == "taint"
	}
	return append(problems, kernel...)
}

// check reports problems outside of a test, saying when they were found.
func (s *session) check(when string, problems []proto.Problem) {
	for _, p := range problems {
		p.Text = when + p.Text
		s.problem(p)
	}
}

func (s *session) testCommand(name string) *exec.Cmd {
	run := "^" + name + "$"
	if s.plan.SubRun != "" {
		run += "/" + s.plan.SubRun
	}
	cmd := exec.Command(proto.PathTests, "-test.run", run, "-test.v", "-test.count=1", "-test.paniconexit0")
	cmd.Dir = "/tmp"
	cmd.Env = append(os.Environ(), guestEnv(s.plan)...)
	if s.plan.Cover {
		cmd.Args = append(cmd.Args, "-test.gocoverdir="+goCoverDir)
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+goCoverDir) // for the tool
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// guestEnv is how tests and scripts learn what they run on.
func guestEnv(p *proto.Plan) []string {
	return []string{
		"KSNIF_LONG=" + strconv.FormatBool(p.Long),
		"KSNIF_VM=1",
		"KSNIF_SLOW=" + strconv.Itoa(max(p.Slow, 1)),
		"KSNIF_KERNEL=" + p.Kernel,
		"KSNIF_CONFIG=" + p.Config,
		"KSNIF_IO=" + p.IO,
		"KSNIF_ACCEL=" + p.Accel,
		"KSNIF_SEED=" + strconv.FormatUint(p.Seed, 10),
	}
}

// testProcess is a running test.
type testProcess struct {
	name   string
	report *reporter
	parser *parser
	sent   int
	stuck  bool // it could not be killed
}

// run runs the test to its end, or to the limit's.
func (t *testProcess) run(cmd *exec.Cmd, limit time.Duration) *proto.Problem {
	out, in, err := os.Pipe()
	if err != nil {
		return &proto.Problem{Type: "exit", Text: err.Error()}
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	err = cmd.Start()
	in.Close()
	if err != nil {
		return &proto.Problem{Type: "exit", Text: err.Error()}
	}
	read := make(chan struct{})
	go func() { defer close(read); t.forward(out) }()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	problem := t.wait(cmd.Process.Pid, done, limit)
	// A grandchild may hold the pipe open: what it prints after the test has ended is not waited for.
	select {
	case <-read:
	case <-time.After(2 * time.Second):
		_ = out.SetReadDeadline(time.Now())
		<-read
	}
	return problem
}

// wait waits for the process, and ends it at the limit: with a Go stack dump first, by force then.
func (t *testProcess) wait(pid int, done <-chan error, limit time.Duration) *proto.Problem {
	var expired <-chan time.Time
	if limit > 0 {
		expired = time.After(limit)
	}
	select {
	case err := <-done:
		return exitProblem(err)
	case <-expired:
	}
	problem := &proto.Problem{Type: "limit", Text: fmt.Sprintf("test limit: not done after %s", limit)}
	for _, sig := range []unix.Signal{unix.SIGQUIT, unix.SIGKILL} {
		_ = unix.Kill(pid, sig)
		select {
		case <-done:
			_ = unix.Kill(-pid, unix.SIGKILL)
			return problem
		case <-time.After(5 * time.Second):
		}
	}
	sysrq('w')
	problem.Text += ", and it cannot be killed: what it waits for is in console.log"
	t.stuck = true
	return problem
}

// exitProblem explains how a process ended that did not just exit with 0 or, as a failed test does, with 1.
func exitProblem(err error) *proto.Problem {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return &proto.Problem{Type: "exit", Text: err.Error()}
	case exit.ExitCode() == 1:
		return nil
	}
	return &proto.Problem{Type: "exit", Text: "the test's process died: " + exit.String()}
}

// forward sends the output on as it comes.
func (t *testProcess) forward(out io.Reader) {
	buf := make([]byte, 16<<10)
	for {
		n, err := out.Read(buf)
		if n > 0 {
			t.parser.write(string(buf[:n]))
			t.send(string(buf[:n]))
		}
		if err != nil {
			t.parser.close()
			return
		}
	}
}

func (t *testProcess) send(text string) {
	switch {
	case t.sent > maxOutput:
		return
	case t.sent+len(text) > maxOutput:
		text = "\n[more output than the harness keeps: the rest is cut]\n"
	}
	t.sent += len(text)
	t.report.send(proto.Record{Kind: proto.KindOutput, Test: t.name, Text: text})
}

// allowedReport is a kernel report that a test announced: it causes it on purpose.
type allowedReport struct{ expr, reason string }

// readAllowed reads what the test has announced: lines of an expression, a tab, and the reason.
func readAllowed() []allowedReport {
	b, err := os.ReadFile(proto.PathAllowed)
	if err != nil {
		return nil
	}
	var list []allowedReport
	for _, line := range strings.Split(string(b), "\n") {
		if expr, reason, ok := strings.Cut(line, "\t"); ok && expr != "" {
			list = append(list, allowedReport{expr, reason})
		}
	}
	return list
}

// announced says whether allow expects a report, and by which line. A bare stack does not say what it is about: there,
// a function in it will do.
func announced(s klog.Splat, allow []allowedReport) (line string, ok bool) {
	matches := func(line string) bool {
		return slices.ContainsFunc(allow, func(a allowedReport) bool {
			re, err := regexp.Compile(a.expr)
			return err == nil && re.MatchString(line)
		})
	}
	if len(s.Telling) == 0 {
		i := 1 + slices.IndexFunc(s.Lines[1:], matches)
		if i < 1 {
			return "", false
		}
		return s.Lines[i], true
	}
	for _, line := range s.Telling {
		if !matches(line) {
			return "", false
		}
	}
	return s.Title, true
}
