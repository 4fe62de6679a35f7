// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// steadyRules has a hook of every kind that packets of IPv4 and IPv6 come past.
const steadyRules = `table inet steady {
	chain prerouting { type filter hook prerouting priority 0; }
	chain input { type filter hook input priority 0; }
	chain forward { type filter hook forward priority 0; }
	chain output { type filter hook output priority 0; }
	chain postrouting { type filter hook postrouting priority 0; }
}
`

// The first thread stays main's, so that steadyHooks gets another one: its namespaces are those of process 1, where
// tests move devices to.
func init() { runtime.LockOSThread() }

// steadyHooks keeps netfilter hooks registered in a network namespace that sees no packet, as long as the file that
// it returns is open.
//
// The first hook of its kind in a system, and the end of the last one, patch the code that packets run through (a jump
// label). QEMU 7.2 does not emulate that well while another processor runs the code: now and then it keeps a
// translation of the breakpoint that is there for a moment, and the next packet ends the VM with "Oops: int3". nft
// alone, without ksnif, brings that about too. With these hooks registered nothing is patched. KVM does not need them.
func steadyHooks() (ns *os.File, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread, which is in the namespace, ends here
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("unshare: %w", err)
			return
		}
		if ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return
		}
		nft := exec.Command("nft", "-f", "-")
		nft.Stdin = strings.NewReader(steadyRules)
		var out []byte
		if out, err = nft.CombinedOutput(); err != nil {
			err = fmt.Errorf("nft: %w: %s", err, out)
		}
	}()
	<-done
	return ns, err
}
