// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"ksnif/vmtest/hostcheck"
	"ksnif/vmtest/proto"
)

// The guest's tests for machines that are killed. They run here alone: nothing lists them for other boots.
const (
	crashTests  = "TestTortureCrash"
	crashVictim = crashTests + "Victim"
	crashDisks  = crashTests + "Disks"
)

// How many machines are killed, in the normal and in the long size.
const (
	crashNormal = 10
	crashLong   = 50
)

// The victims' disks are small, and so slow that a flush takes its time. QEMU writes to the host's page cache: what the
// guest was told is written outlives QEMU, what waited in QEMU or in the guest is gone.
const (
	crashOutMB   = 64
	crashOutOpts = "throttling.iops-write=100"
	crashTimeout = 15 * time.Minute
)

// crash kills machines that capture, and has their disks looked at.
type crash struct {
	h     *Harness
	run   TestRun
	guest Guest
	dir   string // what goes to the machine that looks at the disks
	rnd   *rand.Rand
	snap  *snapshot // what all go on from, or nothing
	disks []proto.Disk
	files []Disk
}

// Crash kills machines at moments of a capture that the seed chooses, reads all their disks in one more, and what it
// found there with tshark. Each machine, the reading and tshark's are a test. Of r only Kernel, Binary and Run count.
func (h *Harness) Crash(ctx context.Context, r TestRun) (*Result, error) {
	top, _, _ := strings.Cut(r.Run, "/")
	if ok, err := regexp.MatchString(top, crashTests); err != nil || !ok {
		return nil, errors.Join(err, fmt.Errorf("%w %q", ErrNoTests, r.Run))
	}
	start := time.Now()
	guest, err := h.guest(ctx, r.Kernel, r.Module)
	if err != nil {
		return nil, err
	}
	if guest.Tests, err = filepath.Abs(r.Binary); err != nil {
		return nil, err
	}
	c := &crash{
		h: h, run: r, guest: guest, dir: h.out("vmtest", h.name(r.Kernel)+"-crash-disks"),
		rnd: rand.New(rand.NewPCG(h.Options.Seed, 0)),
	}
	leave, err := occupy(c.dir)
	if err != nil {
		return nil, err
	}
	defer leave()
	res := &Result{Where: h.name(r.Kernel) + "-crash", Release: guest.Kernel.Release}
	if err := c.killAll(ctx, res); err != nil {
		return res, err
	}
	if err := c.look(ctx, res); err != nil {
		return res, err
	}
	res.Seconds = time.Since(start).Seconds()
	if res.Counts().Failed == 0 {
		if err := os.RemoveAll(c.dir); err != nil {
			return res, err
		}
	}
	return res, res.Write(h.out("vmtest", res.Where, "result.json"))
}

// killAll kills one machine after the other.
func (c *crash) killAll(ctx context.Context, res *Result) (err error) {
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if c.snap != nil {
		defer func() { err = errors.Join(err, c.snap.remove()) }()
	}
	n := crashNormal
	if c.h.Options.Long {
		n = crashLong
	}
	for i, m := range moments(n, c.rnd) {
		serial := fmt.Sprintf("crash%02d", i+1)
		c.h.Progress.Status("kill a machine %s", m)
		start := time.Now()
		t, err := c.kill(ctx, serial, m)
		if err != nil {
			return err
		}
		if t.Result == proto.Fail {
			t.Reason += fmt.Sprintf(" (SEED=%d)", c.h.Options.Seed)
		}
		t.Seconds = time.Since(start).Seconds()
		res.Tests = append(res.Tests, t)
		res.Boots++
		c.h.Progress.test(t)
	}
	return nil
}

// prepare makes the snapshot, where a boot is slow.
func (c *crash) prepare(ctx context.Context) error {
	accel, _, err := c.h.accel()
	if err != nil || accel == KVM || c.h.Options.Icount {
		return err
	}
	log, err := os.Create(c.file("snapshot.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.snap, err = c.photograph(ctx, log)
	return err
}

// kill kills a machine and keeps its disk.
func (c *crash) kill(ctx context.Context, serial string, m moment) (*Test, error) {
	log, err := os.Create(c.file(serial + ".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	for {
		if t, err := c.boot(ctx, serial, m, log); t != nil || err != nil {
			return t, err
		}
	}
}

// boot is kill, but gives nothing if the emulator was to blame.
func (c *crash) boot(ctx context.Context, serial string, m moment, log *os.File) (t *Test, err error) {
	b, accel, err := c.newBoot(ctx, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.clean()) }()
	v := newVictim(m)
	if b.from = c.snap; b.from != nil {
		if err := copyTree(c.snap.disk, b.file("out.img")); err != nil {
			return nil, err
		}
		for _, r := range c.snap.records {
			v.record(r)
		}
	}
	b.started = func(p *process) {
		v.vm = p
		fmt.Fprintln(p.input) // it need not wait
	}
	end, err := b.run(ctx, &logged{sink: v, log: log})
	if err != nil || c.h.again(accel, end) {
		return nil, err
	}
	return v.test(crashTests+"/"+serial, end), c.keep(serial, v, b.file("out.img"))
}

// newBoot prepares the boot of a machine that is to be killed.
func (c *crash) newBoot(ctx context.Context, log *os.File) (*boot, Accel, error) {
	accel, why, err := c.h.accel()
	if err != nil {
		return nil, "", err
	}
	o := c.h.options(c.guest, accel, crashTimeout)
	o.OutMB = crashOutMB
	if o.OutOpts == "" {
		o.OutOpts = crashOutOpts
	}
	plan := c.h.plan(proto.ModeTests, c.run.Kernel, c.guest, accel, o)
	plan.Tests = []string{crashVictim}
	if c.snap == nil {
		c.h.announce(c.guest, accel, why)
	}
	b, err := newBoot(ctx, c.h.out("tmp"), c.guest, plan, o, accel)
	if err != nil {
		return nil, "", err
	}
	b.log = log
	return b, accel, nil
}

// file is a path in the folder of this part.
func (c *crash) file(name string) string { return filepath.Join(c.dir, name) }

// keep puts the victim's disk among those to look at.
func (c *crash) keep(serial string, v *victim, image string) error {
	file := c.file(serial + ".img")
	c.disks = append(c.disks, proto.Disk{Serial: serial, Moment: v.moment.String(), Files: v.files})
	c.files = append(c.files, Disk{Serial: serial, File: file})
	return os.Rename(image, file)
}

// look boots a machine that looks at all disks, and has tshark read what it brings back.
func (c *crash) look(ctx context.Context, res *Result) error {
	in := c.file("in")
	if err := os.Mkdir(in, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(c.disks, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(in, proto.DisksFile), text, 0o644); err != nil {
		return err
	}
	got, err := c.h.Test(ctx, TestRun{
		Kernel: c.run.Kernel, Binary: c.run.Binary, Where: res.Where, Tests: []string{crashDisks}, In: in, Disks: c.files,
	})
	if err != nil {
		return err
	}
	res.Accel, res.Boots, res.Tests = got.Accel, res.Boots+got.Boots, append(res.Tests, got.Tests...)
	if got.Counts().Failed > 0 {
		return nil // and so maybe no files
	}
	t := &Test{Name: "hostcheck/" + crashTests, Result: proto.Pass}
	start := time.Now()
	if err := readFound(ctx, c.h.out("vmtest", res.Where)); err != nil {
		t.fail(err.Error())
	}
	t.Seconds = time.Since(start).Seconds()
	res.Tests = append(res.Tests, t)
	c.h.Progress.test(t)
	return ctx.Err()
}

// readFound compares the numbers of packets that tshark finds with those that were found in the machine.
func readFound(ctx context.Context, dir string) error {
	lists, err := filepath.Glob(filepath.Join(dir, "out-*", proto.FoundFile))
	if err != nil || len(lists) != 1 {
		return fmt.Errorf("lists of what was found: %v: %w", lists, err)
	}
	text, err := os.ReadFile(lists[0])
	if err != nil {
		return err
	}
	var found map[string]int
	if err := json.Unmarshal(text, &found); err != nil {
		return fmt.Errorf("%s: %w", lists[0], err)
	}
	var errs []error
	for name, want := range found {
		n, err := hostcheck.Packets(ctx, filepath.Join(filepath.Dir(lists[0]), name))
		if err == nil && n != want {
			err = fmt.Errorf("%s: tshark reads %d packets, in the VM there were %d", name, n, want)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
