// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

const qemuProgram = "qemu-system-x86_64"

// process is a running QEMU with its channels.
type process struct {
	cmd     *exec.Cmd
	stderr  lockedBuffer
	console net.Conn
	report  net.Conn
	output  net.Conn
	input   net.Conn
	monitor net.Conn      // of a machine that is controlled, or nil
	done    chan struct{} // closed when QEMU is gone
	err     error         // then: how it exited
}

// lockedBuffer keeps the first part of what is written to it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buf.Len() < 64<<10 {
		b.buf.Write(p)
	}
	return len(p), nil
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.TrimSpace(b.buf.String())
}

// start runs QEMU. The channels are socket pairs: no paths that could be too long, clash or stay behind.
func (m *machine) start(ctx context.Context) (*process, error) {
	p := &process{done: make(chan struct{})}
	type end struct {
		name string
		conn *net.Conn
	}
	ends := []end{
		{"", &p.console}, {proto.PortReport, &p.report}, {proto.PortOutput, &p.output}, {proto.PortInput, &p.input},
	}
	if m.control {
		ends = append(ends, end{controlChannel, &p.monitor})
	}
	var channels []channel
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	for i, e := range ends {
		conn, file, err := socketPair()
		if err != nil {
			p.closeChannels()
			return nil, err
		}
		*e.conn = conn
		files = append(files, file)
		channels = append(channels, channel{name: e.name, fd: 3 + i})
	}
	p.cmd = exec.CommandContext(ctx, qemuProgram, m.args(channels)...)
	p.cmd.ExtraFiles = files
	p.cmd.Stderr = &p.stderr
	// ^C on the terminal is this process's to handle; if it dies itself, QEMU must not stay.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 3 * time.Second
	if err := p.cmd.Start(); err != nil {
		p.closeChannels()
		return nil, fmt.Errorf("start QEMU: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends QEMU, and returns when it is gone.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(3 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// kill ends QEMU as a power cut would.
func (p *process) kill() { _ = p.cmd.Process.Kill() }

func (p *process) ended() <-chan struct{} { return p.done }

// exit explains a failure with what QEMU printed.
func (p *process) exit() error {
	text := p.stderr.String()
	if p.err == nil || text == "" {
		return p.err
	}
	return fmt.Errorf("%w: %s", p.err, text)
}

// endInput ends the guest's input behind what is on its way: QEMU drops that if the socket is closed.
func (p *process) endInput() {
	if c, ok := p.input.(*net.UnixConn); ok {
		_ = c.CloseWrite()
	}
}

func (p *process) closeChannels() {
	for _, c := range []net.Conn{p.console, p.report, p.output, p.input, p.monitor} {
		if c != nil {
			c.Close()
		}
	}
}

// commandLine returns what was started, for a reader who wants to do it by hand.
func (p *process) commandLine() string {
	words := make([]string, len(p.cmd.Args))
	for i, a := range p.cmd.Args {
		if strings.ContainsAny(a, " \t\"'$&|;<>()*?") {
			a = shellWord(a)
		}
		words[i] = a
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for the shell.
func shellWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// socketPair returns this process's end and the one for QEMU.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "channel"), os.NewFile(uintptr(fds[1]), "qemu")
	defer ours.Close() // FileConn duplicates it
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("channel: %w", err)
	}
	return conn, theirs, nil
}
