// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

const escape = 0x1d // ^]

// Shell gives the user a shell in a VM, on the terminal or on whatever standard input is. What is in dir is in
// /out at the start, and what is left in /out is in dir at the end. The console goes to dir.log.
func (h *Harness) Shell(ctx context.Context, kernel, dir string) (*ScriptResult, error) {
	guest, err := h.guest(ctx, kernel, "")
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	guest.Seed = dir
	t := &terminal{in: os.Stdin}
	defer t.restore()
	one := &single{h: h, kernel: kernel, guest: guest, mode: proto.ModeShell, dir: dir, out: h.Progress}
	one.console = dir + ".log"
	one.plan = func(p *proto.Plan) {
		p.Terminal = isTerminal(t.in)
		p.Rows, p.Cols = t.size()
		p.Term = os.Getenv("TERM")
	}
	one.started = t.attach
	if h.Options.GDB != "" {
		if one.gdb, err = h.gdbFiles(ctx, kernel, guest); err != nil {
			return nil, err
		}
		h.Progress.Line("%s", one.gdb.help())
	}
	res, err := one.run(ctx)
	if res != nil && t.left.Load() {
		res.Problems = nil
	}
	return res, err
}

// terminal joins the user's terminal to the shell in the guest.
type terminal struct {
	in    *os.File
	saved *unix.Termios
	left  atomic.Bool // with Ctrl-]
}

func (t *terminal) size() (rows, cols uint16) {
	w, err := unix.IoctlGetWinsize(int(t.in.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 24, 80
	}
	return w.Row, w.Col
}

// attach makes the terminal raw, so that ^C and all other keys are the guest's, and passes them on.
func (t *terminal) attach(ctx context.Context, p *process) {
	t.raw()
	go t.resizes(ctx, p)
	go t.copy(p)
}

func (t *terminal) raw() {
	fd := int(t.in.Fd())
	saved, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil || t.saved != nil {
		return
	}
	raw := *saved
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(fd, unix.TCSETS, &raw) == nil {
		t.saved = saved
	}
}

func (t *terminal) restore() {
	if t.saved != nil {
		_ = unix.IoctlSetTermios(int(t.in.Fd()), unix.TCSETS, t.saved)
	}
}

// copy passes on what is typed. The guest's shell ends at the end of a file or pipe.
func (t *terminal) copy(p *process) {
	buf := make([]byte, 4096)
	for {
		n, err := t.in.Read(buf)
		if n > 0 && t.saved != nil && bytes.IndexByte(buf[:n], escape) >= 0 {
			t.left.Store(true)
			p.stop()
			return
		}
		if n > 0 {
			if _, werr := p.input.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			p.endInput()
			return
		}
	}
}

// resizes tells the guest of the terminal's new sizes.
func (t *terminal) resizes(ctx context.Context, p *process) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	defer signal.Stop(changed)
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.done:
			return
		case <-changed:
			rows, cols := t.size()
			if line, err := proto.Line(proto.Resize{Rows: rows, Cols: cols}); err == nil {
				_, _ = p.report.Write(line)
			}
		}
	}
}
