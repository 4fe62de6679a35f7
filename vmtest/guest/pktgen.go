// SPDX-License-Identifier: GPL-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Pktgen is a load that the kernel itself makes.
type Pktgen struct {
	Dev    string // in the test's own namespace
	Count  int
	Size   int    // of a packet without its checksum; 0 is 60
	Dst    string // IPv4 address
	DstMAC string
	Mode   string // xmit_mode; netif_receive feeds the device's own receive path and needs its MAC address
	Extra  []string
}

// Run sends the packets and waits until they are sent.
func (p Pktgen) Run(t testing.TB) {
	t.Helper()
	Run(t, "modprobe", "pktgen")
	const dir = "/proc/net/pktgen/"
	write := func(file string, commands ...string) {
		t.Helper()
		for _, c := range commands {
			if err := os.WriteFile(dir+file, []byte(c+"\n"), 0); err != nil {
				t.Fatalf("pktgen %s: %s: %v", file, c, err)
			}
		}
	}
	write("kpktgend_0", "rem_device_all", "add_device "+p.Dev)
	defer write("kpktgend_0", "rem_device_all")
	commands := []string{fmt.Sprintf("count %d", p.Count), fmt.Sprintf("pkt_size %d", max(p.Size, 60)), "delay 0"}
	for name, value := range map[string]string{"dst": p.Dst, "dst_mac": p.DstMAC, "xmit_mode": p.Mode} {
		if value != "" {
			commands = append(commands, name+" "+value)
		}
	}
	write(p.Dev, append(commands, p.Extra...)...)
	if err := StartPktgen(dir + "pgctrl"); err != nil {
		t.Fatal(err)
	}
	result, err := os.ReadFile(dir + p.Dev)
	if err != nil || !strings.Contains(string(result), "Result: OK") {
		t.Fatalf("pktgen %s: %v\n%s", p.Dev, err, result)
	}
}

// StartPktgen has pktgen start, and returns when it has ended. It is told so in its file pgctrl by a thread that gets no
// signals: any, such as that of a child's end, is a ^C for pktgen, which then stops and says nothing.
func StartPktgen(pgctrl string) error {
	runtime.LockOSThread() // and unlocked only as it was: a thread without signals dies with its goroutine
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &old); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("block signals: %w", err)
	}
	err := os.WriteFile(pgctrl, []byte("start\n"), 0)
	if err != nil {
		err = fmt.Errorf("pktgen: start: %w", err)
	}
	if merr := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); merr != nil {
		return errors.Join(err, fmt.Errorf("unblock signals: %w", merr))
	}
	runtime.UnlockOSThread()
	return err
}
