// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// rights are what the rules of the interface leave somebody with.
type rights struct {
	socket bool // has the test a socket at all
	files  bool // has it files
	// CAP_NET_ADMIN in the initial user namespace, of whoever opened a socket or a file as well as of whoever uses it:
	// all commands, and what the files are for. The kernel will write a capture file.
	admin bool
	// CAP_NET_ADMIN in the user namespace that owns the network namespace: to hear of events.
	join bool
	// The modes 0400 and 0200, and root for owner.
	owner    bool // may read status and write control
	override bool // need not mind modes: may open the files for what they are not for, too
}

// table is what is told to somebody with these rights, by what was tried.
func (r rights) table() tries {
	all := tries{}
	if r.socket {
		for _, request := range genl.Requests() {
			all[request.Name] = or(r.admin, unix.EPERM)
		}
		all[tryDump] = or(r.admin, unix.EPERM)
		if r.admin {
			all["start"] = unix.EALREADY // it runs
		}
		all[tryJoin] = or(r.join, unix.EPERM)
	}
	if r.files {
		r.tableOfFiles(all)
	}
	return all
}

func (r rights) tableOfFiles(all tries) {
	all[statusOpen] = or(r.owner, unix.EACCES)
	all[statusOpenW] = or(r.override, unix.EACCES)
	all[controlOpen] = or(r.owner, unix.EACCES)
	all[controlOpenR] = or(r.override, unix.EACCES)
	// control asks at open already
	for _, open := range []string{controlOpen, controlOpenR} {
		if all[open] == 0 {
			all[open] = or(r.admin, unix.EPERM)
		}
	}
	uses := []struct {
		open, use string
		errno     unix.Errno
	}{
		{statusOpen, statusRead, or(r.admin, unix.EPERM)},
		{statusOpenW, statusWrite, unix.EIO}, // there is no such thing
		{controlOpen, controlWrite, or(r.admin, unix.EPERM)},
		{controlOpenR, controlRead, unix.EIO},
	}
	for _, u := range uses {
		if all[u.open] == 0 {
			all[u.use] = u.errno
		}
	}
}

// or is errno unless it is allowed.
func or(allowed bool, errno unix.Errno) unix.Errno {
	if allowed {
		return 0
	}
	return errno
}

// permission is a row of the table: somebody, and a way to try.
type permission struct {
	name string
	try  func(t *testing.T, p *place) tries
	may  rights
	want tries // nil: that of may
}

func permissions() []permission {
	netAdmin, dac := uint(unix.CAP_NET_ADMIN), uint(unix.CAP_DAC_OVERRIDE)
	root := person{but: []uint{}}
	admin := person{uid: anyUser, caps: []uint{netAdmin}}
	anybody, opensAll := person{uid: anyUser}, person{uid: anyUser, caps: []uint{dac}}
	refused := rights{socket: true}
	socket := func(join bool) rights { return rights{socket: true, admin: true, join: join} }
	all := rights{socket: true, files: true, admin: true, join: true, owner: true, override: true}
	nothing := rights{socket: true, files: true}
	openers := rights{socket: true, files: true, owner: true, override: true}
	onlyFiles := tries{statusOpen: 0, controlOpen: 0, statusRead: unix.EPERM, controlWrite: unix.EPERM}
	return []permission{
		{"root", as(root), all, nil},
		{"uid 1000 with CAP_NET_ADMIN", as(admin), rights{socket: true, files: true, admin: true, join: true}, nil},
		{"uid 1000 with both capabilities", as(person{uid: anyUser, caps: []uint{netAdmin, dac}}), all, nil},
		{"uid 1000", as(anybody), nothing, nil},
		{"uid 1000 that may open all files", as(opensAll), openers, nil},
		{"uid 1000 with all but CAP_NET_ADMIN", as(person{uid: anyUser, but: []uint{netAdmin}}), openers, nil},
		{"root without CAP_NET_ADMIN", as(person{but: []uint{netAdmin}}), openers, nil},
		{"root without any", as(person{}), rights{socket: true, files: true, owner: true}, nil},
		{"root's user namespace", namespaceRoot(0, false), openers, nil},
		{
			"root's user namespace with a network namespace", namespaceRoot(0, true),
			rights{socket: true, files: true, join: true, owner: true, override: true}, nil,
		},
		{"uid 1000's user namespace", namespaceRoot(anyUser, false), nothing, nil},
		{
			"uid 1000's user namespace with a network namespace", namespaceRoot(anyUser, true),
			rights{socket: true, files: true, join: true, owner: true, override: true}, nil,
		},
		{"socket of root, written to by root", handedSocket(root, root, true), socket(true), nil},
		{"socket of root, written to by uid 1000", handedSocket(root, anybody, true), refused, nil},
		{"socket of root, used by uid 1000", handedSocket(root, anybody, false), refused, nil},
		{"socket of root, used by uid 1000 with CAP_NET_ADMIN", handedSocket(root, admin, false), socket(true), nil},
		{"socket of uid 1000, written to by root", handedSocket(anybody, root, true), rights{socket: true, join: true}, nil},
		{"socket of uid 1000, used by root", handedSocket(anybody, root, false), socket(true), nil},
		{
			"files of root, used by root", handedFiles(root, root), all,
			tries{statusOpen: 0, controlOpen: 0, statusRead: 0, controlWrite: 0},
		},
		{"files of root, used by uid 1000", handedFiles(root, anybody), refused, onlyFiles},
		{"files of root, used by uid 1000 that may open all", handedFiles(root, opensAll), refused, onlyFiles},
		{
			"files of uid 1000, used by root", handedFiles(opensAll, root), refused,
			tries{statusOpen: 0, controlOpen: unix.EPERM, statusRead: unix.EPERM},
		},
	}
}

// TestTorturePermissions has everybody try every command, the events and every file, and compares with the table. To
// whom all is refused, nothing changes.
func TestTorturePermissions(t *testing.T) {
	cells := 0
	for _, row := range permissions() {
		want := row.want
		if want == nil {
			want = row.may.table()
		}
		cells += len(want)
		t.Run(row.name, func(t *testing.T) {
			p := newPlace(t)
			p.captured(5)
			// a restart opens the file in its caller's name, which is another matter
			require.NoError(t, errors.Join(os.Chmod(p.dir, 0o755), os.Chown(p.File, anyUser, anyUser)))
			silent, before := p.silent(), p.snapshot()
			assert.Equal(t, want, row.try(t, p))
			if row.may.admin {
				p.tried(want)
				return
			}
			p.unchanged(before)
			silent()
		})
	}
	t.Logf("%d cells", cells)
}

// tried checks that what was allowed was done.
func (p *place) tried(all tries) {
	p.T.Helper()
	snaplen := triedBySocket
	if _, ok := all[controlWrite]; ok && all[controlWrite] == 0 {
		snaplen = triedByControl
	}
	now := p.Get()
	assert.EqualValues(p.T, snaplen, now.Snaplen)
	assert.Equal(p.T, genl.StateRunning, now.State)
	if _, ok := all["restart"]; ok {
		assert.Zero(p.T, p.Stats().Received, "the counters begin again")
	}
}
