// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"ksnif/vmtest/proto"
)

// ScriptRun says what to run, and where its results go.
type ScriptRun struct {
	Kernel string
	File   string    // shell script
	In     string    // folder to show at /in, or nothing
	Dir    string    // folder for what the script leaves in /out; emptied first
	Output io.Writer // takes the script's output as it comes
}

// ScriptResult is what became of a script.
type ScriptResult struct {
	Status   int             // its exit status; -1 if it did not end
	Problems []proto.Problem // what else was wrong
}

// OK says whether all was well.
func (r *ScriptResult) OK() bool { return r.Status == 0 && len(r.Problems) == 0 }

// Script runs a shell script as root in a VM. The error is for what kept it from being judged.
func (h *Harness) Script(ctx context.Context, r ScriptRun) (*ScriptResult, error) {
	if !isFile(r.File) {
		return nil, fmt.Errorf("script %s: no such file", r.File)
	}
	if r.In != "" {
		if info, err := os.Stat(r.In); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("input folder %s: no such folder", r.In)
		}
	}
	guest, err := h.guest(ctx, r.Kernel, "")
	if err != nil {
		return nil, err
	}
	guest.Script, guest.In = r.File, r.In
	leave, err := occupy(r.Dir)
	if err != nil {
		return nil, err
	}
	defer leave()
	one := &single{h: h, kernel: r.Kernel, guest: guest, mode: proto.ModeScript, dir: r.Dir, out: r.Output}
	one.console, one.timeout = filepath.Join(r.Dir, "console.log"), scriptTimeout
	res, err := one.run(ctx)
	if res != nil {
		err = errors.Join(err, res.writeStatus(filepath.Join(r.Dir, "status")))
	}
	return res, err
}

// emptyDir makes sure that dir exists and is empty.
func emptyDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.MkdirAll(dir, 0o755)
}

// single is a VM that runs one thing, a script or a shell: one boot, or one more if the emulator was to blame for its end.
type single struct {
	h       *Harness
	kernel  string
	guest   Guest
	mode    proto.Mode
	dir     string
	console string // file for the kernel's console
	out     io.Writer
	timeout time.Duration                         // default for TIMEOUT
	plan    func(*proto.Plan)                     // completes the plan
	started func(ctx context.Context, p *process) // called when the guest is up
	gdb     *gdbFiles
	judge   *judge
	status  *proto.Record
}

func (s *single) run(ctx context.Context) (*ScriptResult, error) {
	log, err := os.Create(s.console)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	for {
		again, err := s.boot(ctx, log)
		if again && err == nil {
			continue
		}
		return s.result(), err
	}
}

func (s *single) boot(ctx context.Context, log *os.File) (again bool, err error) {
	accel, why, err := s.h.accel()
	if err != nil {
		return false, err
	}
	o := s.h.options(s.guest, accel, s.timeout)
	plan := s.h.plan(s.mode, s.kernel, s.guest, accel, o)
	if s.plan != nil {
		s.plan(&plan)
	}
	s.h.announce(s.guest, accel, why)
	b, err := newBoot(ctx, s.h.out("tmp"), s.guest, plan, o, accel)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, b.clean()) }()
	b.log = log
	if s.started != nil {
		b.up = func(p *process) { s.started(ctx, p) }
	}
	s.judge, s.status = newJudge(nil, skipPolicy{}), nil
	s.judge.begin()
	var to sink = singleSink{s}
	if s.gdb != nil {
		to = gdbSink{sink: to, files: s.gdb}
	}
	end, err := b.run(ctx, &logged{sink: to, log: log})
	if err != nil {
		return false, err
	}
	if s.h.again(accel, end) {
		return true, nil
	}
	s.judge.finishBoot(end)
	if err := s.fetch(ctx, b); err != nil {
		s.judge.outside.blame(proto.Problem{Type: "disk", Text: err.Error()})
	}
	return false, nil
}

// singleSink takes what the boot of a single says.
type singleSink struct{ *single }

// fetch brings back /out. What was there at the start is replaced only once all of it is here.
func (s *single) fetch(ctx context.Context, b *boot) error {
	if s.guest.Seed == "" {
		return fetchDisk(ctx, b.file("out.img"), s.dir)
	}
	fresh := b.file("out")
	if err := fetchDisk(ctx, b.file("out.img"), fresh); err != nil {
		return err
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	return os.Rename(fresh, s.dir)
}

func (s singleSink) console(line string) { s.judge.console(line) }

func (s singleSink) output(b []byte) {
	if _, err := s.out.Write(b); err != nil {
		s.judge.outside.blame(proto.Problem{Type: "output", Text: err.Error()})
	}
}

func (s singleSink) record(r proto.Record) {
	switch r.Kind {
	case proto.KindStatus:
		s.status = &r
		s.h.Progress.Status("ending the VM")
	case proto.KindReady:
		s.h.Progress.Status("")
	}
	s.judge.record(r)
}

func (s *single) result() *ScriptResult {
	res := &ScriptResult{Status: -1}
	if s.status != nil {
		res.Status = s.status.Code
	}
	if s.judge != nil {
		res.Problems = s.judge.outside.Problems
	}
	return res
}

// writeStatus leaves the exit status as a file; "none" is for a script that did not end.
func (r *ScriptResult) writeStatus(file string) error {
	text := fmt.Sprintln(r.Status)
	if r.Status < 0 {
		text = "none\n"
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// Report says what was wrong, in lines for a reader.
func (r *ScriptResult) Report() string {
	var lines []string
	for _, p := range r.Problems {
		lines = append(lines, fmt.Sprintf("%s: %s", p.Type, p.Text))
		if p.More != "" {
			lines = append(lines, indent(tail(p.More, 60)))
		}
	}
	if r.Status > 0 {
		lines = append(lines, fmt.Sprintf("the script exited with status %d", r.Status))
	}
	if r.Status < 0 {
		lines = append(lines, "the script did not end")
	}
	return strings.Join(lines, "\n")
}
