// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// badWrite is a write to control that has to be refused.
type badWrite struct {
	write string
	errno unix.Errno
	text  string // last_error in status
}

const (
	oneCommand  = "control: must be one command"
	whichOne    = "control: must be start, stop, restart, flush or NAME VALUE"
	noSetting   = "control: no such setting"
	tooLong     = "control: too long for a command"
	snaplenMust = "snaplen: must be 0..262144"
	ioMust      = "io: must be buffered, direct, auto or discard"
	syncMust    = "sync_interval: must be 0..3600"
	nameMust    = "device_name: must be 1..15 bytes"
	pathMust    = "logfile: must be 1..4095 bytes"
)

func badWrites(t testing.TB) []badWrite {
	size := fmt.Sprintf("queue_size: must be 65536..%d", queueSizeMax(t))
	return []badWrite{
		// no command, or more than one
		{"", unix.EINVAL, whichOne},
		{"\n", unix.EINVAL, whichOne},
		{"\n\n", unix.EINVAL, oneCommand},
		{"stop\nstart\n", unix.EINVAL, oneCommand},
		{"stop\n\n", unix.EINVAL, oneCommand},
		{"\nstop", unix.EINVAL, oneCommand},
		{"stop\x00", unix.EINVAL, oneCommand},
		{"stop\x00\n", unix.EINVAL, oneCommand},
		{"snaplen 9\x006\n", unix.EINVAL, oneCommand},
		{strings.Repeat("x", 8193), unix.EINVAL, tooLong},
		{"snaplen 64\n" + strings.Repeat("\n", 100_000), unix.EINVAL, tooLong},
		// unknown words
		{"frob\n", unix.EINVAL, whichOne},
		{"START\n", unix.EINVAL, whichOne},
		{"sto", unix.EINVAL, whichOne},
		{"stop\r\n", unix.EINVAL, whichOne},
		{"get\n", unix.EINVAL, whichOne},
		{"snaplen\n", unix.EINVAL, whichOne},
		{"stop now\n", unix.EINVAL, noSetting},
		{"stop \n", unix.EINVAL, noSetting},
		{" stop\n", unix.EINVAL, noSetting},
		{"frob 1\n", unix.EINVAL, noSetting},
		{"Snaplen 64\n", unix.EINVAL, noSetting},
		{"snaplen=64 \n", unix.EINVAL, noSetting},
		{"set snaplen 64\n", unix.EINVAL, noSetting},
		{"name other\n", unix.EINVAL, noSetting},
		{"state running\n", unix.EINVAL, noSetting},
		{"cpu 1\n", unix.EINVAL, noSetting},
		// numbers
		{"snaplen \n", unix.EINVAL, snaplenMust},
		{"snaplen many\n", unix.EINVAL, snaplenMust},
		{"snaplen 1K\n", unix.EINVAL, snaplenMust},
		{"snaplen 0x40\n", unix.EINVAL, snaplenMust},
		{"snaplen -1\n", unix.EINVAL, snaplenMust},
		{"snaplen  64\n", unix.EINVAL, snaplenMust},
		{"snaplen 64 \n", unix.EINVAL, snaplenMust},
		{"snaplen 64 io discard\n", unix.EINVAL, snaplenMust},
		{"snaplen 262145\n", unix.ERANGE, snaplenMust},
		{"snaplen 99999999999999999999\n", unix.ERANGE, snaplenMust},
		{"queue_size 65535\n", unix.ERANGE, size},
		{"queue_size 4294967297\n", unix.ERANGE, size},
		{fmt.Sprintf("queue_size %d\n", queueSizeMax(t)+1), unix.ERANGE, size},
		{"queue_size 16M\n", unix.EINVAL, size},
		{"sync_interval 3601\n", unix.ERANGE, syncMust},
		{"sync_interval 4294967296\n", unix.ERANGE, syncMust},
		{"sync_interval 18446744073709551616\n", unix.ERANGE, syncMust},
		{"sync_interval 1.5\n", unix.EINVAL, syncMust},
		{"sync_interval\n", unix.EINVAL, whichOne},
		// words
		{"family ipv4\n", unix.EINVAL, "family: must be inet, ip or ip6"},
		{"family 1\n", unix.EINVAL, "family: must be inet, ip or ip6"},
		{"format PCAP\n", unix.EINVAL, "format: must be pcapng or pcap"},
		{"io fast\n", unix.EINVAL, ioMust},
		{"io \n", unix.EINVAL, ioMust},
		// names and paths
		{"device_name \n", unix.ERANGE, nameMust},
		{"device_name abcdefghijklmnop\n", unix.ERANGE, nameMust},
		{"device_name a/b\n", unix.EINVAL, "device_name: no device can have that name"},
		{"device_name a b\n", unix.EINVAL, "device_name: no device can have that name"},
		{"logfile \n", unix.ERANGE, pathMust},
		{"logfile capture.pcap\n", unix.EINVAL, "logfile: must be an absolute path"},
		{"logfile  /tmp/never\n", unix.EINVAL, "logfile: must be an absolute path"},
		{"logfile /" + strings.Repeat("x", genl.LogfileMax) + "\n", unix.ERANGE, pathMust},
		{"logfile /" + strings.Repeat("x", 8000) + "\n", unix.ERANGE, pathMust},
	}
}

// TestBadControl writes to /proc/net/ksnif/control what is no command, with a capture that runs and one that is
// stopped.
func TestBadControl(t *testing.T) {
	rows := badWrites(t)
	p := newPlace(t)
	p.captured(5)
	for _, state := range []genl.State{genl.StateRunning, genl.StateStopped} {
		if state == genl.StateStopped {
			p.Stop()
		}
		silent := p.silent()
		before := p.snapshot()
		require.Equal(t, state, before.Capture.State)
		for _, row := range rows {
			t.Run(fmt.Sprintf("%s/%.40q", state, row.write), func(t *testing.T) {
				q := p.at(t)
				require.Equal(t, row.errno, q.control([]byte(row.write)))
				assert.Equal(t, row.text, q.status()["last_error"])
				q.unchanged(before)
			})
		}
		silent()
	}
	t.Logf("%d rows in two states", len(rows))
}

// A command in two writes is two commands, each of them wrong.
func TestControlTakesWholeCommands(t *testing.T) {
	p := newPlace(t)
	before := p.snapshot()
	p.do(func() error {
		fd, err := unix.Open(procFile("control"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for _, part := range []string{"snap", "len 64\n", "sto", "p\n"} {
			_, err := unix.Write(fd, []byte(part))
			assert.Equal(t, unix.EINVAL, err, part)
		}
		return nil
	})
	p.unchanged(before)
}

// What the status file and control are not for.
func TestProcFilesRefuse(t *testing.T) {
	p := newPlace(t)
	before := p.snapshot()
	p.do(func() error {
		_, err := unix.Open(procFile("nothing"), unix.O_RDONLY, 0)
		assert.Equal(t, unix.ENOENT, err, "a file that is not there")
		_, err = unix.Open(procFile("new"), unix.O_WRONLY|unix.O_CREAT, 0o600)
		assert.Equal(t, unix.ENOENT, err, "a new file")
		fd, err := unix.Open(procFile("control"), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, err = unix.Read(fd, make([]byte, 10))
		assert.Equal(t, unix.EIO, err, "read of control")
		status, err := unix.Open(procFile("status"), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(status)
		_, err = unix.Write(status, []byte("snaplen 64\n"))
		assert.Equal(t, unix.EIO, err, "write to status")
		_, err = unix.Write(fd, nil)
		assert.Equal(t, unix.EINVAL, err, "a write of nothing")
		return nil
	})
	p.unchanged(before)
}
