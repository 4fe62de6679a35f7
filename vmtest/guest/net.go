// SPDX-License-Identifier: GPL-2.0

package guest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace, as `ip netns` makes them.
type Namespace struct{ Name string }

// NewNamespace makes a network namespace with lo up, and deletes it when the test ends. The name is prefix and a
// number.
func NewNamespace(t testing.TB, prefix string) *Namespace {
	t.Helper()
	ns := &Namespace{Name: freeName("/run/netns", prefix)}
	Run(t, "ip", "netns", "add", ns.Name)
	t.Cleanup(func() {
		if _, err := os.Stat(ns.path()); err == nil {
			Run(t, "ip", "netns", "delete", ns.Name)
		}
	})
	ns.Run(t, "ip", "link", "set", "lo", "up")
	return ns
}

var counter atomic.Int64

func freeName(dir, prefix string) string {
	for {
		name := fmt.Sprintf("%s%d", prefix, counter.Add(1))
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return name
		}
	}
}

func (n *Namespace) path() string { return "/run/netns/" + n.Name }

// Run runs a command in the namespace that has to succeed. A nil Namespace is the one that the test runs in.
func (n *Namespace) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := n.Try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs a command in the namespace.
func (n *Namespace) Try(name string, args ...string) (out string, err error) {
	// ip and sysctl need not see the namespace's /sys, for which "ip netns exec" takes a second on a debug kernel
	if n != nil && name != "ip" && name != "sysctl" {
		return Try("ip", append([]string{"netns", "exec", n.Name, name}, args...)...)
	}
	err = n.Do(func() error {
		out, err = Try(name, args...)
		return err
	})
	return out, err
}

// ipBatch runs commands of ip's in the namespace, all in one process: starting one takes a second on a debug kernel.
func (n *Namespace) ipBatch(t testing.TB, commands ...string) {
	t.Helper()
	file, lines := filepath.Join(t.TempDir(), "batch"), strings.Join(commands, "\n")+"\n"
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Try("ip", "-batch", file); err != nil {
		t.Fatalf("%v; the lines are:\n%s", err, lines)
	}
}

// Do calls fn in the namespace: sockets that fn makes belong to it. A nil Namespace is the one that the test runs in.
func (n *Namespace) Do(fn func() error) error {
	if n == nil {
		return fn()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			done <- fmt.Errorf("own namespace: %w", err)
			return
		}
		defer unix.Close(home)
		err = n.enter(fn)
		// Back home before anybody can think it is over: this thread would hold the namespace. One that cannot go
		// back, as fn gave up the right to, is not unlocked and dies with the goroutine.
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// enter moves the thread to the namespace and calls fn.
func (n *Namespace) enter(fn func() error) error {
	fd, err := unix.Open(n.path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("namespace %s: %w", n.Name, err)
	}
	return fn()
}

// End is one end of a veth pair.
type End struct {
	NS   *Namespace // nil is the test's own
	Dev  string
	IPv4 string
	IPv6 string
}

// Run runs a command in the end's namespace.
func (e *End) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return e.NS.Run(t, name, args...)
}

// netns is what tells "ip link add" where the end comes to be.
func (e *End) netns() []string {
	if e.NS == nil {
		return nil
	}
	return []string{"netns", e.NS.Name}
}

// Veth joins two namespaces with a veth pair, addresses 10.N.0.1/24 and .2, fdN::1/64 and ::2, up and ready. A nil
// Namespace is the test's own.
func Veth(t testing.TB, a, b *Namespace) (*End, *End) {
	t.Helper()
	n := counter.Add(1) % 250
	ends := []*End{{NS: a}, {NS: b}}
	for i, e := range ends {
		e.Dev = fmt.Sprintf("veth%d%c", n, 'a'+i)
		e.IPv4 = fmt.Sprintf("10.%d.0.%d", n, i+1)
		e.IPv6 = fmt.Sprintf("fd%02x::%d", n, i+1)
	}
	add := append([]string{"link", "add", ends[0].Dev}, ends[0].netns()...)
	add = append(add, "type", "veth", "peer", "name", ends[1].Dev)
	batches := map[*Namespace][]string{nil: {strings.Join(append(add, ends[1].netns()...), " ")}}
	for _, e := range ends {
		batches[e.NS] = append(batches[e.NS], "addr add "+e.IPv4+"/24 dev "+e.Dev,
			"addr add "+e.IPv6+"/64 dev "+e.Dev+" nodad", "link set "+e.Dev+" up")
	}
	t.Cleanup(func() {
		if _, err := os.Stat("/sys/class/net/" + ends[0].Dev); err == nil {
			Run(t, "ip", "link", "delete", ends[0].Dev)
		}
	})
	(*Namespace)(nil).ipBatch(t, batches[nil]...)
	delete(batches, nil)
	for ns, commands := range batches {
		ns.ipBatch(t, commands...)
	}
	return ends[0], ends[1]
}

// MAC returns the address of a device in the namespace. A nil Namespace is the one that the test runs in.
func (n *Namespace) MAC(t testing.TB, dev string) string {
	t.Helper()
	var mac string
	look := func() error {
		link, err := net.InterfaceByName(dev)
		if err == nil {
			mac = link.HardwareAddr.String()
		}
		return err
	}
	if err := n.Do(look); err != nil {
		t.Fatalf("address of %s: %v", dev, err)
	}
	return mac
}
