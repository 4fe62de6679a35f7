// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/creack/pty"

	"ksnif/vmtest/proto"
)

const profile = `PS1='ksnif:\w# '
alias ll='ls -l'
[ -r /ksnif/shrc ] && . /ksnif/shrc
`

// banner says what a student can type, and how to leave.
func (s *session) banner() string {
	lines := []string{
		"",
		fmt.Sprintf("ksnif on Linux %s (%s)", s.release, s.plan.Accel),
		"",
		"  ksnifctl status            what the module does now",
		"  ksnifctl start; ping -c3 127.0.0.1; ksnifctl stop; ksnifctl stats",
		"  tcpdump -nr /var/log/ksnif.pcapng | head",
		"  dmesg | tail; rmmod ksnif; modprobe ksnif",
		"",
		"What you leave in /out stays on the host. Leave with `exit` or Ctrl-D; Ctrl-] ends the VM at once.",
		"",
	}
	if !s.plan.Module {
		lines[3] = "  (no module was given to this VM)"
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// runShell gives an interactive shell on a pty that is joined to the two ports.
func (s *session) runShell() {
	if err := s.shell(); err != nil {
		s.problem(proto.Problem{Type: "shell", Text: err.Error()})
	}
	s.killAll()
}

func (s *session) shell() error {
	out, err := os.OpenFile(s.ports[proto.PortOutput], os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("output port: %w", err)
	}
	defer out.Close()
	in, err := os.OpenFile(s.ports[proto.PortInput], os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("input port: %w", err)
	}
	if err := os.WriteFile("/tmp/.profile", []byte(profile), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-i")
	cmd.Dir = proto.DirOut
	cmd.Env = append(os.Environ(), append(guestEnv(s.plan), "ENV=/tmp/.profile")...)
	if s.plan.Term != "" {
		cmd.Env = append(cmd.Env, "TERM="+s.plan.Term)
	}
	if _, err := io.WriteString(out, s.banner()); err != nil {
		return err
	}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: s.plan.Rows, Cols: s.plan.Cols})
	if err != nil {
		return fmt.Errorf("shell: %w", err)
	}
	go s.report.resizes(func(r proto.Resize) { _ = pty.Setsize(tty, &pty.Winsize{Rows: r.Rows, Cols: r.Cols}) })
	go func() { _, _ = io.Copy(tty, in) }()
	copied := make(chan struct{})
	go func() { defer close(copied); _, _ = io.Copy(out, tty) }()
	code, text := exitStatus(cmd.Wait())
	tty.Close()
	<-copied
	s.report.send(proto.Record{Kind: proto.KindStatus, Code: code, Text: text})
	return nil
}
