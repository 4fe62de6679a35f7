// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"time"

	"ksnif/vmtest/guest"
)

// The device that all packets come in on.
const (
	loadDevice   = "bench0"
	pktgenDir    = "/proc/net/pktgen/"
	pktgenThread = "kpktgend_0"
	imix         = "imix_weights 60,7 576,4 1496,1" // the simple internet mix
)

// load is pktgen feeding the receive path of a device, in bursts or steadily.
type load struct {
	size  int // of a packet; 0 is IMIX
	burst int // packets
	rate  int // packets a second; 0 is as many as the machine can
}

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
)

// forget has pktgen forget its device: a mix of sizes cannot be taken back. Its thread does that later.
func forget() error {
	if err := pktgen(pktgenThread, "rem_device_all"); err != nil {
		return err
	}
	for range 1000 {
		text, err := os.ReadFile(pktgenDir + pktgenThread)
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
	if err := forget(); err != nil {
		return err
	}
	if err := pktgen(pktgenThread, "add_device "+loadDevice); err != nil {
		return err
	}
	size := fmt.Sprintf("pkt_size %d", l.size)
	if l.size == 0 {
		size = imix
	}
	pace := "delay 0"
	if l.rate > 0 {
		pace = fmt.Sprintf("ratep %d", l.rate)
	}
	return pktgen(loadDevice, size, fmt.Sprintf("count %d", l.burst), pace, "xmit_mode netif_receive",
		"src_min 198.51.100.1", "src_max 198.51.100.1", "dst 203.0.113.1", "dst_mac "+dev.HardwareAddr.String())
}

// send sends a burst.
func (l load) send() error { return guest.StartPktgen(pktgenDir + "pgctrl") }

// sent is how many packets the last burst had.
func (l load) sent() (int, error) {
	text, err := os.ReadFile(pktgenDir + loadDevice)
	if err != nil {
		return 0, err
	}
	m := pktgenSent.FindSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("pktgen does not say what it sent: %s", text)
	}
	return strconv.Atoi(string(m[1]))
}
