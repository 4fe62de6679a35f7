// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// openModule opens a file with the module in it.
func openModule(t testing.TB, name string) int {
	t.Helper()
	file, err := os.Open(name)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, file.Close()) })
	return int(file.Fd())
}

// TestTortureFailLoad has each allocation fail that loading the module comes to: nothing of it remains, or the kernel
// could do without, and it works.
func TestTortureFailLoad(t *testing.T) {
	guest.NeedsFaults(t)
	file := openModule(t, guest.ModuleFile(t))
	p := newPlace(t) // there are several namespaces then: what is made for one is in vain when a later one fails
	guest.Unload(t)
	t.Cleanup(func() {
		if !guest.Loaded() {
			guest.Load(t)
		}
	})
	failAnyAllocation(t)
	loads := 0
	for n, fired := 1, true; fired; n++ {
		var loaded error
		var err error
		fired, err = guest.FailNth(n, func() { loaded = unix.FinitModule(file, "", 0) })
		require.NoError(t, err)
		if loaded == nil {
			_, _ = p.Client.Get(p.ctx()) // which shows it that the family has another number by now
			p.Set(p.settings())
			p.works()
			require.NoError(t, unix.DeleteModule("ksnif", unix.O_NONBLOCK))
			loads++
		} else {
			require.True(t, fired, "with nothing failing: %v", loaded)
			require.ErrorIs(t, loaded, unix.ENOMEM, "allocation %d", n)
		}
		requireNothing(t)
		if !fired {
			t.Logf("%d allocations, %d of which loading can do without", n-1, loads-1)
		}
	}
}

// TestTortureFailInit has the module's init fail where nothing that it calls ever fails.
func TestTortureFailInit(t *testing.T) {
	guest.NeedsFaults(t)
	file := openModule(t, guest.ModuleFile(t))
	guest.Unload(t)
	defer guest.Load(t)
	for _, errno := range injected {
		require.Equal(t, errno, unix.FinitModule(file, fmt.Sprintf("fail_init=%d", int(errno)), 0))
		requireNothing(t)
	}
}

// requireNothing checks that nothing of the module is to be seen.
func requireNothing(t testing.TB) {
	t.Helper()
	require.False(t, guest.Loaded(), "the module is loaded")
	require.NoFileExists(t, procFile("status"))
	g, err := genetlink.Dial(nil)
	require.NoError(t, err)
	defer g.Close()
	families, err := g.ListFamilies() // asked for by name, the kernel would load the module
	require.NoError(t, err)
	for _, f := range families {
		require.NotEqual(t, genl.FamilyName, f.Name, "the family is there")
	}
}

// TestTortureFailNamespace has each allocation fail that the making of a network namespace comes to: there is none, or
// it has a capture that works.
func TestTortureFailNamespace(t *testing.T) {
	guest.NeedsFaults(t)
	failAnyAllocation(t)
	refused := 0
	for n, fired := 1, true; fired; n++ {
		made, err := error(nil), error(nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			runtime.LockOSThread() // never unlocked: the thread ends here, and the namespace with it
			fired, err = guest.FailNth(n, func() { made = unix.Unshare(unix.CLONE_NEWNET) })
			if err == nil && made == nil {
				_, err = os.Stat(procFile("status"))
			}
		}()
		<-done
		require.NoError(t, err, "allocation %d", n)
		if made != nil {
			// not always ENOMEM: others who have something in each namespace say it in ways of their own
			require.True(t, fired, "with nothing failing: %v", made)
			refused++
		}
		if !fired {
			t.Logf("%d allocations, %d of which it cannot do without", n-1, refused)
		}
	}
	newPlace(t).works()
}
