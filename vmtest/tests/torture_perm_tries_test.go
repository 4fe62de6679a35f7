// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// tries is what somebody was told who tried everything: an errno by what was tried. What could not be tried, for its
// file could not be opened, is missing.
type tries map[string]unix.Errno

// What is tried besides the requests, which have their own names.
const (
	tryDump        = "dump"
	tryJoin        = "join events"
	statusOpen     = "open status"
	statusRead     = "read status"
	statusOpenW    = "open status to write"
	statusWrite    = "write status"
	controlOpen    = "open control"
	controlWrite   = "write control"
	controlOpenR   = "open control to read"
	controlRead    = "read control"
	triedBySocket  = 4000 // the snaplen that comes of it
	triedByControl = 4001
)

// tryAll tries each request, the multicast group and the files in procfs, in the calling thread's name.
func tryAll() (tries, error) {
	w, err := dialNlSocket()
	if err != nil {
		return nil, err
	}
	all := tries{}
	return all, errors.Join(all.socket(w), w.Close(), all.files())
}

// socket tries what takes a netlink socket.
func (all tries) socket(w *nlSocket) error {
	raw, err := dialRaw() // only asks for the family, which everybody may
	if err != nil {
		return err
	}
	defer raw.Close()
	try := func(name string, flags uint16, command uint8, attrs ...[]byte) error {
		replies, err := w.exchange(netlinkMessage(raw.family.ID, flags, append([][]byte{header(command)}, attrs...)...))
		if err == nil && len(replies) == 0 {
			err = fmt.Errorf("no reply to %s", name)
		}
		if err == nil {
			all[name] = replies[len(replies)-1].Errno
		}
		return err
	}
	for _, r := range genl.Requests() {
		var attrs [][]byte
		if r.Command == genl.CmdSet {
			attrs = append(attrs, attrU32(genl.AttrCaptureSnaplen, triedBySocket))
		}
		err = errors.Join(err, try(r.Name, requestFlags, r.Command, attrs...))
	}
	err = errors.Join(err, try(tryDump, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, genl.CmdStats))
	group := int(raw.family.Groups[0].ID)
	joined := unix.SetsockoptInt(w.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, group)
	all[tryJoin], joined = errnoOf(joined)
	return errors.Join(err, joined)
}

// files tries the files of the calling thread's namespace.
func (all tries) files() error {
	status, err := all.open(statusOpen, "status", os.O_RDONLY)
	statusW, err1 := all.open(statusOpenW, "status", os.O_WRONLY)
	control, err2 := all.open(controlOpen, "control", os.O_WRONLY)
	controlR, err3 := all.open(controlOpenR, "control", os.O_RDONLY)
	return errors.Join(err, err1, err2, err3,
		all.use(statusRead, status), all.use(statusWrite, statusW), all.use(controlWrite, control), all.use(controlRead, controlR))
}

// open returns nil if the file was refused.
func (all tries) open(what, name string, flags int) (*os.File, error) {
	f, err := os.OpenFile(procFile(name), flags, 0)
	all[what], err = errnoOf(err)
	return f, err
}

// use reads or writes an open file and closes it; a nil one is left out.
func (all tries) use(what string, f *os.File) error {
	if f == nil {
		return nil
	}
	var err error
	if what == statusRead || what == controlRead {
		_, err = io.ReadAll(f)
	} else {
		_, err = fmt.Fprintf(f, "snaplen %d\n", triedByControl)
	}
	all[what], err = errnoOf(err)
	return errors.Join(err, f.Close())
}

// as tries all as somebody.
func as(w person) func(t *testing.T, p *place) tries {
	return func(t *testing.T, p *place) tries {
		t.Helper()
		var all tries
		require.NoError(t, w.do(p, func() (err error) { all, err = tryAll(); return err }))
		return all
	}
}

// handedSocket tries the requests with a socket that somebody else opened.
func handedSocket(opener, user person, plain bool) func(t *testing.T, p *place) tries {
	return func(t *testing.T, p *place) tries {
		t.Helper()
		var w *nlSocket
		require.NoError(t, opener.do(p, func() (err error) { w, err = dialNlSocket(); return err }))
		defer w.Close()
		w.plain = plain
		all := tries{}
		require.NoError(t, user.do(p, func() error { return all.socket(w) }))
		return all
	}
}

// handedFiles tries the files that somebody else opened.
func handedFiles(opener, user person) func(t *testing.T, p *place) tries {
	return func(t *testing.T, p *place) tries {
		t.Helper()
		all := tries{}
		var status, control *os.File
		require.NoError(t, opener.do(p, func() (err error) {
			if status, err = all.open(statusOpen, "status", os.O_RDONLY); err == nil {
				control, err = all.open(controlOpen, "control", os.O_WRONLY)
			}
			return err
		}))
		require.NoError(t, user.do(p, func() error {
			return errors.Join(all.use(statusRead, status), all.use(controlWrite, control))
		}))
		return all
	}
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
	_, _ = io.ReadAll(os.Stdin) // others look at its namespaces until they close this
	os.Exit(0)
}

// namespaceRoot tries all as root of a new user namespace that a user made, in the place's network namespace or in one
// that belongs to the user namespace.
func namespaceRoot(user int, ownNetwork bool) func(t *testing.T, p *place) tries {
	return func(t *testing.T, p *place) tries {
		t.Helper()
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), helperEnv+"=1")
		cmd.Stderr = os.Stderr
		ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: user, Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
			Credential: &syscall.Credential{NoSetGroups: true},
		}
		if ownNetwork { // once the ids are mapped: so the files of the new namespace are its root's
			cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNET
		}
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		// A child is in the network namespace of the thread that starts it.
		require.NoError(t, p.NS.Do(cmd.Start))
		var all tries
		require.NoError(t, json.NewDecoder(stdout).Decode(&all))
		if ownNetwork {
			untouched(t, fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))
		}
		require.NoError(t, stdin.Close())
		require.NoError(t, cmd.Wait())
		return all
	}
}

// untouched checks that the capture of a network namespace is as in a new one.
func untouched(t *testing.T, netns string) {
	t.Helper()
	var seen [2]struct {
		capture *genl.Capture
		stats   *genl.Stats
	}
	for i, path := range []string{netns, "/run/netns/" + guest.NewNamespace(t, "fresh").Name} {
		require.NoError(t, inNetns(path, func() error {
			c, err := genl.New()
			if err != nil {
				return err
			}
			defer c.Close()
			ctx := guest.Context(t, commandLimit)
			if seen[i].capture, err = c.Get(ctx); err == nil {
				seen[i].stats, err = c.Stats(ctx)
			}
			return err
		}))
	}
	require.Equal(t, seen[1], seen[0], "a refusal changed something")
}
