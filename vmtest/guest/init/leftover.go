// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

// baseline is what the guest looked like before a test.
type baseline struct {
	pids   map[int]bool
	links  map[string]bool
	netns  map[string]bool
	mounts map[string]bool
}

func takeBaseline() baseline {
	return baseline{pids: processes(), links: names("/sys/class/net/*"), netns: names("/run/netns/*"), mounts: mounts()}
}

// leftovers reports what a test left behind, and removes what can be removed, so that the next test has a fair start.
func (b *baseline) leftovers() []proto.Problem {
	var problems []proto.Problem
	report := func(format string, args ...any) {
		problems = append(problems, proto.Problem{Type: "leftover", Text: fmt.Sprintf("left behind: "+format, args...)})
	}
	for _, pid := range lasting(time.Second, b.leftProcesses) {
		report("process %d (%s)", pid, cmdline(pid))
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if state := captureState(); state != "" && state != "stopped" {
		report("a capture that is %s", state)
		_ = command("ksnifctl", "stop")
	}
	for _, m := range fresh(b.mounts, mounts()) {
		if !strings.HasPrefix(m, "/run/netns") {
			report("mount %s", m)
			_ = unix.Unmount(m, unix.MNT_DETACH)
		}
	}
	for _, ns := range fresh(b.netns, names("/run/netns/*")) {
		report("network namespace %s", filepath.Base(ns))
		_ = unix.Unmount(ns, unix.MNT_DETACH)
		_ = os.Remove(ns)
	}
	for _, name := range lasting(2*time.Second, b.leftLinks) {
		report("network device %s", name)
	}
	for _, link := range fresh(b.links, names("/sys/class/net/*")) {
		_ = command("ip", "link", "delete", filepath.Base(link))
	}
	return problems
}

// lasting returns what is left when the time is over: nothing, as soon as all has gone by itself.
func lasting[T any](limit time.Duration, left func() []T) []T {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if list := left(); len(list) == 0 || time.Now().After(end) {
			return list
		}
	}
}

// leftLinks returns the devices that are new. One whose other end goes with its namespace may take a moment.
func (b *baseline) leftLinks() (left []string) {
	for _, link := range fresh(b.links, names("/sys/class/net/*")) {
		if name := filepath.Base(link); !madeByModule(name) {
			left = append(left, name)
		}
	}
	return left
}

// madeByModule says whether loading a module is enough for a device of that name to appear.
func madeByModule(name string) bool {
	return slices.Contains([]string{
		"dummy0", "ifb0", "ifb1", "bond0", "teql0", "tunl0", "sit0", "gre0", "gretap0", "erspan0",
		"ip_vti0", "ip6_vti0", "ip6tnl0", "ip6gre0",
	}, name)
}

// fresh returns what is in after and was not before, deepest paths first.
func fresh(before, after map[string]bool) []string {
	var list []string
	for name := range after {
		if !before[name] {
			list = append(list, name)
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(list)))
	return list
}

func names(pattern string) map[string]bool {
	set := map[string]bool{}
	files, _ := filepath.Glob(pattern)
	for _, f := range files {
		set[f] = true
	}
	return set
}

func mounts() map[string]bool {
	set := map[string]bool{}
	b, _ := os.ReadFile("/proc/self/mounts")
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 1 {
			set[f[1]] = true
		}
	}
	return set
}

// leftProcesses returns the processes that are new, user space only.
func (b *baseline) leftProcesses() (left []int) {
	for pid := range processes() {
		if !b.pids[pid] {
			left = append(left, pid)
		}
	}
	sort.Ints(left)
	return left
}

// processes returns the ids of all processes of user space that are no zombies.
func processes() map[int]bool {
	const kthread = 0x00200000 // PF_KTHREAD
	set := map[int]bool{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		// The second field, the name, is in parentheses and may contain anything.
		_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')'):]), " ")
		fields := strings.Fields(rest)
		if len(fields) < 7 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		flags, _ := strconv.ParseUint(fields[6], 10, 64)
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if flags&kthread == 0 && pid != 1 {
			set[pid] = true
		}
	}
	return set
}

func cmdline(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// captureState returns the state line of the module's status file, or nothing if there is none.
func captureState() string {
	b, err := os.ReadFile("/proc/net/ksnif/status")
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) > 1 && strings.TrimSuffix(f[0], ":") == "state" {
			return f[1]
		}
	}
	return ""
}
