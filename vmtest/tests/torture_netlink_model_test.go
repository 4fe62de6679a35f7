// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"bytes"
	"encoding/binary"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// model is what the control interface has to do with a datagram, byte for byte: the kernel's strict parser in front,
// behind it the ranges of the spec and the rules of the settings and of the states. It knows one capture.
type model struct {
	family   uint16
	requests map[uint8]genl.Request
	queueMax uint64
	paths    map[string]opening
	devices  []string // those that there are

	capture map[string]any // what get tells of settings and state: strings and uint64s
	told    bool           // a stop told the error that ended the capture

	dumping bool // a dump goes on in the socket
	ends    bool // a message of the datagram ends a run
	// What the model cannot say. A start is going to fail, and what a message behind it meets depends on when.
	failing, racy bool
	stray         bool // a start would open a file that is not in paths
	waits         bool // the command would wait for a file system that is frozen
	foreign       bool // a message is another family's
}

// opening is what comes of opening a capture file.
type opening struct {
	refused reply
	full    bool // it can be opened, and nothing can be written
	direct  bool // its file system can do direct I/O
}

// openable is a capture file that can be opened.
func openable(t testing.TB, file string, full bool) opening {
	t.Helper()
	probe := file + ".probe"
	fd, err := unix.Open(probe, unix.O_WRONLY|unix.O_CREAT|unix.O_DIRECT, 0o600)
	if err == nil {
		require.NoError(t, unix.Close(fd))
	} else {
		require.ErrorIs(t, err, unix.EINVAL)
	}
	require.NoError(t, os.Remove(probe)) // which the kernel makes before it refuses
	return opening{full: full, direct: err == nil}
}

// reply is a message of the kernel's: an answer to a request, or the verdict on it.
type reply struct {
	Command uint8 // of an answer, however many in a row; 0 in a verdict
	Done    bool  // the verdict on a dump
	Errno   unix.Errno
	Text    string
	Offset  int // of the attribute that it points at, in the request
}

const (
	sizeofHeader = unix.SizeofNlMsghdr
	sizeofGenl   = 4
	sizeofAttr   = unix.SizeofNlAttr
	attrTypeMask = 0x3fff
	genlMaxID    = 1023

	textUnsupported = "Unsupported attribute"
	textNothing     = "set: no setting given"
)

func newModel(t testing.TB, p *place, paths map[string]opening) *model {
	t.Helper()
	m := &model{
		family: p.raw.family.ID, requests: map[uint8]genl.Request{}, queueMax: queueSizeMax(t), paths: paths,
		devices: []string{"any", "lo"},
	}
	for _, r := range genl.Requests() {
		m.requests[r.Command] = r
	}
	return m
}

func (m *model) clone() *model {
	c := *m
	c.capture = maps.Clone(m.capture)
	return &c
}

func (m *model) state() genl.State { return genl.State(m.capture["state"].(uint64)) }

func (m *model) setState(s genl.State, errno unix.Errno) {
	m.capture["state"], m.capture["errno"] = uint64(s), uint64(errno)
}

// datagram does what the messages in b say and returns the replies.
func (m *model) datagram(b []byte) []reply {
	var replies []reply
	m.dumping, m.ends = false, false
	for len(b) >= sizeofHeader {
		size := int(binary.NativeEndian.Uint32(b))
		if size < sizeofHeader || size > len(b) {
			break // the kernel looks no further
		}
		m.racy = m.racy || m.failing
		replies = append(replies, m.message(b[:size])...)
		b = b[min(aligned(size), len(b)):]
	}
	if m.dumping { // its end comes when the rest was read
		replies = append(replies, reply{Done: true})
	}
	return replies
}

func aligned(size int) int { return (size + 3) &^ 3 }

func (m *model) message(b []byte) []reply {
	kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
	var verdict reply
	var answers []reply
	switch {
	case flags&unix.NLM_F_REQUEST == 0 || kind < unix.NLMSG_MIN_TYPE:
	case kind != m.family:
		m.foreign = m.foreign || kind <= genlMaxID
		verdict.Errno = unix.ENOENT
	case flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP:
		return m.dump(flags, b)
	default:
		answers, verdict = m.request(flags, b)
	}
	if flags&unix.NLM_F_ACK != 0 || verdict.Errno != 0 {
		answers = append(answers, verdict)
	}
	return answers
}

func (m *model) dump(flags uint16, b []byte) []reply {
	r, refused := m.find(flags, b)
	if refused.Errno == 0 && m.dumping {
		refused.Errno = unix.EBUSY
	}
	var attrs []parsed
	if refused.Errno == 0 {
		attrs, refused = parse(r, b)
	}
	if refused.Errno != 0 {
		return []reply{refused}
	}
	if refused = checkRequest(attrs); refused.Errno != 0 {
		refused.Done = true
		return []reply{refused}
	}
	m.dumping = true
	return []reply{{Command: r.Command}}
}

// request returns the answer proper, if there is one, and the verdict.
func (m *model) request(flags uint16, b []byte) ([]reply, reply) {
	r, refused := m.find(flags, b)
	if refused.Errno != 0 {
		return nil, refused
	}
	attrs, refused := parse(r, b)
	if refused.Errno == 0 {
		refused = checkRequest(attrs)
	}
	if refused.Errno != 0 {
		return nil, refused
	}
	switch r.Command {
	case genl.CmdGet, genl.CmdStats:
		return []reply{{Command: r.Command}}, reply{}
	case genl.CmdSet:
		return nil, m.set(r, attrs)
	case genl.CmdStart:
		return nil, m.start()
	case genl.CmdStop:
		return nil, m.stop()
	case genl.CmdRestart:
		return nil, m.restart()
	}
	return nil, m.flush()
}

// find is the request that a message of the family makes.
func (m *model) find(flags uint16, b []byte) (genl.Request, reply) {
	const consumed = unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_ECHO
	if len(b) < sizeofHeader+sizeofGenl {
		return genl.Request{}, refusal(unix.EINVAL, "")
	}
	head := b[sizeofHeader:]
	dump := flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	if dump {
		flags &^= unix.NLM_F_DUMP
	}
	r, ok := m.requests[head[0]]
	switch {
	case head[2] != 0 || head[3] != 0:
		return r, refusal(unix.EINVAL, textReserved)
	case flags&^uint16(consumed) != 0:
		return r, refusal(unix.EINVAL, textFlags)
	case !ok || dump && !r.Dump:
		return r, refusal(unix.EOPNOTSUPP, "")
	}
	return r, reply{}
}

// parsed is an attribute that got through the policy.
type parsed struct {
	genl.RequestAttr
	data   []byte
	offset int
}

func refusal(errno unix.Errno, text string) reply { return reply{Errno: errno, Text: text} }

// refuse points at the attribute.
func (a *parsed) refuse(errno unix.Errno, text string) reply {
	return reply{Errno: errno, Text: text, Offset: a.offset}
}

// text is a string up to its terminator.
func (a *parsed) text() string {
	s, _, _ := strings.Cut(string(a.data), "\x00")
	return s
}

// parse does what the kernel does before the module sees a request.
func parse(r genl.Request, b []byte) ([]parsed, reply) {
	known := map[uint16]genl.RequestAttr{}
	last := uint16(0)
	for _, a := range r.Attrs {
		known[a.Number], last = a, max(last, a.Number)
	}
	var attrs []parsed
	offset := sizeofHeader + sizeofGenl
	for len(b)-offset >= sizeofAttr {
		size, kind := int(binary.NativeEndian.Uint16(b[offset:])), binary.NativeEndian.Uint16(b[offset+2:])
		if size < sizeofAttr || size > len(b)-offset {
			break
		}
		number := kind & attrTypeMask
		a := parsed{known[number], b[offset+sizeofAttr : offset+size], offset}
		switch _, ok := known[number]; {
		case number == 0 || number > last:
			return nil, a.refuse(unix.EINVAL, textUnknown)
		case !ok:
			return nil, a.refuse(unix.EINVAL, textUnsupported)
		}
		if refused := a.validate(kind&flagNested != 0); refused.Errno != 0 {
			return nil, refused
		}
		attrs = append(attrs, a)
		offset += min(aligned(size), len(b)-offset)
	}
	if offset < len(b) {
		return nil, refusal(unix.EINVAL, textLeftover)
	}
	return attrs, reply{}
}

// validate is the policy.
func (a *parsed) validate(nested bool) reply {
	sizes := map[string]int{"u32": 4, "u64": 8}
	n, length := sizes[a.Type], uint64(len(a.text()))
	switch {
	case n != 0 && len(a.data) != n:
		return a.refuse(unix.EINVAL, textLength)
	case nested:
		return a.refuse(unix.EINVAL, textNested)
	case n != 0:
		return reply{}
	case bytes.IndexByte(a.data, 0) < 0:
		return a.refuse(unix.EINVAL, textPolicy)
	case length < a.Min || length > a.Max:
		return a.refuse(unix.ERANGE, a.Refusal)
	}
	return reply{}
}

// checkRequest is the part that all requests have in common.
func checkRequest(attrs []parsed) reply {
	seen := map[uint16]bool{}
	for i := range attrs {
		if seen[attrs[i].Number] {
			return attrs[i].refuse(unix.EINVAL, attrs[i].Name+": given twice")
		}
		seen[attrs[i].Number] = true
	}
	for i := range attrs {
		// terminators at the end do not count, one in the middle does
		if a := &attrs[i]; a.Name == "name" && strings.TrimRight(string(a.data), "\x00") != "default" {
			return a.refuse(unix.EOPNOTSUPP, textName)
		}
	}
	return reply{}
}
