// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/creack/pty"

	"ksnif/vmtest/proto"
)

// profile is read by the interactive shell, bash or busybox.
const (
	profilePath = "/run/ksnif-profile"
	profile     = `PS1='ksnif:$PWD# '
alias ll='ls -l'
if [ -n "$BASH_VERSION" ] && command -v ksnifctl >/dev/null; then
	# all that ksnifctl's completion needs of the package bash-completion
	eval '_get_comp_words_by_ref() {
		words=("${COMP_WORDS[@]}") cword=$COMP_CWORD
		cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	}'
	eval "$(ksnifctl completion bash)"
fi
`
)

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
		"What you leave in /out stays on the host. Leave with `exit` or Ctrl-D.",
		"Ctrl-] ends the VM at once, as if its power were cut.",
		"",
	}
	if !s.plan.Module {
		lines = append(lines[:3:3], append([]string{"  (this VM was booted without the module)"}, lines[7:]...)...)
	}
	return strings.Join(lines, "\n") + "\n"
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
	if err := os.WriteFile(profilePath, []byte(profile), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("/bin/sh", "-i")
	if bash, err := exec.LookPath("bash"); err == nil {
		cmd = exec.Command(bash, "--rcfile", profilePath, "-i")
	}
	cmd.Dir = proto.DirOut
	cmd.Env = append(os.Environ(), append(guestEnv(s.plan), "ENV="+profilePath)...)
	if s.plan.Term != "" {
		cmd.Env = append(cmd.Env, "TERM="+s.plan.Term)
	}
	run := s.piped
	if s.plan.Terminal {
		run = s.interactive
	}
	code, text, err := run(cmd, in, out)
	if err != nil {
		return fmt.Errorf("shell: %w", err)
	}
	s.report.send(proto.Record{Kind: proto.KindStatus, Code: code, Text: text})
	return nil
}

// interactive runs the shell on a pty.
func (s *session) interactive(cmd *exec.Cmd, in, out *os.File) (int, string, error) {
	if _, err := io.WriteString(out, s.banner()); err != nil {
		return 0, "", err
	}
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: s.plan.Rows, Cols: s.plan.Cols})
	if err != nil {
		return 0, "", err
	}
	go s.report.resizes(func(r proto.Resize) { _ = pty.Setsize(tty, &pty.Winsize{Rows: r.Rows, Cols: r.Cols}) })
	go func() { _, _ = io.Copy(tty, in) }()
	copied := make(chan struct{})
	go func() { defer close(copied); _, _ = io.Copy(out, tty) }()
	code, text := exitStatus(cmd.Wait())
	// A process that was left behind may hold the pty open.
	select {
	case <-copied:
	case <-time.After(time.Second):
	}
	return code, text, tty.Close()
}

// piped feeds the shell with commands from a file or pipe on the host, which end when the host closes the port. A
// pty is no way for that: an end-of-file key that comes while a command runs is the command's.
func (s *session) piped(cmd *exec.Cmd, in, out *os.File) (int, string, error) {
	cmd.Args = []string{cmd.Args[0]}
	cmd.Stdout, cmd.Stderr = out, out
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return 0, "", err
	}
	go func() {
		_, _ = io.Copy(pipe, in)
		pipe.Close()
	}()
	code, text := exitStatus(cmd.Run())
	return code, text, nil
}
