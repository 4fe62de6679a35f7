// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"ksnif/vmtest/guest"
)

// The device that all packets come in on.
const (
	loadDevice = "bench0"
	pktgenDir  = "/proc/net/pktgen/"
	pktgenCtrl = pktgenDir + "pgctrl"
	imix       = "imix_weights 60,7 576,4 1496,1" // the simple internet mix
)

// load is pktgen feeding the receive path of a device, in bursts or steadily.
type load struct {
	size    int // of a packet; 0 is IMIX
	burst   int // packets, on each processor
	rate    int // packets a second; 0 is as many as the machine can
	streams int // processors that receive, the first ones; each its own packets
}

// thread is pktgen's file for a processor, and stream what it calls the device there.
func thread(cpu int) string { return fmt.Sprintf("kpktgend_%d", cpu) }
func stream(cpu int) string { return fmt.Sprintf("%s@%d", loadDevice, cpu) }

// makeDevice makes the device and brings pktgen. Nobody else sends on it.
func makeDevice() error {
	for _, cmd := range [][]string{
		{"modprobe", "pktgen"},
		{"ip", "link", "add", loadDevice, "type", "dummy"},
		{"sysctl", "-q", "-w", "net.ipv6.conf." + loadDevice + ".disable_ipv6=1"},
		{"ip", "link", "set", loadDevice, "up"},
	} {
		if _, err := guest.Try(cmd[0], cmd[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// pktgen tells pktgen something.
func pktgen(file string, commands ...string) error {
	for _, c := range commands {
		if err := os.WriteFile(pktgenDir+file, []byte(c+"\n"), 0); err != nil {
			return fmt.Errorf("pktgen: %s: %w", c, err)
		}
	}
	return nil
}

var (
	pktgenEmpty = regexp.MustCompile(`(?m)^Running: *\s*^Stopped: *$`)
	pktgenSent  = regexp.MustCompile(`pkts-sofar: (\d+) `)
	pktgenTime  = regexp.MustCompile(`Result: OK: (\d+)\(`) // microseconds
)

// forget has pktgen's thread on a processor forget its device: a mix of sizes cannot be taken back. It does that later.
func forget(cpu int) error {
	if err := pktgen(thread(cpu), "rem_device_all"); err != nil {
		return err
	}
	for range 1000 {
		text, err := os.ReadFile(pktgenDir + thread(cpu))
		if err != nil || pktgenEmpty.Match(text) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return errors.New("pktgen does not forget its device")
}

// prepare tells pktgen what to send. Who has the address is not known: a packet ends right behind the hook.
func (l load) prepare() error {
	dev, err := net.InterfaceByName(loadDevice)
	if err != nil {
		return err
	}
	for cpu := range runtime.NumCPU() {
		if err := forget(cpu); err != nil {
			return err
		}
	}
	size := fmt.Sprintf("pkt_size %d", l.size)
	if l.size == 0 {
		size = imix
	}
	pace := "delay 0"
	if l.rate > 0 {
		pace = fmt.Sprintf("ratep %d", l.rate)
	}
	for cpu := range l.streams {
		if err := pktgen(thread(cpu), "add_device "+stream(cpu)); err != nil {
			return err
		}
		from := fmt.Sprintf("198.51.100.%d", cpu+1)
		err := pktgen(stream(cpu), size, fmt.Sprintf("count %d", l.burst), pace, "xmit_mode netif_receive",
			"src_min "+from, "src_max "+from, "dst 203.0.113.1", "dst_mac "+dev.HardwareAddr.String())
		if err != nil {
			return err
		}
	}
	return nil
}

// send sends a burst.
func (l load) send() error { return guest.StartPktgen(pktgenCtrl) }

// sendFor sends a burst, but for no longer than that.
func (l load) sendFor(limit time.Duration) error {
	stopped := make(chan error, 1)
	timer := time.AfterFunc(limit, func() { stopped <- os.WriteFile(pktgenCtrl, []byte("stop\n"), 0) })
	err := l.send()
	if timer.Stop() {
		return err
	}
	return errors.Join(err, <-stopped)
}

// sent is how many packets the last burst had.
func (l load) sent() (sum int, err error) {
	for cpu := range l.streams {
		n, err := said(cpu, pktgenSent)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// took is how long the last burst took the slowest stream. pktgen itself says so: until start returns, it sleeps twice for
// a tenth of a second or more.
func (l load) took() (time.Duration, error) {
	most := 0
	for cpu := range l.streams {
		n, err := said(cpu, pktgenTime)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return time.Duration(most) * time.Microsecond, nil
}

// said is a number that pktgen tells of a stream.
func said(cpu int, what *regexp.Regexp) (int, error) {
	text, err := os.ReadFile(pktgenDir + stream(cpu))
	if err != nil {
		return 0, err
	}
	m := what.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("pktgen does not say %s: %s", what, text)
	}
	return strconv.Atoi(string(m[1]))
}
