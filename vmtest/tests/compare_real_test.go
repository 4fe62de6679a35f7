// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// Real traffic in both directions: ping, TCP streams that the kernel sends as packets far longer than the MTU, and
// datagrams that it fragments.
func TestCompareReal(t *testing.T) {
	pinProcess(t, 0)
	w := newWire(t, 1500)
	w.answer(t)
	craft := w.crafter(t, 1500)
	for _, snaplen := range snaplens {
		t.Run(fmt.Sprint(snaplen), func(t *testing.T) {
			r := &rig{t: t, ns: w.rx, snaplen: snaplen, devs: []*watched{w.ethernet()}}
			received, n := r.compare(func() {
				for _, host := range []string{"198.18.0.1", "2001:db8::1"} {
					w.tx.Run(t, "ping", "-n", "-q", "-c", "3", "-i", "0.01", host)
					w.tx.Run(t, "ping", "-n", "-q", "-c", "2", "-i", "0.01", "-s", "7000", host)
					stream(t, w, host, craft.bytes(300_000))
					datagrams(t, w, host, craft.bytes(4000), 5)
				}
				w.sender.sendAll([]frame{craft.last()})
			})
			long, fragments := 0, 0
			for _, p := range received {
				if p.Length > 1514 {
					long++
				}
				if p.Data[12] == 8 && p.Data[20]&0x3f+p.Data[21] != 0 || p.Data[12] == 0x86 && p.Data[20] == nextFragment {
					fragments++
				}
			}
			require.NotZero(t, long, "packets longer than the MTU")
			require.NotZero(t, fragments, "fragments")
			t.Logf("%d packets compared, %d longer than the MTU, %d fragments", n, long, fragments)
		})
	}
}

// answer gives the sending end addresses. Both ends know each other, and keep quiet about all else: the captures begin
// and end while the devices are up.
func (w *wire) answer(t testing.TB) {
	t.Helper()
	w.tx.Run(t, "nft", "add table inet q; add chain inet q out { type filter hook output priority 0; }; add rule inet q out "+
		"icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report, nd-router-solicit, nd-neighbor-solicit } drop")
	w.tx.Run(t, "sh", "-euc", "echo 0 > /proc/sys/net/ipv6/conf/"+w.txDev+"/disable_ipv6")
	w.tx.Run(t, "ip", "addr", "add", "198.18.0.2/24", "dev", w.txDev)
	w.tx.Run(t, "ip", "-6", "addr", "add", "2001:db8::2/64", "dev", w.txDev, "nodad")
	for _, peer := range []string{"198.18.0.1", "2001:db8::1"} {
		w.tx.Run(t, "ip", "neigh", "replace", peer, "lladdr", w.mac.String(), "dev", w.txDev, "nud", "permanent")
	}
	mac := macOf(t, w.tx, w.txDev).String()
	for _, peer := range []string{"198.18.0.2", "2001:db8::2"} {
		w.rx.Run(t, "ip", "neigh", "replace", peer, "lladdr", mac, "dev", w.dev, "nud", "permanent")
	}
}

// stream sends the data over TCP in each direction.
func stream(t testing.TB, w *wire, host string, data []byte) {
	t.Helper()
	n := len(data)
	var l net.Listener
	require.NoError(t, w.rx.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
		return err
	}))
	defer l.Close()
	server := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			server <- err
			return
		}
		got, err := io.Copy(io.Discard, c)
		if got != int64(n) {
			err = errors.Join(err, fmt.Errorf("%d bytes instead of %d", got, n))
		}
		_, err2 := c.Write(data)
		server <- errors.Join(err, err2, c.Close())
	}()
	require.NoError(t, w.tx.Do(func() error {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(guest.Limit(commandLimit))); err != nil {
			return err
		}
		if _, err := c.Write(data); err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		got, err := io.Copy(io.Discard, c)
		if got != int64(n) {
			err = errors.Join(err, fmt.Errorf("%d bytes instead of %d", got, n))
		}
		return err
	}))
	require.NoError(t, <-server)
}

// datagrams sends the data several times over UDP to a socket that takes all of them.
func datagrams(t testing.TB, w *wire, host string, data []byte, count int) {
	t.Helper()
	var server net.PacketConn
	require.NoError(t, w.rx.Do(func() (err error) {
		server, err = net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		return err
	}))
	defer server.Close()
	require.NoError(t, w.tx.Do(func() error {
		c, err := net.Dial("udp", server.LocalAddr().String())
		if err != nil {
			return err
		}
		defer c.Close()
		for range count {
			if _, err := c.Write(data); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, server.SetDeadline(time.Now().Add(guest.Limit(commandLimit))))
	for range count {
		n, _, err := server.ReadFrom(make([]byte, 65536))
		require.NoError(t, err)
		require.Equal(t, len(data), n)
	}
}

// pinProcess keeps this process, and what it starts from now on, on one CPU: see sendAll.
func pinProcess(t testing.TB, cpu int) {
	t.Helper()
	var set unix.CPUSet
	set.Set(cpu)
	pinned := map[string]bool{}
	// A thread that is not pinned yet may make another meanwhile: until there are only known ones.
	for found := true; found; {
		found = false
		tasks, err := filepath.Glob("/proc/self/task/*")
		require.NoError(t, err)
		for _, task := range tasks {
			if pinned[task] {
				continue
			}
			pinned[task], found = true, true
			var tid int
			_, err := fmt.Sscan(filepath.Base(task), &tid)
			require.NoError(t, err)
			if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				t.Fatalf("pin thread %d: %v", tid, err)
			}
		}
	}
}

// A capture of all devices has every packet once, under the name and with the link type of the device it came in on.
func TestCompareAnyDevice(t *testing.T) {
	w := newWire(t, 1600)
	w.join(t, "veth1", "peer1", 1600)
	guest.Run(t, "modprobe", "ipip")
	w.addTunnel(t, "over0", "ipip")
	tun := newTun(t, w.rx, "tun0")
	second, lo := newSender(t, w.tx, "peer1"), newSender(t, w.rx, "lo")
	loMAC, mac1 := make(net.HardwareAddr, 6), macOf(t, w.rx, "veth1")
	ether := layers.LinkTypeEthernet
	r := &rig{t: t, ns: w.rx, snaplen: whole, devs: []*watched{
		w.ethernet(),
		{dev: "veth1", link: ether, oracle: oracle{mac: mac1}, last: etherHeader + lastSize},
		{dev: "lo", link: ether, oracle: oracle{mac: loMAC, loopback: true}, last: etherHeader + lastSize},
		{dev: "tun0", link: layers.LinkTypeRaw, oracle: oracle{raw: true}, last: lastSize},
		{dev: "over0", link: layers.LinkTypeRaw, oracle: oracle{raw: true}, last: lastSize},
	}}
	craft := w.crafter(t, 1500)
	at := func(mac net.HardwareAddr) []frame { craft.dst = mac; return craft.corpus(1) }
	lists := []turn{{second, at(mac1)}, {lo, at(loMAC)}}
	first := at(w.mac)
	craft.raw = true
	lists = append(lists, turn{tun, forTun(craft.corpus(1))})
	craft.family = family4
	last := len(first) - 1
	inTunnel := craft.encapsulate(craft.corpus(1), layers.IPProtocolIPv4)
	lists = append(lists, turn{w.sender, append(append(first[:last:last], inTunnel...), first[last])})

	r.start("any")
	require.NoError(t, onCPU(0, func() error { return inTurns(lists) }))
	file, references := r.finish()
	total := 0
	for i, dev := range r.devs {
		n := r.check(dev, references[i], file.ByName(dev.dev))
		t.Logf("%s: %d packets compared", dev.dev, n)
		total += n
	}
	r.checkCounted(total)
	require.Len(t, file.Packets, total, "packets of all devices")
	require.Len(t, file.Interfaces, len(r.devs))
	for _, dev := range r.devs {
		require.Equal(t, dev.link, linkOf(t, file, dev.dev), dev.dev)
	}
}

// turn is what a sender has to send.
type turn struct {
	*sender
	frames []frame
}

// inTurns sends one frame of each list after the other, so that packets of all devices mix.
func inTurns(lists []turn) error {
	for i, left := 0, true; left; i++ {
		left = false
		for _, l := range lists {
			if i >= len(l.frames) {
				continue
			}
			left = true
			if err := l.send(l.frames[i].data); err != nil {
				return fmt.Errorf("%s: %w", l.frames[i].name, err)
			}
		}
	}
	return nil
}

func linkOf(t testing.TB, f *pcapread.File, name string) layers.LinkType {
	t.Helper()
	for _, i := range f.Interfaces {
		if i.Name == name {
			return i.LinkType
		}
	}
	t.Fatalf("no interface %s", name)
	return 0
}
