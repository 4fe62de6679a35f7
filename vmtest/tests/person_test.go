// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
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
	return onThread(func() error {
		ns, err := unix.Open("/run/netns/"+p.NS.Name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(ns)
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			return err
		}
		if err := w.become(); err != nil {
			return err
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

// tries is what somebody was told who tried everything.
type tries struct {
	Requests map[string]answer // by name of the command; "dump" is that of stats
	Join     unix.Errno        // of joining the group events
	Open     map[string]unix.Errno
	Use      map[string]unix.Errno // of reading status and writing control, as far as they could be opened
}

// tryAll tries each request once, the multicast group and the files in procfs, in the calling thread's name.
func tryAll() (*tries, error) {
	raw, err := dialRaw()
	if err != nil {
		return nil, err
	}
	defer raw.Close()
	all := &tries{Open: map[string]unix.Errno{}, Use: map[string]unix.Errno{}}
	if all.Requests, err = tryRequests(raw); err != nil {
		return nil, err
	}
	if all.Join, err = tryJoin(); err != nil {
		return nil, err
	}
	return all, all.tryProc()
}

// tryRequests sends each request; set and start would change something.
func tryRequests(raw *rawConn) (map[string]answer, error) {
	got := map[string]answer{}
	for c, name := range requestNames {
		var attrs [][]byte
		if c == genl.CmdSet {
			attrs = append(attrs, attrU32(genl.AttrCaptureSnaplen, 4000))
		}
		a, err := raw.command(c, attrs...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		got[name] = a
	}
	_, a, err := raw.ask(netlink.Request|netlink.Dump, header(genl.CmdStats))
	got["dump"] = a
	return got, err
}

func tryJoin() (unix.Errno, error) {
	g, err := genetlink.Dial(nil)
	if err != nil {
		return 0, err
	}
	defer g.Close()
	family, err := g.GetFamily(genl.FamilyName)
	if err != nil {
		return 0, err
	}
	if len(family.Groups) != 1 || family.Groups[0].Name != genl.GroupEvents {
		return 0, fmt.Errorf("groups %+v", family.Groups)
	}
	return errnoOf(g.JoinGroup(family.Groups[0].ID))
}

func (a *tries) tryProc() error {
	for name, flags := range map[string]int{"status": os.O_RDONLY, "control": os.O_WRONLY} {
		f, err := os.OpenFile(procFile(name), flags, 0)
		if a.Open[name], err = errnoOf(err); err != nil {
			return err
		}
		if f == nil {
			continue
		}
		a.Use[name], err = useProc(f, name)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// procFile is the path of the calling thread's namespace's file.
func procFile(name string) string { return "/proc/thread-self/net/ksnif/" + name }

// useProc reads status, and tries to change something through control.
func useProc(f *os.File, name string) (unix.Errno, error) {
	if name == "control" {
		_, err := f.WriteString("snaplen 4000\n")
		return errnoOf(err)
	}
	_, err := io.ReadAll(f)
	return errnoOf(err)
}

// errnoOf is the errno in an error; one without is returned.
func errnoOf(err error) (unix.Errno, error) {
	var errno unix.Errno
	if err == nil || errors.As(err, &errno) {
		return errno, nil
	}
	return 0, err
}

// helperEnv makes this program do one job instead of tests; only a process with a single thread could enter a user
// namespace, so another one has to be started in it.
const helperEnv = "KSNIF_HELPER"

func init() {
	if os.Getenv(helperEnv) == "" {
		return
	}
	all, err := tryAll()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(all)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// namespaceRoot tries everything as root of a new user namespace, in the place's network namespace or in one that
// belongs to the user namespace.
func namespaceRoot(t *testing.T, p *place, ownNetwork bool) *tries {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	if ownNetwork {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	// A child is in the network namespace of the thread that starts it.
	require.NoError(t, p.NS.Do(cmd.Run), stderr.String())
	var all tries
	require.NoError(t, json.Unmarshal([]byte(stdout.String()), &all), stdout.String())
	return &all
}
