// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ksnif/bench"
	"ksnif/vmtest"
)

// fillIn makes the folder that the guest sees: its program, what it is to do, and the modules.
func (b *bencher) fillIn(ctx context.Context, h *vmtest.Harness, in string) error {
	if err := os.RemoveAll(in); err != nil {
		return err
	}
	if err := os.MkdirAll(in, 0o755); err != nil {
		return err
	}
	floor, err := h.BuildModule(ctx, b.kernel, filepath.Join(b.root, "bench", "floor"))
	if err != nil {
		return err
	}
	files := map[string]string{floor: filepath.Base(floor), b.guest: "guest"}
	modules, err := filepath.Glob(filepath.Join(b.root, "out", "build", filepath.Base(b.kernel)+"-*", "ksnif.ko"))
	if err != nil {
		return err
	}
	for _, m := range modules {
		_, queue, _ := strings.Cut(strings.TrimPrefix(filepath.Base(filepath.Dir(m)), filepath.Base(b.kernel)), "-")
		files[m] = "ksnif-" + queue + ".ko"
	}
	for from, name := range files {
		if err := copyFile(from, filepath.Join(in, name)); err != nil {
			return err
		}
	}
	plan, err := json.Marshal(b.plan)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(in, bench.PlanFile), plan, 0o644)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// report puts the guest's report and what is known of the machine together.
func (b *bencher) report(file, release, accel string) (*bench.Report, error) {
	r, err := bench.ReadReport(file)
	if err != nil {
		return nil, err
	}
	r.Machine = bench.Machine{
		Kernel: release, Accel: accel, CPUs: b.plan.VM.CPUs, BufferKB: b.plan.BufferKB, DiskRate: r.Machine.DiskRate, Processor: processor(),
	}
	return r, nil
}

// processor names the host's.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown"
}

// show prints the table and leaves the rest in files.
func (b *bencher) show(r *bench.Report) error {
	file := b.out(r.Part + ".json")
	if err := r.Write(file); err != nil {
		return err
	}
	plots, err := r.Plot(b.out())
	if err != nil {
		return err
	}
	if err := r.Table(os.Stdout); err != nil {
		return err
	}
	fmt.Printf("\nResults: %s %s\n", file, strings.Join(plots, " "))
	return nil
}

// steps shows the guest's lines: those that begin with a space only while they are true.
type steps struct {
	progress *vmtest.Progress
	part     []byte
}

func (s *steps) Write(b []byte) (int, error) {
	s.part = append(s.part, b...)
	for {
		line, rest, whole := bytes.Cut(s.part, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		s.part = bytes.Clone(rest)
		if len(line) > 0 && line[0] == ' ' {
			s.progress.Status("%s", bytes.TrimSpace(line))
		} else {
			s.progress.Line("%s", line)
		}
	}
}
