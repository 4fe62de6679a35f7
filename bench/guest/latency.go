// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ksnif/bench"
	"ksnif/vmtest/guest"
)

// A pair of devices, of which the second is in a namespace of its own: what is sent there comes back.
const (
	pingDevice = "ping0"
	pongDevice = "pong0"
	pongNetns  = "pong"
	pingAddr   = "192.0.2.1"
	pongAddr   = "192.0.2.2"
	pongPort   = 7
	headers    = 14 + 20 + 8 // of Ethernet, IP and UDP
	warmUp     = 200         // rounds that are not counted
)

// echoArg has this program be the one that sends back.
const echoArg = "echo"

// latency measures how long a packet takes there and back again, with each contender capturing what comes back.
func latency(plan bench.Plan) ([]bench.Row, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	if err := makePair(); err != nil {
		return nil, err
	}
	list, err := choose(contenders(plan.BufferKB, pingDevice), "none", "ksnif list buffered", "ksnif ring buffered",
		"ksnif ring direct", "tcpdump")
	if err != nil {
		return nil, err
	}
	var rows []bench.Row
	for _, size := range plan.Sizes {
		some := make([]bench.Row, len(list))
		trips := make([][]time.Duration, len(list))
		for repeat := range plan.Repeats {
			for i, c := range list {
				some[i] = c.row(plan.Snaplens[0], size)
				fmt.Printf(" %d bytes, %d of %d: %s\n", size, repeat+1, plan.Repeats, some[i].Name())
				times, captured, err := pingPong(c, size, plan.Snaplens[0], plan.Rounds)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", some[i].Name(), err)
				}
				if c.name != "none" && captured != warmUp+plan.Rounds {
					return nil, fmt.Errorf("%s: has %d packets of %d", some[i].Name(), captured, warmUp+plan.Rounds)
				}
				trips[i] = append(trips[i], times...)
			}
		}
		for i := range some {
			some[i].RoundTrip = bench.RoundTripOf(trips[i])
			some[i].Instructions = some[i].RoundTrip.Median - some[0].RoundTrip.Median
			some[i].Packets, some[i].Repeats = plan.Rounds, plan.Repeats
			some[i].Offered = plan.Rounds
			if list[i].name != "none" {
				some[i].Captured = plan.Rounds
			}
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// makePair makes the devices. Everybody knows everybody's address: no packet but ours is on its way.
func makePair() error {
	script := strings.Split(fmt.Sprintf(`ip netns add %[3]s
ip link add %[1]s type veth peer name %[2]s netns %[3]s
sysctl -q -w net.ipv6.conf.%[1]s.disable_ipv6=1
ip netns exec %[3]s sysctl -q -w net.ipv6.conf.%[2]s.disable_ipv6=1
ip address add %[4]s/24 dev %[1]s
ip -n %[3]s address add %[5]s/24 dev %[2]s
ip link set %[1]s address 02:00:00:00:00:01 up
ip -n %[3]s link set %[2]s address 02:00:00:00:00:02 up
ip neighbour add %[5]s lladdr 02:00:00:00:00:02 dev %[1]s nud permanent
ip -n %[3]s neighbour add %[4]s lladdr 02:00:00:00:00:01 dev %[2]s nud permanent`,
		pingDevice, pongDevice, pongNetns, pingAddr, pongAddr), "\n")
	for _, line := range script {
		words := strings.Fields(line)
		if _, err := guest.Try(words[0], words[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// pingPong sends packets there, each when the one before has come back. It returns the times, and what was captured.
func pingPong(c contender, size, snaplen, rounds int) (times []time.Duration, captured int, err error) {
	const file = "/out/capture"
	defer func() { err = errors.Join(err, removed(file)) }()
	runtime.GC()
	echo, err := startEcho()
	if err != nil {
		return nil, 0, err
	}
	defer echo()
	fd, err := udpSocket(pingAddr, 0, pongAddr, pongPort)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(fd)
	run, err := c.start(file, snaplen)
	if err != nil {
		return nil, 0, err
	}
	time.Sleep(quiet)
	times, err = roundTrips(fd, size-headers, rounds)
	time.Sleep(lastGap)
	if err = errors.Join(err, run.stop()); err != nil {
		return nil, 0, err
	}
	captured, err = run.count()
	return times, captured, err
}

// roundTrips measures, by system calls of which Go's scheduler does not know: it would do something about each.
func roundTrips(fd, payload, rounds int) ([]time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	packet := make([]byte, payload)
	times := make([]time.Duration, warmUp+rounds)
	for i := range times {
		begin := time.Now()
		if err := errors.Join(rawIO(unix.SYS_WRITE, fd, packet), rawIO(unix.SYS_READ, fd, packet)); err != nil {
			return nil, err
		}
		times[i] = time.Since(begin)
	}
	return times[warmUp:], nil
}

// startEcho starts this program in the other namespace; what it returns ends it.
func startEcho() (stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("ip", "netns", "exec", pongNetns, self, echoArg)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1")
	ready, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		stop()
		return nil, fmt.Errorf("echo: %w", err)
	}
	return stop, nil
}

// runEcho is the life of the one that sends back. It says when it is there.
func runEcho() error {
	runtime.LockOSThread()
	fd, err := udpSocket(pongAddr, pongPort, "", 0)
	if err != nil {
		return err
	}
	if _, err := os.Stdout.Write([]byte{'\n'}); err != nil {
		return err
	}
	first := make([]byte, 1<<16)
	n, from, err := unix.Recvfrom(fd, first, 0)
	if err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	// from here on without addresses
	if err := errors.Join(unix.Connect(fd, from), rawIO(unix.SYS_WRITE, fd, first[:n])); err != nil {
		return fmt.Errorf("echo: %w", err)
	}
	for err == nil {
		err = errors.Join(rawIO(unix.SYS_READ, fd, first[:n]), rawIO(unix.SYS_WRITE, fd, first[:n]))
	}
	return fmt.Errorf("echo: %w", err)
}

// rawIO reads or writes a packet of just that size. Go's scheduler sends signals to a thread that has been at work for long.
func rawIO(call uintptr, fd int, b []byte) error {
	n, errno := uintptr(0), unix.EINTR
	for errno == unix.EINTR {
		n, _, errno = unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	}
	if errno != 0 {
		return errno
	}
	if int(n) != len(b) {
		return fmt.Errorf("a packet of %d bytes, not %d", n, len(b))
	}
	return nil
}

// udpSocket is bound to an address, and connected to another if that is not empty.
func udpSocket(local string, localPort int, remote string, remotePort int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	// nobody waits for ever for a packet that was lost
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		return -1, fmt.Errorf("limit a socket's patience: %w", err)
	}
	if err := unix.Bind(fd, inet(local, localPort)); err != nil {
		return -1, fmt.Errorf("bind to %s: %w", local, err)
	}
	if remote == "" {
		return fd, nil
	}
	if err := unix.Connect(fd, inet(remote, remotePort)); err != nil {
		return -1, fmt.Errorf("connect to %s: %w", remote, err)
	}
	return fd, nil
}

func inet(addr string, port int) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: netip.MustParseAddr(addr).As4(), Port: port}
}
