// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"fmt"
	"os"
	"strings"
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
	textNone     = "Unsupported attribute" // one that no request carries, below one that does
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

// TestBadNetlink sends what is malformed, unknown, out of range, given twice or missing, to a capture that is
// stopped and to one that runs.
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
		unknownCommands(), malformedMessages(), unknownAttributes(), wrongTypes(), badStrings(), outOfRange(t),
		givenTwice(), otherCaptures(), badSettings(t),
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

func unknownAttributes() []badMessage {
	unknown := func(command uint8, number uint16) badMessage {
		return badMessage{
			name: fmt.Sprintf("attribute %d in %s", number, requestNames[command]), command: command,
			attrs: [][]byte{attrU32(number, 1)}, errno: unix.EINVAL, text: textUnknown, at: number,
		}
	}
	var rows []badMessage
	for _, number := range []uint16{0, genl.AttrCaptureSyncInterval + 1, 0x3fff} {
		rows = append(rows, unknown(genl.CmdSet, number))
	}
	for number := uint16(genl.AttrCaptureState); number <= genl.AttrCaptureTorn; number++ {
		row := unknown(genl.CmdSet, number)
		row.text = textNone
		rows = append(rows, row)
	}
	for _, c := range []uint8{genl.CmdGet, genl.CmdStart, genl.CmdStop, genl.CmdRestart, genl.CmdFlush} {
		rows = append(rows, unknown(c, genl.AttrCaptureSnaplen))
	}
	dump := unknown(genl.CmdStats, genl.AttrStatsCPU)
	dump.name, dump.flags = "attribute 2 in a dump of stats", dumpFlags
	behind := unknown(genl.CmdSet, genl.AttrCaptureState)
	behind.name, behind.text = "unknown attribute behind a good one", textNone
	behind.attrs = [][]byte{attrU32(genl.AttrCaptureSnaplen, 64), attrU32(genl.AttrCaptureState, 1)}
	return append(rows, unknown(genl.CmdStats, genl.AttrStatsCPU), dump, behind)
}

// attrNames are the attributes of a set.
var attrNames = map[uint16]string{
	genl.AttrCaptureName: "name", genl.AttrCaptureDeviceName: "device_name", genl.AttrCaptureFamily: "family",
	genl.AttrCaptureLogfile: "logfile", genl.AttrCaptureSnaplen: "snaplen", genl.AttrCaptureQueueSize: "queue_size",
	genl.AttrCaptureFormat: "format", genl.AttrCaptureIO: "io", genl.AttrCaptureSyncInterval: "sync_interval",
}

// good is an attribute that a set would take.
func good(number uint16) []byte {
	switch number {
	case genl.AttrCaptureName:
		return attrString(number, "default")
	case genl.AttrCaptureDeviceName:
		return attrString(number, "any")
	case genl.AttrCaptureLogfile:
		return attrString(number, "/tmp/never")
	case genl.AttrCaptureQueueSize:
		return attrU64(number, 1<<20)
	default:
		return attrU32(number, 0)
	}
}

func wrongTypes() []badMessage {
	var rows []badMessage
	width := func(number uint16, wrong ...int) {
		for _, n := range wrong {
			rows = append(rows, badMessage{
				name: fmt.Sprintf("%s of %d bytes", attrNames[number], n), attrs: [][]byte{attr(number, make([]byte, n))},
				errno: unix.EINVAL, text: textLength, at: number,
			})
		}
	}
	width(genl.AttrCaptureSnaplen, 0, 1, 2, 3, 5, 8, 60000)
	width(genl.AttrCaptureQueueSize, 0, 4, 7, 16)
	width(genl.AttrCaptureFamily, 0, 1, 8)
	width(genl.AttrCaptureFormat, 0, 2, 8)
	width(genl.AttrCaptureIO, 0, 3, 8)
	width(genl.AttrCaptureSyncInterval, 0, 2, 8)
	rows = append(rows, badMessage{
		name: "snaplen as text", attrs: [][]byte{attrString(genl.AttrCaptureSnaplen, "262144")},
		errno: unix.EINVAL, text: textLength, at: genl.AttrCaptureSnaplen,
	})
	for number := range attrNames {
		nested := good(number)
		nested[3] |= flagNested >> 8
		rows = append(rows, badMessage{
			name: attrNames[number] + " with the nested flag", attrs: [][]byte{nested},
			errno: unix.EINVAL, text: textNested, at: number,
		})
	}
	return rows
}

func badStrings() []badMessage {
	var rows []badMessage
	for number, longest := range map[uint16]int{
		genl.AttrCaptureName: genl.NameMax, genl.AttrCaptureDeviceName: genl.DeviceNameMax, genl.AttrCaptureLogfile: genl.LogfileMax,
	} {
		name := attrNames[number]
		parser := func(what string, data []byte) {
			rows = append(rows, badMessage{
				name: name + " " + what, attrs: [][]byte{attr(number, data)}, errno: unix.EINVAL, text: textPolicy, at: number,
			})
		}
		parser("of no length", nil)
		parser("without terminator", []byte("/lo"))
		parser("of the longest length without terminator", []byte("/"+strings.Repeat("x", longest-1)))
		for what, value := range map[string]string{
			"empty": "", "one too long": "/" + strings.Repeat("x", longest), "far too long": "/" + strings.Repeat("x", 60000),
		} {
			rows = append(rows, badMessage{
				name: name + " " + what, attrs: [][]byte{attrString(number, value)},
				errno: unix.ERANGE, text: fmt.Sprintf("%s: must be 1..%d bytes", name, longest), at: number,
			})
		}
	}
	return rows
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

func outOfRange(t testing.TB) []badMessage {
	var rows []badMessage
	add := func(number uint16, attrs []byte, value uint64, errno unix.Errno, must string) {
		rows = append(rows, badMessage{
			name: fmt.Sprintf("%s %d", attrNames[number], value), attrs: [][]byte{attrs},
			errno: errno, text: attrNames[number] + ": must be " + must, at: number,
		})
	}
	for _, v := range []uint32{genl.SnaplenMax + 1, 1 << 31, 1<<32 - 1} {
		add(genl.AttrCaptureSnaplen, attrU32(genl.AttrCaptureSnaplen, v), uint64(v), unix.ERANGE, "0..262144")
	}
	for _, v := range []uint32{genl.SyncIntervalMax + 1, 1 << 31, 1<<32 - 1} {
		add(genl.AttrCaptureSyncInterval, attrU32(genl.AttrCaptureSyncInterval, v), uint64(v), unix.ERANGE, "0..3600")
	}
	most := queueSizeMax(t)
	for _, v := range []uint64{0, 1, genl.QueueSizeMin - 1, most + 1, genl.QueueSizeMax + 1, 1<<64 - 1} {
		add(genl.AttrCaptureQueueSize, attrU64(genl.AttrCaptureQueueSize, v), v, unix.ERANGE, fmt.Sprintf("65536..%d", most))
	}
	for number, words := range map[uint16][]string{
		genl.AttrCaptureFamily: genl.IPFamilyNames(), genl.AttrCaptureFormat: genl.FormatNames(), genl.AttrCaptureIO: genl.IONames(),
	} {
		last := len(words) - 1
		must := strings.Join(words[:last], ", ") + " or " + words[last]
		for _, v := range []uint32{uint32(len(words)), 1<<32 - 1} {
			add(number, attrU32(number, v), uint64(v), unix.EINVAL, must)
		}
	}
	return rows
}

func givenTwice() []badMessage {
	twice := func(command, number uint16) badMessage {
		return badMessage{
			name: attrNames[number] + " twice in " + requestNames[uint8(command)], command: uint8(command),
			attrs: [][]byte{good(number), good(number)}, errno: unix.EINVAL, text: attrNames[number] + ": given twice", at: number,
		}
	}
	var rows []badMessage
	for number := range attrNames {
		rows = append(rows, twice(genl.CmdSet, number))
	}
	for c := range requestNames {
		if c != genl.CmdSet {
			rows = append(rows, twice(uint16(c), genl.AttrCaptureName))
		}
	}
	dump := twice(genl.CmdStats, genl.AttrStatsName)
	dump.name, dump.flags, dump.dump = "name twice in a dump of stats", dumpFlags, true
	apart := twice(genl.CmdSet, genl.AttrCaptureSnaplen)
	apart.name = "snaplen twice, with another between"
	apart.attrs = [][]byte{good(genl.AttrCaptureSnaplen), good(genl.AttrCaptureName), good(genl.AttrCaptureSnaplen)}
	return append(rows, dump, apart)
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
			row.attrs = append(row.attrs, good(genl.AttrCaptureSnaplen))
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
	io := func(name string, v genl.IO) badMessage {
		return badMessage{
			name: "io " + name, attrs: [][]byte{attrU32(genl.AttrCaptureIO, uint32(v))}, errno: unix.EOPNOTSUPP,
			text: "io: direct and auto are not supported yet", at: genl.AttrCaptureIO,
		}
	}
	behind, before := tooSmall(t), tooSmall(t)
	behind.name, behind.attrs = "a bad queue_size behind a good snaplen", [][]byte{good(genl.AttrCaptureSnaplen), behind.attrs[0]}
	before.name, before.attrs = "a bad queue_size before a good snaplen", [][]byte{before.attrs[0], good(genl.AttrCaptureSnaplen)}
	return []badMessage{
		{name: "set of nothing", errno: unix.EINVAL, text: "set: no setting given"},
		{
			name: "set of nothing but the name", attrs: [][]byte{good(genl.AttrCaptureName)},
			errno: unix.EINVAL, text: "set: no setting given",
		},
		device("."), device(".."), device("a/b"), device("a b"), device("a:b"), device("a\n"),
		logfile("capture.pcap"), logfile("./capture.pcap"), logfile("../capture.pcap"), logfile("~/capture.pcap"), logfile(" /tmp/x"),
		io("direct", genl.IODirect), io("auto", genl.IOAuto), behind, before,
	}
}

func tooSmall(t testing.TB) badMessage {
	return badMessage{
		attrs: [][]byte{attrU64(genl.AttrCaptureQueueSize, 1)}, errno: unix.ERANGE,
		text: fmt.Sprintf("queue_size: must be 65536..%d", queueSizeMax(t)), at: genl.AttrCaptureQueueSize,
	}
}
