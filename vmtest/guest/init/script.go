// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

// runScript runs the script as root, with /out as its working directory, and reports its exit status.
func (s *session) runScript() {
	out, err := os.OpenFile(s.ports[proto.PortOutput], os.O_WRONLY, 0)
	if err != nil {
		s.problem(proto.Problem{Type: "script", Text: "output port: " + err.Error()})
		return
	}
	defer out.Close()
	cmd := exec.Command("/bin/sh", proto.PathScript)
	cmd.Dir = proto.DirOut
	cmd.Env = append(os.Environ(), guestEnv(s.plan)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// The script gets the port itself, not a pipe: nothing is lost or late if the kernel dies.
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	code, text := exitStatus(err)
	s.report.send(proto.Record{Kind: proto.KindStatus, Code: code, Text: text})
	s.killAll()
}

// exitStatus is the shell's: 128 and the signal's number for a process that was killed.
func exitStatus(err error) (int, string) {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, ""
	case !errors.As(err, &exit):
		return 127, err.Error()
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if ok && status.Signaled() {
		return 128 + int(status.Signal()), fmt.Sprintf("killed by %s", status.Signal())
	}
	return exit.ExitCode(), ""
}

// killAll ends what the script left running, so that /out can be unmounted.
func (s *session) killAll() {
	for pid := range processes() {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}
