// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"ksnif/vmtest/proto"
)

// guestPackage marks test packages that run in the VM only: their tests import it.
const guestPackage = "ksnif/vmtest/guest"

// hostPackages are the packages whose tests run on the host.
func hostPackages(ctx context.Context, root string) ([]string, error) {
	const format = `{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}`
	cmd := exec.CommandContext(ctx, "go", "list", "-f", format, "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var list []string
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		words := strings.Fields(line)
		if len(words) > 0 && !slices.Contains(words[1:], guestPackage) {
			list = append(list, words[0])
		}
	}
	return list, nil
}

// HostTests runs the tests of the host, those that run matches, and judges them like the ones in VMs. The packages
// that people's programs may call from several goroutines are tested a second time, with Go's race detector.
func (h *Harness) HostTests(ctx context.Context, run string) (*Result, error) {
	start := time.Now()
	h.Progress.Step("tests on the host")
	packages, err := hostPackages(ctx, h.Root)
	if err != nil {
		return nil, err
	}
	var args []string
	if run != "" {
		args = append(args, "-run", run)
	}
	var profile []string
	if h.Profile != "" {
		profile = []string{"-coverprofile", h.Profile, "-coverpkg", "./..."}
	}
	j := newHostJudge(run != "", allowedSkips(), h.Progress.test)
	plain, err := h.goTest(ctx, j, slices.Concat(profile, args, packages))
	if err != nil {
		return nil, err
	}
	if run == "" && ctx.Err() == nil {
		plain = j.missing()
	}
	race, err := h.raceTests(ctx, run != "", args, packages)
	if err != nil {
		return nil, err
	}
	res := &Result{Where: "host", Seconds: time.Since(start).Seconds(), Tests: append(plain, race...)}
	if err := res.Write(h.out("vmtest", "host", "result.json")); err != nil {
		return res, err
	}
	return res, ctx.Err()
}

// raceTests runs the tests of genl and ctl with the race detector, which needs a C compiler.
func (h *Harness) raceTests(ctx context.Context, partial bool, args, packages []string) ([]*Test, error) {
	j := newHostJudge(partial, allowedSkips(), h.Progress.test)
	j.mark = " (race)"
	if _, err := exec.LookPath("gcc"); err != nil {
		j.add(&Test{Name: "genl, ctl", Result: proto.Skip, Reason: "the race detector needs gcc"})
		return j.tests, nil
	}
	args = append([]string{"-race"}, args...)
	for _, p := range packages {
		if dir, _, _ := strings.Cut(shortPackage(p), "/"); dir == "genl" || dir == "ctl" {
			args = append(args, p)
		}
	}
	return h.goTest(ctx, j, args)
}

// goTest runs go test, and returns what j makes of its report.
func (h *Harness) goTest(ctx context.Context, j *hostJudge, args []string) ([]*Test, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json", "-count=1", "-timeout=20m"}, args...)...)
	cmd.Dir = h.Root
	if slices.Contains(args, "-race") {
		cmd.Env = append(cmd.Environ(), "CGO_ENABLED=1")
	}
	// go test runs the tests as children: ^C must end all of them, and this process decides when.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("go test: %w", err)
	}
	j.read(out)
	j.finish(cmd.Wait(), strings.TrimSpace(stderr.String()))
	return j.tests, nil
}

// event is a line of go test -json; see go doc test2json and go help buildjson.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Output      string
	Elapsed     float64
	FailedBuild string
}

// hostJudge turns events into results. Tests at the top and skipped subtests count; a package that fails without
// a failed test, or ends without having run one, is a failure of its own.
type hostJudge struct {
	partial bool   // not all tests are to run: a package may have none
	mark    string // behind every name, to tell it from the same test in another run
	tests   []*Test
	mayskip skipPolicy
	onEnd   func(*Test)
	output  map[string]*bytes.Buffer // by package and test; or by build
	ran     map[string]int           // tests that ended, by package
	failed  map[string]int
	noFiles map[string]bool // packages without test files
	bad     []string        // lines that are no events
}

func newHostJudge(partial bool, mayskip []allowedSkip, onEnd func(*Test)) *hostJudge {
	return &hostJudge{
		partial: partial, mayskip: skipPolicy{onHost, mayskip}, onEnd: onEnd, output: map[string]*bytes.Buffer{}, ran: map[string]int{},
		failed: map[string]int{}, noFiles: map[string]bool{},
	}
}

func (j *hostJudge) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				j.bad = append(j.bad, strings.TrimSpace(string(line)))
			} else {
				j.event(e)
			}
		}
		if err != nil {
			return
		}
	}
}

func (j *hostJudge) event(e event) {
	switch {
	case e.Action == "output":
		j.print(e.Package+" "+e.Test, e.Output)
		if e.Test == "" && strings.Contains(e.Output, "[no test files]") {
			j.noFiles[e.Package] = true
		}
	case e.Action == "build-output":
		j.print(e.ImportPath, e.Output)
	case e.Action != "pass" && e.Action != "fail" && e.Action != "skip":
	case e.Test == "":
		j.endPackage(e)
	default:
		j.endTest(e)
	}
}

func (j *hostJudge) print(key, text string) {
	if j.output[key] == nil {
		j.output[key] = &bytes.Buffer{}
	}
	if j.output[key].Len() < maxKept {
		j.output[key].WriteString(text)
	}
}

func (j *hostJudge) text(key string) string {
	if b := j.output[key]; b != nil {
		return b.String()
	}
	return ""
}

func (j *hostJudge) endTest(e event) {
	sub := strings.Contains(e.Test, "/")
	if sub && e.Action != "skip" {
		// The output of a failed subtest belongs to the failure of its test.
		if top, _, _ := strings.Cut(e.Test, "/"); e.Action == "fail" {
			j.print(e.Package+" "+top, j.text(e.Package+" "+e.Test))
		}
		return
	}
	t := &Test{Name: shortPackage(e.Package) + " " + e.Test, Seconds: e.Elapsed}
	text := j.text(e.Package + " " + e.Test)
	switch e.Action {
	case "pass":
		t.Result = proto.Pass
	case "fail":
		t.Result, t.Output = proto.Fail, text
	case "skip":
		t.Result, t.Reason = proto.Skip, skipReason(text)
		if complaint := j.mayskip.complaint(t.Name, t.Reason); complaint != "" {
			t.fail(complaint)
		}
	}
	if t.Result == proto.Fail {
		j.failed[e.Package]++
	}
	if !sub {
		j.ran[e.Package]++
	}
	j.add(t)
}

func (j *hostJudge) endPackage(e event) {
	t := &Test{Name: shortPackage(e.Package)}
	switch {
	case e.Action == "fail" && e.FailedBuild != "":
		t.Output = j.text(e.FailedBuild)
		t.fail("does not build")
	case e.Action == "fail" && j.failed[e.Package] == 0:
		t.Output = j.text(e.Package + " ")
		t.fail("failed outside of its tests")
	case j.ran[e.Package] == 0 && !j.partial && !j.noFiles[e.Package]:
		t.Output = j.text(e.Package + " ")
		t.fail("no test reported")
	default:
		return
	}
	j.failed[e.Package]++
	j.add(t)
}

func (j *hostJudge) add(t *Test) {
	t.Name += j.mark
	j.tests = append(j.tests, t)
	j.onEnd(t)
}

// finish judges how go test itself ended.
func (j *hostJudge) finish(err error, stderr string) {
	t := &Test{Name: "go test"}
	switch {
	case len(j.bad) > 0:
		t.Output = strings.Join(j.bad, "\n")
		t.fail("printed what is no test report")
	case err != nil && len(j.failed) == 0:
		t.Output = stderr
		t.fail(err.Error())
	default:
		return
	}
	j.add(t)
}

// missing complains of tests that the list of allowed skips has, and that a run of all tests did not meet.
func (j *hostJudge) missing() []*Test {
	var names []string
	for _, t := range j.tests {
		names = append(names, t.Name)
	}
	for _, complaint := range j.mayskip.stale(names) {
		t := &Test{Name: "go test"}
		t.fail(complaint)
		j.add(t)
	}
	return j.tests
}

func shortPackage(path string) string { return strings.TrimPrefix(path, "ksnif/") }

// skipReason is what a skipped test logged last.
func skipReason(output string) string {
	var reason string
	for _, line := range strings.Split(output, "\n") {
		_, text, ok := strings.Cut(line, ".go:")
		if _, text, ok2 := strings.Cut(text, ": "); ok && ok2 {
			reason = strings.TrimSpace(text)
		}
	}
	return reason
}
