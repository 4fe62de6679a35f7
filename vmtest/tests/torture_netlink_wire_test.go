// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// nlSocket is a netlink socket for messages as they are, to the last byte.
type nlSocket struct {
	fd      int
	buf     []byte
	answers map[uint8][]byte // the last one of each command, behind its headers
	plain   bool             // write as to a file
}

// dialNlSocket connects in the calling thread's network namespace.
func dialNlSocket() (*nlSocket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_GENERIC)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	w := &nlSocket{fd: fd, buf: make([]byte, 1<<16), answers: map[uint8][]byte{}}
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil {
			return nil, errors.Join(err, w.Close())
		}
	}
	return w, nil
}

func (w *nlSocket) Close() error { return unix.Close(w.fd) }

// nlSocketIn connects in the place until the test ends.
func (p *place) nlSocketIn() *nlSocket {
	p.T.Helper()
	var w *nlSocket
	p.do(func() (err error) { w, err = dialNlSocket(); return err })
	p.T.Cleanup(func() { require.NoError(p.T, w.Close()) })
	return w
}

// send names the kernel's address, as programs that mean it do: that is taken for intent, and the sender's privilege
// alone counts. A plain socket is written to as a file, as somebody would who was tricked into it.
func (w *nlSocket) send(b []byte) error {
	var err error
	if w.plain {
		_, err = unix.Write(w.fd, b)
	} else {
		err = unix.Sendto(w.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err != nil {
		return fmt.Errorf("send %d bytes: %w", len(b), err)
	}
	return nil
}

// exchange sends a datagram and reads all that comes back. Nothing has to be waited for: the kernel works on messages
// before it returns from sending, and on a dump as it is read.
func (w *nlSocket) exchange(b []byte) ([]reply, error) {
	if err := w.send(b); err != nil {
		return nil, err
	}
	var replies []reply
	for {
		n, _, err := unix.Recvfrom(w.fd, w.buf, unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return replies, nil
		}
		if err != nil {
			return replies, fmt.Errorf("receive: %w", err)
		}
		if replies, err = w.read(replies, w.buf[:n]); err != nil {
			return replies, err
		}
	}
}

// read appends the messages of a datagram; a dump's count as one.
func (w *nlSocket) read(replies []reply, b []byte) ([]reply, error) {
	for len(b) > 0 {
		size := 0
		if len(b) >= sizeofHeader {
			size = int(binary.NativeEndian.Uint32(b))
		}
		if size < sizeofHeader+sizeofGenl || size > len(b) {
			return nil, fmt.Errorf("reply %x", b)
		}
		r, multi := w.readMessage(b[:size])
		if n := len(replies); !multi || n == 0 || replies[n-1] != r {
			replies = append(replies, r)
		}
		b = b[min(aligned(size), len(b)):]
	}
	return replies, nil
}

func (w *nlSocket) readMessage(b []byte) (r reply, multi bool) {
	kind, flags := binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:])
	body := b[sizeofHeader:]
	switch kind {
	case unix.NLMSG_ERROR: // behind the errno, the head of the request
		r.verdict(body, body[min(4+sizeofHeader, len(body)):], flags)
	case unix.NLMSG_DONE:
		r.Done = true
		r.verdict(body, body[4:], flags)
	default:
		r.Command = body[0]
		w.answers[r.Command] = append(w.answers[r.Command][:0], body[sizeofGenl:]...)
	}
	return r, flags&unix.NLM_F_MULTI != 0
}

// verdict reads an errno and, if the flags tell of any, the attributes that explain it.
func (r *reply) verdict(errno, attrs []byte, flags uint16) {
	r.Errno = unix.Errno(-int32(binary.NativeEndian.Uint32(errno)))
	if flags&unix.NLM_F_ACK_TLVS == 0 {
		return
	}
	eachAttr(attrs, func(number uint16, data []byte) {
		switch number {
		case unix.NLMSGERR_ATTR_MSG:
			r.Text = strings.TrimRight(string(data), "\x00")
		case unix.NLMSGERR_ATTR_OFFS:
			r.Offset = int(attrNumber(data))
		}
	})
}

// eachAttr goes through attributes that the kernel made.
func eachAttr(b []byte, fn func(number uint16, data []byte)) {
	for len(b) >= sizeofAttr {
		size := int(binary.NativeEndian.Uint16(b))
		fn(binary.NativeEndian.Uint16(b[2:])&attrTypeMask, b[sizeofAttr:size])
		b = b[min(aligned(size), len(b)):]
	}
}

// netlinkMessage is a message with the length that it has.
func netlinkMessage(kind, flags uint16, body ...[]byte) []byte {
	b := make([]byte, sizeofHeader)
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	for _, part := range body {
		b = append(b, part...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// requestFlags are those of an ordinary request.
const requestFlags = unix.NLM_F_REQUEST | unix.NLM_F_ACK

// live asks for what a model's capture has to be.
func (w *nlSocket) live(family uint16) (map[string]any, error) {
	replies, err := w.exchange(netlinkMessage(family, requestFlags, header(genl.CmdGet)))
	if err != nil {
		return nil, err
	}
	if len(replies) != 2 || replies[0] != (reply{Command: genl.CmdGet}) || replies[1] != (reply{}) {
		return nil, fmt.Errorf("get: %+v", replies)
	}
	return w.capture(), nil
}

// capture is what the last answer to get told.
func (w *nlSocket) capture() map[string]any {
	names := captureNames()
	capture := map[string]any{}
	eachAttr(w.answers[genl.CmdGet], func(number uint16, data []byte) {
		switch a := names[number]; a.Type {
		case "string":
			capture[a.Name] = strings.TrimSuffix(string(data), "\x00")
		default:
			capture[a.Name] = attrNumber(data)
		}
	})
	for _, name := range []string{"file_size", "flush_wanted", "flush_done", "runs", "io_used"} { // the writer's, in its own time
		delete(capture, name)
	}
	return capture
}

// captureNames are the attributes of a capture: what can be set, and what can only be got.
func captureNames() map[uint16]genl.RequestAttr {
	names := map[uint16]genl.RequestAttr{
		genl.AttrCaptureState: {Name: "state"}, genl.AttrCaptureErrno: {Name: "errno"},
		genl.AttrCaptureUnsynced: {Name: "unsynced"}, genl.AttrCaptureTorn: {Name: "torn"},
		genl.AttrCaptureFileSize: {Name: "file_size"}, genl.AttrCaptureFlushWanted: {Name: "flush_wanted"},
		genl.AttrCaptureFlushDone: {Name: "flush_done"}, genl.AttrCaptureRuns: {Name: "runs"},
		genl.AttrCaptureIOUsed: {Name: "io_used"},
	}
	for _, r := range genl.Requests() {
		if r.Command == genl.CmdSet {
			for _, a := range r.Attrs {
				names[a.Number] = a
			}
		}
	}
	return names
}
