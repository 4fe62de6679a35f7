// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"ksnif/images"
	"ksnif/vmtest/proto"
)

// Guest is what a boot brings along.
type Guest struct {
	Kernel *images.Kernel
	Base   string            // base initramfs
	Module string            // ksnif.ko, or nothing
	Tool   string            // ksnifctl, or nothing
	Tests  string            // test binary, or nothing
	Schema string            // folder of JSON schemas for the tests, or nothing
	Script string            // shell script, or nothing
	In     string            // folder to show at /in, or nothing
	Seed   string            // folder whose contents /out starts with, or nothing
	Disks  []Disk            // more disks
	More   map[string]string // more files: path in the guest to path on the host
}

// Disk is a disk that is there before the boot, and stays.
type Disk struct {
	Serial string // of the virtio disk
	File   string // its image
}

// sink takes what a boot says. Its methods are called from one goroutine.
type sink interface {
	console(line string)
	record(r proto.Record)
	output(b []byte)
}

// ending is how a boot ended.
type ending struct {
	// Reason is empty if the guest gave its verdict and QEMU exited by itself.
	Reason string
	// Limit is set if a time limit of the host ended it.
	Limit bool
	// NeverUp means that not even the guest's init reported.
	NeverUp bool
}

// boot is one boot of a guest.
type boot struct {
	guest   Guest
	plan    proto.Plan
	opts    Options
	accel   Accel
	dir     string        // temporary, removed by clean
	silence time.Duration // silence limit, if not the default
	log     io.Writer
	control bool           // QEMU takes commands
	from    *snapshot      // the machine goes on from there, or boots
	started func(*process) // called when QEMU runs
	up      func(*process) // called when the guest's init reports: KVM may be given up before that
}

// newBoot makes the disks and the archive of a boot in a folder of its own below tmp.
func newBoot(ctx context.Context, tmp string, g Guest, plan proto.Plan, o Options, a Accel) (*boot, error) {
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(tmp, "vm-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	b := &boot{guest: g, plan: plan, opts: o, accel: a, dir: dir, log: io.Discard}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, b.clean())
	}
	return b, nil
}

func (b *boot) clean() error { return os.RemoveAll(b.dir) }

func (b *boot) file(name string) string { return filepath.Join(b.dir, name) }

func (b *boot) prepare(ctx context.Context) error {
	if err := makeOutDisk(ctx, b.file("out.img"), b.guest.Seed, b.opts.OutMB); err != nil {
		return err
	}
	if b.guest.In != "" {
		if err := makeInDisk(ctx, b.file("in.img"), b.guest.In); err != nil {
			return err
		}
	}
	plan, err := json.MarshalIndent(b.plan, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.file("plan.json"), plan, 0o644); err != nil {
		return err
	}
	files, err := b.files()
	if err != nil {
		return err
	}
	if err := images.Archive(b.file("ride.cpio"), files); err != nil {
		return err
	}
	return join(b.file("initrd"), b.guest.Base, b.file("ride.cpio"))
}

// files are those of the second archive.
func (b *boot) files() (map[string]images.File, error) {
	files := map[string]images.File{proto.PathPlan: {Host: b.file("plan.json"), Mode: 0o644}}
	for inside, f := range map[string]images.File{
		proto.PathModule: {Host: b.guest.Module, Mode: 0o644},
		"/bin/ksnifctl":  {Host: b.guest.Tool, Mode: 0o755},
		proto.PathTests:  {Host: b.guest.Tests, Mode: 0o755},
		proto.PathScript: {Host: b.guest.Script, Mode: 0o755},
	} {
		if f.Host != "" {
			files[inside] = f
		}
	}
	for inside, host := range b.guest.More {
		files[inside] = images.File{Host: host, Mode: 0o644}
	}
	if b.guest.Schema == "" {
		return files, nil
	}
	schemas, err := filepath.Glob(filepath.Join(b.guest.Schema, "*.json"))
	for _, f := range schemas {
		files[path.Join(proto.DirSchema, filepath.Base(f))] = images.File{Host: f, Mode: 0o644}
	}
	return files, err
}

// join writes archives behind each other. The kernel wants each to start at a multiple of four.
func join(to string, parts ...string) (err error) {
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, part := range parts {
		in, err := os.Open(part)
		if err != nil {
			return err
		}
		n, err := io.Copy(out, in)
		in.Close()
		if err != nil {
			return fmt.Errorf("join archives: %w", err)
		}
		if _, err := out.Write(make([]byte, -n&3)); err != nil {
			return err
		}
	}
	return nil
}

// message is what one of the channels brought.
type message struct {
	console string
	record  *proto.Record
	output  []byte
	closed  bool
}

// run boots, passes on what the guest says, and returns when QEMU is gone.
func (b *boot) run(ctx context.Context, to sink) (ending, error) {
	m := &machine{
		opts: b.opts, accel: b.accel, kernel: b.guest.Kernel.Image,
		initrd: b.file("initrd"), outDisk: b.file("out.img"), disks: b.guest.Disks, warns: has(b.guest.Kernel, "KCSAN"),
		hz: tickRate(b.guest.Kernel),
	}
	if isDebug(b.guest.Kernel) {
		m.append = append(m.append, plainIRQs, urgentRCU, earlyRandom, promptRCU)
	}
	if has(b.guest.Kernel, "FAILSLAB") {
		m.append = append(m.append, markedCaches())
	}
	if b.guest.In != "" {
		m.inDisk = b.file("in.img")
	}
	m.control = b.control
	if b.from != nil {
		m.from = b.from.state
	}
	p, err := m.start(ctx)
	if err != nil {
		return ending{}, err
	}
	fmt.Fprintf(b.log, "%s\n", p.commandLine())
	if b.started != nil {
		b.started(p)
	}
	messages := make(chan message, 256)
	go readConsole(p.console, messages)
	go readRecords(p.report, messages)
	go readOutput(p.output, messages)
	w := &watcher{boot: b, vm: p, sink: to, up: b.from != nil, onUp: func() {
		if b.up != nil {
			b.up(p)
		}
	}}
	end := w.watch(ctx, messages)
	p.closeChannels()
	return end, ctx.Err()
}

func readConsole(r io.Reader, to chan<- message) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			to <- message{console: line}
		}
		if err != nil {
			to <- message{closed: true}
			return
		}
	}
}

// readRecords reads JSON lines. A line that is none is a record too: the channel carries nothing else.
func readRecords(r io.Reader, to chan<- message) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			rec := &proto.Record{}
			if jerr := json.Unmarshal(line, rec); jerr != nil {
				rec = &proto.Record{Kind: proto.KindProblem, Problems: []proto.Problem{{
					Type: "report", Text: "a garbled record", More: string(line)}}}
			}
			to <- message{record: rec}
		}
		if err != nil {
			to <- message{closed: true}
			return
		}
	}
}

func readOutput(r io.Reader, to chan<- message) {
	for {
		buf := make([]byte, 16<<10)
		n, err := r.Read(buf)
		if n > 0 {
			to <- message{output: buf[:n]}
		}
		if err != nil {
			to <- message{closed: true}
			return
		}
	}
}
