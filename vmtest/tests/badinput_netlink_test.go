// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"os"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// badMessage is a message that the kernel has to refuse.
type badMessage struct {
	name    string
	command uint8 // set, if 0
	head    []byte
	flags   netlink.HeaderFlags // request and acknowledge, if 0
	attrs   [][]byte
	errno   unix.Errno
	text    string
	at      uint16 // the attribute that the refusal points at
	dump    bool   // refused at the end of a dump, where kernels before 6.10 point at nothing
}

// What the kernel's own parser says.
const (
	textUnknown  = "Unknown attribute type"
	textLength   = "invalid attribute length"
	textNested   = "NLA_F_NESTED not expected"
	textPolicy   = "Attribute failed policy validation"
	textLeftover = "bytes leftover after parsing attributes"
	textFlags    = "ambiguous or reserved bits set in nlmsg_flags"
	textReserved = "genlmsghdr.reserved field is not 0"
	textName     = "name: the only capture is default"

	flagNested = 1 << 15
	dumpFlags  = netlink.Request | netlink.Dump
)

// requestNames are the requests of the family.
var requestNames = map[uint8]string{
	genl.CmdGet: "get", genl.CmdSet: "set", genl.CmdStart: "start", genl.CmdStop: "stop", genl.CmdRestart: "restart",
	genl.CmdFlush: "flush", genl.CmdStats: "stats",
}

// TestBadNetlink sends what is malformed, unknown or missing, and settings that are wrong in ways which the spec cannot
// tell, to a capture that is stopped and to one that runs. What the spec can tell, TestTortureNetlinkTable goes through.
func TestBadNetlink(t *testing.T) {
	rows := badMessages(t)
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
			t.Run(state.String()+"/"+row.name, func(t *testing.T) {
				got := row.send(t, p.raw)
				if row.dump && got.At == 0 {
					got.At = row.at
				}
				require.Equal(t, answer{Errno: row.errno, Text: row.text, At: row.at}, got)
				p.at(t).unchanged(before)
			})
		}
		silent()
	}
	t.Logf("%d rows in two states", len(rows))
}

func (m *badMessage) send(t *testing.T, raw *rawConn) answer {
	t.Helper()
	command, head, flags := m.command, m.head, m.flags
	if command == 0 {
		command = genl.CmdSet
	}
	if head == nil {
		head = header(command)
	}
	if flags == 0 {
		flags = netlink.Request | netlink.Acknowledge
	}
	_, got, err := raw.ask(flags, head, m.attrs...)
	require.NoError(t, err)
	return got
}

func badMessages(t *testing.T) []badMessage {
	var rows []badMessage
	for _, more := range [][]badMessage{
		unknownCommands(), malformedMessages(), otherCaptures(), badSettings(t),
	} {
		rows = append(rows, more...)
	}
	return rows
}

func unknownCommands() []badMessage {
	var rows []badMessage
	for _, c := range []uint8{
		uint8(genl.EventStarted), uint8(genl.EventFailed), uint8(genl.EventSettingsChanged),
		uint8(genl.EventSettingsChanged) + 1, 100, 255,
	} {
		rows = append(rows, badMessage{name: fmt.Sprintf("command %d", c), command: c, errno: unix.EOPNOTSUPP})
	}
	rows = append(rows, badMessage{name: "command 0", head: header(0), errno: unix.EOPNOTSUPP})
	for c, name := range requestNames {
		if c != genl.CmdStats {
			rows = append(rows, badMessage{name: "dump of " + name, command: c, flags: dumpFlags, errno: unix.EOPNOTSUPP})
		}
	}
	return rows
}

func malformedMessages() []badMessage {
	snaplen := attrU32(genl.AttrCaptureSnaplen, 64)
	cut := append([]byte{}, snaplen[:4]...)
	short := append(append([]byte{}, snaplen...), 3, 0, genl.AttrCaptureIO, 0)
	request := netlink.Request | netlink.Acknowledge
	return []badMessage{
		{name: "no generic header", head: []byte{}, errno: unix.EINVAL},
		{name: "reserved field", head: []byte{genl.CmdSet, 1, 0, 1}, attrs: [][]byte{snaplen}, errno: unix.EINVAL, text: textReserved},
		{name: "flag NLM_F_CREATE", flags: request | netlink.Create, attrs: [][]byte{snaplen}, errno: unix.EINVAL, text: textFlags},
		{name: "flag NLM_F_EXCL", flags: request | netlink.Excl, command: genl.CmdStart, errno: unix.EINVAL, text: textFlags},
		{name: "half of NLM_F_DUMP", flags: request | netlink.Root, command: genl.CmdStats, errno: unix.EINVAL, text: textFlags},
		{name: "attribute cut off", attrs: [][]byte{cut}, errno: unix.EINVAL, text: textLeftover},
		{name: "attribute shorter than its header", attrs: [][]byte{short}, errno: unix.EINVAL, text: textLeftover},
		{name: "attribute cut off behind a good one", attrs: [][]byte{snaplen, cut}, errno: unix.EINVAL, text: textLeftover},
		{name: "zeros behind the attributes", attrs: [][]byte{snaplen, make([]byte, 4)}, errno: unix.EINVAL, text: textLeftover},
		// Without the request flag the kernel acknowledges without looking any further.
		{name: "no request flag", flags: netlink.Acknowledge, attrs: [][]byte{snaplen}},
	}
}

// queueSizeMax is the largest queue_size on this machine: a quarter of its memory.
func queueSizeMax(t testing.TB) uint64 {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	require.NoError(t, err)
	var kB uint64
	_, err = fmt.Sscanf(string(b), "MemTotal: %d kB", &kB)
	require.NoError(t, err)
	return min(kB*1024/4, genl.QueueSizeMax)
}

func otherCaptures() []badMessage {
	other := func(command uint8, name string) badMessage {
		return badMessage{
			name: requestNames[command] + " of capture " + name, command: command,
			attrs: [][]byte{attrString(1, name)}, errno: unix.EOPNOTSUPP, text: textName, at: 1,
		}
	}
	var rows []badMessage
	for c := range requestNames {
		row := other(c, "other")
		if c == genl.CmdSet {
			row.attrs = append(row.attrs, attrU32(genl.AttrCaptureSnaplen, 64))
		}
		rows = append(rows, row)
	}
	dump := other(genl.CmdStats, "other")
	dump.name, dump.flags, dump.dump = "dump of stats of capture other", dumpFlags, true
	return append(rows, dump, other(genl.CmdGet, "Default"), other(genl.CmdGet, "defaul"), other(genl.CmdStart, "default "))
}

// badSettings are well formed, and wrong for other reasons. Good ones beside them do not get through either.
func badSettings(t testing.TB) []badMessage {
	device := func(name string) badMessage {
		return badMessage{
			name: "device_name " + name, attrs: [][]byte{attrString(genl.AttrCaptureDeviceName, name)}, errno: unix.EINVAL,
			text: "device_name: no device can have that name", at: genl.AttrCaptureDeviceName,
		}
	}
	logfile := func(path string) badMessage {
		return badMessage{
			name: "logfile " + path, attrs: [][]byte{attrString(genl.AttrCaptureLogfile, path)}, errno: unix.EINVAL,
			text: "logfile: must be an absolute path", at: genl.AttrCaptureLogfile,
		}
	}
	behind, before := tooSmall(t), tooSmall(t)
	behind.name, behind.attrs = "a bad queue_size behind a good snaplen", [][]byte{attrU32(genl.AttrCaptureSnaplen, 64), behind.attrs[0]}
	before.name, before.attrs = "a bad queue_size before a good snaplen", [][]byte{before.attrs[0], attrU32(genl.AttrCaptureSnaplen, 64)}
	return []badMessage{
		{name: "set of nothing", errno: unix.EINVAL, text: "set: no setting given"},
		{
			name: "set of nothing but the name", attrs: [][]byte{attrString(genl.AttrCaptureName, "default")},
			errno: unix.EINVAL, text: "set: no setting given",
		},
		device("."), device(".."), device("a/b"), device("a b"), device("a:b"), device("a\n"),
		logfile("capture.pcap"), logfile("./capture.pcap"), logfile("../capture.pcap"), logfile("~/capture.pcap"), logfile(" /tmp/x"),
		behind, before,
	}
}

func tooSmall(t testing.TB) badMessage {
	return badMessage{
		attrs: [][]byte{attrU64(genl.AttrCaptureQueueSize, 1)}, errno: unix.ERANGE,
		text: fmt.Sprintf("queue_size: must be 65536..%d", queueSizeMax(t)), at: genl.AttrCaptureQueueSize,
	}
}
