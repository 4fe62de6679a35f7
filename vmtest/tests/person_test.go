// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// person is somebody on the system: a user with some capabilities.
type person struct {
	uid  int
	caps []uint
	but  []uint // all capabilities but these
}

const anyUser = 1000

// do calls fn in the place as that person.
func (w person) do(p *place, fn func() error) error {
	return inNetns("/run/netns/"+p.NS.Name, func() error {
		if err := w.become(); err != nil {
			return err
		}
		return fn()
	})
}

// inNetns calls fn in a network namespace, on a thread of its own.
func inNetns(path string, fn func() error) error {
	return onThread(func() error {
		ns, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return fn()
	})
}

// onThread calls fn on a thread which ends with it, so that nobody else gets one with strange rights.
func onThread(fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the process's first thread would stay: hold it until another is done
			done <- onThread(fn)
			runtime.UnlockOSThread()
			return
		}
		done <- fn()
	}()
	return <-done
}

// become changes the credentials of the calling thread, and of no other: the functions of package syscall would
// change those of all.
func (w person) become() error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	uid := uintptr(w.uid)
	for _, number := range []uintptr{unix.SYS_SETRESGID, unix.SYS_SETRESUID} {
		if _, _, errno := unix.RawSyscall(number, uid, uid, uid); errno != 0 {
			return fmt.Errorf("become user %d: %w", w.uid, errno)
		}
	}
	var mask uint64
	for _, c := range w.caps {
		mask |= 1 << c
	}
	if w.but != nil {
		mask = 1<<(unix.CAP_LAST_CAP+1) - 1
	}
	for _, c := range w.but {
		mask &^= 1 << c
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for i := range data {
		half := uint32(mask >> (32 * i))
		data[i] = unix.CapUserData{Effective: half, Permitted: half}
	}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("capabilities %#x: %w", mask, err)
	}
	return nil
}

// procFile is the path of the calling thread's namespace's file.
func procFile(name string) string { return "/proc/thread-self/net/ksnif/" + name }

// errnoOf is the errno in an error; one without is returned.
func errnoOf(err error) (unix.Errno, error) {
	var errno unix.Errno
	if err == nil || errors.As(err, &errno) {
		return errno, nil
	}
	return 0, err
}
