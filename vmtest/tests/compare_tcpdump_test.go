// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/guest"
	"ksnif/vmtest/pcapread"
)

// tcpdump is a running tcpdump: it captures what a device receives.
type tcpdump struct {
	t       testing.TB
	dev     string
	file    string
	snaplen int
	cmd     *exec.Cmd
	stderr  *bufio.Reader
	said    strings.Builder
	stopped bool
}

// startTcpdump starts tcpdump; it captures from listen on.
func startTcpdump(t testing.TB, ns *guest.Namespace, dev string, snaplen int) *tcpdump {
	t.Helper()
	d := &tcpdump{t: t, dev: dev, snaplen: snaplen, file: filepath.Join(outDir(t), "tcpdump."+dev)}
	args := []string{
		"netns", "exec", ns.Name, "tcpdump", "-Z", "root", "-n", "-U", "-i", dev, "-Q", "in", "-B", "65536",
		"-s", fmt.Sprint(snaplen), "-w", d.file,
	}
	d.cmd = exec.Command("ip", args...)
	pipe, err := d.cmd.StderrPipe()
	require.NoError(t, err)
	d.stderr = bufio.NewReader(pipe)
	require.NoError(t, d.cmd.Start())
	t.Cleanup(func() {
		if !d.stopped {
			_ = d.cmd.Process.Kill()
			_ = d.cmd.Wait()
		}
	})
	return d
}

// listen returns once tcpdump listens.
func (d *tcpdump) listen() {
	d.t.Helper()
	for !strings.Contains(d.said.String(), "listening on") {
		line, err := d.stderr.ReadString('\n')
		d.said.WriteString(line)
		require.NoError(d.t, err, "tcpdump -i %s: %s", d.dev, d.said.String())
	}
}

// waitFor waits until tcpdump has written a packet of that length, which is the last one that was sent: what tcpdump
// has not read when it is told to stop is lost.
func (d *tcpdump) waitFor(length int) {
	d.t.Helper()
	size := int64(-1)
	guest.Poll(d.t, commandLimit, fmt.Sprintf("tcpdump -i %s sees the last packet", d.dev), func() bool {
		if info, err := os.Stat(d.file); err != nil || info.Size() == size {
			return false
		} else {
			size = info.Size()
		}
		f, _ := pcapread.ReadPrefix(d.file, 0) // it is being written: its end may be torn
		if f == nil {
			return false
		}
		for i := len(f.Packets) - 1; i >= 0; i-- {
			if f.Packets[i].Length == length {
				return true
			}
		}
		return false
	})
}

var tcpdumpDrops = regexp.MustCompile(`(?m)^(\d+) packets? dropped by (kernel|interface)`)

// interrupt asks tcpdump to stop.
func (d *tcpdump) interrupt() {
	d.t.Helper()
	require.NoError(d.t, d.cmd.Process.Signal(unix.SIGINT))
}

// result waits for the end of tcpdump, which must not have dropped anything, and reads its file.
func (d *tcpdump) result() *pcapread.File {
	d.t.Helper()
	rest, err := io.ReadAll(d.stderr)
	require.NoError(d.t, err)
	d.said.Write(rest)
	d.stopped = true
	require.NoError(d.t, d.cmd.Wait(), "tcpdump: %s", d.said.String())
	drops := tcpdumpDrops.FindAllStringSubmatch(d.said.String(), -1)
	require.NotEmpty(d.t, drops, "tcpdump's own counters: %s", d.said.String())
	for _, drop := range drops {
		require.Equal(d.t, "0", drop[1], "tcpdump dropped packets: %s", d.said.String())
	}
	f, err := pcapread.Read(d.file)
	require.NoError(d.t, err)
	return f
}

// tcpdumpRead has tcpdump read a file, and returns what it prints: a line a packet.
func tcpdumpRead(t testing.TB, file string) []string {
	t.Helper()
	// Not -v: with it tcpdump breaks packets over lines. --nano: the time stamps are part of what is read.
	cmd := exec.Command("tcpdump", "-Z", "root", "-n", "-tt", "--nano", "-e", "-r", file)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), stderr.String())
	for _, line := range strings.Split(strings.TrimSpace(stderr.String()), "\n") {
		require.True(t, strings.HasPrefix(line, "reading from file ") || strings.HasPrefix(line, "Warning: interface names"),
			"tcpdump -r complains: %s", stderr.String())
	}
	var lines []string
	for _, line := range strings.Split(stdout.String(), "\n") {
		if line != "" && line[0] != '\t' && line[0] != ' ' {
			lines = append(lines, line)
		}
	}
	return lines
}

// checkTcpdumpReads checks that tcpdump reads all packets of a capture file, with their times.
func checkTcpdumpReads(t testing.TB, path string, f *pcapread.File) {
	t.Helper()
	lines := tcpdumpRead(t, path)
	require.Len(t, lines, len(f.Packets), "packets that tcpdump -r reads")
	for i, p := range f.Packets {
		stamp, _, _ := strings.Cut(lines[i], " ")
		require.Equal(t, fmt.Sprintf("%d.%09d", p.Time.Unix(), p.Time.Nanosecond()), stamp, "packet %d: %s", i, lines[i])
	}
}
