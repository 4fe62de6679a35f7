// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// rawConn sends messages as they are, malformed ones too, each once and without a word of package genl in between.
type rawConn struct {
	*netlink.Conn
	family genetlink.Family
}

// dialRaw connects in the calling thread's network namespace and with its credentials.
func dialRaw() (*rawConn, error) {
	config := &netlink.Config{Strict: true}
	g, err := genetlink.Dial(config)
	if err != nil {
		return nil, fmt.Errorf("dial generic netlink: %w", err)
	}
	defer g.Close()
	family, err := g.GetFamily(genl.FamilyName)
	if err != nil {
		return nil, fmt.Errorf("family %s: %w", genl.FamilyName, err)
	}
	c, err := netlink.Dial(unix.NETLINK_GENERIC, config)
	if err != nil {
		return nil, fmt.Errorf("dial netlink: %w", err)
	}
	return &rawConn{Conn: c, family: family}, nil
}

// answer is the kernel's word on a message: Errno 0 if it had none against it.
type answer struct {
	Errno unix.Errno
	Text  string
	At    uint16 // type of the attribute that it points at, 0 if none
}

func (a answer) String() string {
	return fmt.Sprintf("%s %q at %d", unix.ErrnoName(a.Errno), a.Text, a.At)
}

// command sends a well-formed generic netlink header with these attributes behind it.
func (r *rawConn) command(command uint8, attrs ...[]byte) (answer, error) {
	_, a, err := r.ask(netlink.Request|netlink.Acknowledge, header(command), attrs...)
	return a, err
}

// header is struct genlmsghdr.
func header(command uint8) []byte { return []byte{command, genl.FamilyVersion, 0, 0} }

// ask sends a message of these parts and waits for its answer.
func (r *rawConn) ask(flags netlink.HeaderFlags, head []byte, attrs ...[]byte) ([]netlink.Message, answer, error) {
	data := append([]byte{}, head...)
	for _, a := range attrs {
		data = append(data, a...)
	}
	if err := r.SetDeadline(time.Now().Add(guest.Limit(10 * time.Second))); err != nil {
		return nil, answer{}, err
	}
	sent, err := r.Send(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(r.family.ID), Flags: flags},
		Data:   data,
	})
	if err != nil {
		return nil, answer{}, fmt.Errorf("send: %w", err)
	}
	replies, err := r.Receive()
	if err == nil && flags&netlink.Dump == 0 && flags&netlink.Acknowledge != 0 && !isAck(replies) {
		// The reply proper came first: the acknowledgement is a datagram of its own.
		if _, err := r.Receive(); err != nil {
			return nil, answer{}, fmt.Errorf("acknowledgement: %w", err)
		}
	}
	a, err := answerOf(err, sent)
	return replies, a, err
}

func isAck(replies []netlink.Message) bool {
	return len(replies) > 0 && replies[len(replies)-1].Header.Type == netlink.Error
}

// answerOf reads the kernel's errno, text and offset out of an error of the netlink package.
func answerOf(err error, sent netlink.Message) (answer, error) {
	var op *netlink.OpError
	if err == nil {
		return answer{}, nil
	}
	var errno unix.Errno
	if !errors.As(err, &op) || !errors.As(op.Err, &errno) {
		return answer{}, fmt.Errorf("no answer: %w", err)
	}
	return answer{Errno: errno, Text: strings.TrimRight(op.Message, "\x00"), At: attrAt(sent, op.Offset)}, nil
}

// attrAt is the type of the attribute at an offset from the start of the message.
func attrAt(sent netlink.Message, offset int) uint16 {
	const netlinkHeader = 16
	i := offset - netlinkHeader
	if offset == 0 || i < 0 || i+4 > len(sent.Data) {
		return 0
	}
	return binary.NativeEndian.Uint16(sent.Data[i+2:]) & 0x3fff
}

// attr is an attribute, with its padding.
func attr(number uint16, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(data)))
	b = binary.NativeEndian.AppendUint16(b, number)
	b = append(b, data...)
	return append(b, make([]byte, -len(b)&3)...)
}

func attrString(number uint16, s string) []byte { return attr(number, append([]byte(s), 0)) }

func attrU32(number uint16, v uint32) []byte {
	return attr(number, binary.NativeEndian.AppendUint32(nil, v))
}

func attrU64(number uint16, v uint64) []byte {
	return attr(number, binary.NativeEndian.AppendUint64(nil, v))
}
