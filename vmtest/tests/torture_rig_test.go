// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// crew are workers that go on side by side until they are told to stop, or one of them fails.
type crew struct {
	t      testing.TB
	seed   uint64
	ctx    context.Context
	stop   context.CancelFunc
	group  sync.WaitGroup
	mu     sync.Mutex // protects the next two
	errs   []error
	counts map[string]*atomic.Uint64
}

// newCrew makes a crew without workers. What they choose at random comes from the run's seed and from their names.
func newCrew(t testing.TB) *crew {
	t.Helper()
	c := &crew{t: t, seed: guest.Seed(t), counts: map[string]*atomic.Uint64{}}
	c.ctx, c.stop = context.WithCancel(t.Context())
	t.Cleanup(func() { c.stop(); c.group.Wait() })
	return c
}

// random is a source of random numbers that is the name's own.
func (c *crew) random(name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(c.seed, h.Sum64()))
}

// Go starts a worker, which calls step again and again. step has to return soon once the context is done, and is given
// numbers of its own. It may not use the testing.TB: an error is how it fails.
func (c *crew) Go(name string, step func(ctx context.Context, r *rand.Rand) error) {
	count := &atomic.Uint64{}
	c.mu.Lock()
	c.counts[name] = count
	c.mu.Unlock()
	c.group.Go(func() {
		for r := c.random(name); c.ctx.Err() == nil; count.Add(1) {
			// a step that the stop cut off has not failed
			if err := step(c.ctx, r); err != nil && c.ctx.Err() == nil {
				c.fail(fmt.Errorf("%s, step %d: %w", name, count.Load(), err))
			}
		}
	})
}

func (c *crew) fail(err error) {
	c.mu.Lock()
	c.errs = append(c.errs, err)
	c.mu.Unlock()
	c.stop()
}

// Work waits for so long, or until a worker fails.
func (c *crew) Work(d time.Duration) {
	select {
	case <-c.ctx.Done():
	case <-time.After(d):
	}
}

// Stop ends all workers. None may have failed, and each must have done something.
func (c *crew) Stop() {
	c.t.Helper()
	c.stop()
	c.group.Wait()
	require.NoError(c.t, errors.Join(c.errs...))
	for name, n := range c.counts {
		c.t.Logf("%s: %d times", name, n.Load())
		require.NotZero(c.t, n.Load(), "%s did nothing", name)
	}
}

// rest waits, but not beyond the context.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// expectedError is nil for an error that is one of those, and the error otherwise.
func expectedError(err error, may ...error) error {
	if slices.ContainsFunc(may, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// bySource sorts packets by where they say they come from: a flood of several CPUs is one stream for each.
func bySource(packets []pcapread.Packet) map[netip.Addr][]pcapread.Packet {
	const srcOffset = 14 + 12
	streams := map[netip.Addr][]pcapread.Packet{}
	for _, p := range packets {
		if len(p.Data) >= srcOffset+4 && binary.BigEndian.Uint16(p.Data[12:]) == unix.ETH_P_IP {
			src, _ := netip.AddrFromSlice(p.Data[srcOffset:][:4])
			streams[src] = append(streams[src], p)
		}
	}
	return streams
}

// feeder sends numbered packets through a packet socket to a device that may come and go, from one CPU.
type feeder struct {
	dev   string
	cpu   int
	fd    int
	index int
	next  uint32
	frame []byte
}

// newFeeder makes a feeder that sends on a device of a namespace, to the address of what is at its other end. The
// source address of the packets tells the CPU.
func newFeeder(t testing.TB, ns *guest.Namespace, dev, mac string, cpu int) *feeder {
	t.Helper()
	f := &feeder{dev: dev, cpu: cpu}
	require.NoError(t, ns.Do(func() (err error) {
		f.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	t.Cleanup(func() { require.NoError(t, unix.Close(f.fd)) })
	to, err := net.ParseMAC(mac)
	require.NoError(t, err)
	payload := binary.BigEndian.AppendUint32(nil, pktgenMagic)
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP,
		// nobody has that address: the packet ends behind the hook
		SrcIP: net.IPv4(198, 51, 100, byte(1+cpu)), DstIP: net.IPv4(203, 0, 113, 1),
	}
	udp := &layers.UDP{SrcPort: 9, DstPort: 9}
	require.NoError(t, udp.SetNetworkLayerForChecksum(ip))
	f.frame = serialize(&layers.Ethernet{DstMAC: to, SrcMAC: to, EthernetType: layers.EthernetTypeIPv4},
		ip, udp, gopacket.Payload(append(payload, make([]byte, 14)...)))
	return f
}

// feed has a worker send, with pauses: long ones on a debug kernel, on which a burst takes some tens of milliseconds.
func (f *feeder) feed(crew *crew) {
	pause := 2 * time.Millisecond
	if guest.Debug() {
		pause = 100 * time.Millisecond
	}
	crew.Go(fmt.Sprintf("feeder of %s on CPU %d", f.dev, f.cpu), func(ctx context.Context, _ *rand.Rand) error {
		rest(ctx, pause)
		return f.burst(10)
	})
}

// burst sends some packets. That the device is not there, or down, is no error.
func (f *feeder) burst(n int) error {
	return pinned(f.cpu, func() error {
		for range n {
			if err := f.send(); err != nil {
				f.index = 0
				return expectedError(err, unix.ENXIO, unix.ENODEV, unix.ENETDOWN, unix.ENOBUFS)
			}
		}
		return nil
	})
}

func (f *feeder) send() error {
	if f.index == 0 {
		ifr, err := unix.NewIfreq(f.dev)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(f.fd, unix.SIOCGIFINDEX, ifr); err != nil {
			return err
		}
		f.index = int(ifr.Uint32())
	}
	f.next++
	binary.BigEndian.PutUint32(f.frame[pktgenOffset+4:], f.next)
	return unix.Sendto(f.fd, f.frame, 0, &unix.SockaddrLinklayer{Ifindex: f.index})
}

// raceErrors is what remains of errors that a command may meet while others command, too.
func raceErrors(err error) error {
	return expectedError(err, unix.EALREADY, unix.EINPROGRESS, unix.EBUSY, unix.ENOTCONN)
}

// counters are the books of a capture as often as wanted, without a testing.TB.
func counters(ctx context.Context, c *genl.Client) (*genl.Stats, error) {
	s, err := c.Stats(ctx)
	if err != nil {
		return nil, err
	}
	if s.Written+s.Discarded+s.DroppedWrite > s.Captured ||
		s.Captured+s.DroppedQueueFull+s.DroppedNoMemory+s.Filtered > s.Received {
		return nil, fmt.Errorf("a counter is ahead of one that is counted before it: %+v", *s)
	}
	return s, nil
}
