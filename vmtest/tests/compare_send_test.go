// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
)

// sender puts frames on a device, or, for a tun device, lets it receive them.
type sender struct {
	t  testing.TB
	fd int
	to unix.Sockaddr // nil: fd is written to
}

// newSender makes a sender through a packet socket on a device.
func newSender(t testing.TB, ns *guest.Namespace, dev string) *sender {
	t.Helper()
	s := &sender{t: t}
	require.NoError(t, ns.Do(func() error {
		i, err := net.InterfaceByName(dev)
		if err != nil {
			return err
		}
		// Protocol 0: it receives nothing.
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		s.to = &unix.SockaddrLinklayer{Ifindex: i.Index}
		return err
	}))
	t.Cleanup(func() { require.NoError(t, unix.Close(s.fd)) })
	return s
}

// newTun makes a tun device in the namespace, up, and what is sent is received by it.
func newTun(t testing.TB, ns *guest.Namespace, dev string) *sender {
	t.Helper()
	guest.Run(t, "modprobe", "tun")
	s := &sender{t: t}
	require.NoError(t, ns.Do(func() (err error) {
		if s.fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(dev)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		return unix.IoctlIfreq(s.fd, unix.TUNSETIFF, ifr)
	}))
	t.Cleanup(func() { require.NoError(t, unix.Close(s.fd)) })
	ns.Run(t, "ip", "link", "set", dev, "up")
	return s
}

func (s *sender) send(data []byte) error {
	if s.to == nil {
		_, err := unix.Write(s.fd, data)
		return err
	}
	return unix.Sendto(s.fd, data, 0, s.to)
}

// sendAll sends from one CPU, so that the frames are received one after the other: two captures can only then be
// expected to agree on the order.
func (s *sender) sendAll(frames []frame) {
	s.t.Helper()
	require.NoError(s.t, onCPU(0, func() error {
		for i, f := range frames {
			if err := s.send(f.data); err != nil {
				return fmt.Errorf("frame %d (%s) of %d bytes: %w", i, f.name, len(f.data), err)
			}
		}
		return nil
	}))
}

// onCPU calls fn on a thread that stays on that CPU.
func onCPU(cpu int, fn func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			done <- fmt.Errorf("stay on CPU %d: %w", cpu, err)
			return
		}
		done <- fn()
	}()
	return <-done
}

// forTun leaves out what a tun device does not take.
func forTun(frames []frame) []frame {
	var list []frame
	for _, f := range frames {
		if rawProtocol(f.data) != 0 {
			list = append(list, f)
		}
	}
	return list
}

// wire is a veth pair: frames that are sent in one namespace are received in the other. The sending side says nothing
// on its own.
type wire struct {
	rx     *guest.Namespace
	tx     *guest.Namespace
	dev    string // receiving
	txDev  string
	mac    net.HardwareAddr
	sender *sender
}

func newWire(t testing.TB, mtu int) *wire {
	t.Helper()
	w := &wire{rx: guest.NewNamespace(t, "rx"), tx: guest.NewNamespace(t, "tx"), dev: "veth0", txDev: "peer0"}
	quiet(t, w.tx)
	w.join(t, w.dev, w.txDev, mtu)
	w.rx.Run(t, "ip", "addr", "add", "198.18.0.1/24", "dev", w.dev)
	w.rx.Run(t, "ip", "-6", "addr", "add", "2001:db8::1/64", "dev", w.dev, "nodad")
	w.mac = macOf(t, w.rx, w.dev)
	// Answers go out and vanish. Without a neighbour they would come back over lo, as errors, after seconds.
	for _, peer := range []string{"198.18.0.2", "2001:db8::2"} {
		w.rx.Run(t, "ip", "neigh", "add", peer, "lladdr", "02:5e:00:00:00:01", "dev", w.dev, "nud", "permanent")
	}
	w.sender = newSender(t, w.tx, w.txDev)
	return w
}

// quiet keeps a namespace's devices from sending on their own.
func quiet(t testing.TB, ns *guest.Namespace) {
	t.Helper()
	ns.Run(t, "sh", "-euc", "for d in all default; do echo 1 > /proc/sys/net/ipv6/conf/$d/disable_ipv6; done")
}

// join makes a veth pair between the two namespaces.
func (w *wire) join(t testing.TB, dev, txDev string, mtu int) {
	t.Helper()
	guest.Run(t, "ip", "link", "add", dev, "netns", w.rx.Name, "mtu", fmt.Sprint(mtu), "type", "veth",
		"peer", "name", txDev, "netns", w.tx.Name, "mtu", fmt.Sprint(mtu))
	w.tx.Run(t, "ip", "link", "set", txDev, "arp", "off", "up")
	w.rx.Run(t, "ip", "link", "set", dev, "up")
}

func macOf(t testing.TB, ns *guest.Namespace, dev string) net.HardwareAddr {
	t.Helper()
	var mac net.HardwareAddr
	require.NoError(t, ns.Do(func() error {
		i, err := net.InterfaceByName(dev)
		if err == nil {
			mac = i.HardwareAddr
		}
		return err
	}))
	if len(mac) == 0 { // lo
		mac = make(net.HardwareAddr, 6)
	}
	return mac
}

// crafter makes a crafter for frames to the receiving device.
func (w *wire) crafter(t testing.TB, mtu int) *crafter {
	t.Helper()
	c := newCrafter(t)
	c.mtu, c.dst = mtu, w.mac
	return c
}

func sysWrite(t testing.TB, ns *guest.Namespace, path, value string) {
	t.Helper()
	ns.Run(t, "sh", "-euc", "echo "+value+" > "+path)
}
