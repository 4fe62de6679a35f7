// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"encoding/binary"
	"iter"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	fakeFamily = 0x21
	fakeGroup  = 7
	fakePID    = 4711
)

// fakeSocket stands for a socket of the kernel. Unlike genltest's it has
// deadlines and multicast groups, blocks as a socket does, and answers with
// extended acknowledgements.
type fakeSocket struct {
	// handle answers a request to the family; no messages mean no answer.
	handle func(req netlink.Message) []netlink.Message
	family uint16
	absent bool // the family is
	join   error
	slow   time.Duration // of every receive

	mu       sync.Mutex
	cond     *sync.Cond
	queue    []any // []netlink.Message of one datagram, or error
	deadline time.Time
	closed   bool
	joined   []uint32
}

func newFake(handle func(req netlink.Message) []netlink.Message) *fakeSocket {
	f := &fakeSocket{handle: handle, family: fakeFamily}
	f.cond = sync.NewCond(&f.mu)
	return f
}

// client returns a Client whose connections all end at f.
func (f *fakeSocket) client(t *testing.T) *Client {
	c, err := newClient(f.dial)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (f *fakeSocket) dial() (*genetlink.Conn, error) {
	return genetlink.NewConn(netlink.NewConn(f, fakePID)), nil
}

// push queues a datagram, or an error of receiving one.
func (f *fakeSocket) push(datagram any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, datagram)
	f.cond.Broadcast()
}

func (f *fakeSocket) Send(m netlink.Message) error {
	var answer []netlink.Message
	switch {
	case m.Header.Type == unix.GENL_ID_CTRL && f.absent:
		answer = refuse(m, unix.ENOENT, "", 0)
	case m.Header.Type == unix.GENL_ID_CTRL:
		answer = reply(m, f.familyReply())
	case uint16(m.Header.Type) != f.family:
		answer = refuse(m, unix.ENOENT, "", 0)
	default:
		answer = f.handle(m)
	}
	if len(answer) > 0 {
		f.push(answer)
	}
	return nil
}

func (f *fakeSocket) SendMessages([]netlink.Message) error { panic("not used") }
func (f *fakeSocket) Receive() ([]netlink.Message, error)  { panic("not used") }

func (f *fakeSocket) ReceiveIter() iter.Seq2[netlink.Message, error] {
	return func(yield func(netlink.Message, error) bool) {
		time.Sleep(f.slow)
		messages, err := f.next()
		if err != nil {
			yield(netlink.Message{}, err)
			return
		}
		for _, m := range messages {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (f *fakeSocket) next() ([]netlink.Message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.closed:
			return nil, unix.EBADF // an error that says nothing
		case !f.deadline.IsZero() && !time.Now().Before(f.deadline):
			return nil, os.ErrDeadlineExceeded
		case len(f.queue) > 0:
			head := f.queue[0]
			f.queue = f.queue[1:]
			if err, ok := head.(error); ok {
				return nil, err
			}
			return head.([]netlink.Message), nil
		}
		f.cond.Wait()
	}
}

func (f *fakeSocket) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.cond.Broadcast()
	return nil
}

func (f *fakeSocket) SetReadDeadline(at time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deadline = at
	f.cond.Broadcast()
	if !at.IsZero() {
		time.AfterFunc(time.Until(at), f.cond.Broadcast)
	}
	return nil
}

func (f *fakeSocket) SetDeadline(at time.Time) error   { return f.SetReadDeadline(at) }
func (f *fakeSocket) SetWriteDeadline(time.Time) error { return nil }

func (f *fakeSocket) JoinGroup(group uint32) error {
	f.joined = append(f.joined, group)
	return f.join
}
func (f *fakeSocket) LeaveGroup(uint32) error { return nil }

// familyReply is the controller's message about the family.
func (f *fakeSocket) familyReply() []byte {
	return genlMessage(unix.CTRL_CMD_NEWFAMILY, func(ae *netlink.AttributeEncoder) {
		ae.Uint16(unix.CTRL_ATTR_FAMILY_ID, f.family)
		ae.String(unix.CTRL_ATTR_FAMILY_NAME, FamilyName)
		ae.Uint32(unix.CTRL_ATTR_VERSION, FamilyVersion)
		ae.Nested(unix.CTRL_ATTR_MCAST_GROUPS, func(groups *netlink.AttributeEncoder) error {
			groups.Nested(1, func(group *netlink.AttributeEncoder) error {
				group.String(unix.CTRL_ATTR_MCAST_GRP_NAME, GroupEvents)
				group.Uint32(unix.CTRL_ATTR_MCAST_GRP_ID, fakeGroup)
				return nil
			})
			return nil
		})
	})
}

// genlMessage returns a generic netlink message as a netlink payload.
func genlMessage(command uint8, fill func(*netlink.AttributeEncoder)) []byte {
	return append([]byte{command, FamilyVersion, 0, 0}, attributes(fill)...)
}

func attributes(fill func(*netlink.AttributeEncoder)) []byte {
	ae := netlink.NewAttributeEncoder()
	fill(ae)
	b, err := ae.Encode()
	if err != nil {
		panic(err)
	}
	return b
}

// reply answers req with one message.
func reply(req netlink.Message, payload []byte) []netlink.Message {
	return []netlink.Message{{
		Header: netlink.Header{Type: req.Header.Type, Sequence: req.Header.Sequence, PID: req.Header.PID},
		Data:   payload,
	}}
}

// dump answers req with a message for each payload, flagged as given.
func dump(req netlink.Message, flags netlink.HeaderFlags, payloads ...[]byte) []netlink.Message {
	var list []netlink.Message
	for _, p := range payloads {
		m := reply(req, p)[0]
		m.Header.Flags = netlink.Multi | flags
		list = append(list, m)
	}
	done := reply(req, make([]byte, 4))[0]
	done.Header.Type, done.Header.Flags = netlink.Done, netlink.Multi
	return append(list, done)
}

// acknowledge answers req as the kernel does a command that succeeded.
func acknowledge(req netlink.Message) []netlink.Message { return refuse(req, 0, "", 0) }

// refuse answers req as the kernel does with NETLINK_EXT_ACK.
func refuse(req netlink.Message, errno unix.Errno, text string, offset uint32) []netlink.Message {
	header := make([]byte, headerLen)
	binary.NativeEndian.PutUint32(header, uint32(headerLen+len(req.Data)))
	data := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	data = append(append(data, header...), req.Data...)
	m := reply(req, data)
	m[0].Header.Type = netlink.Error
	if text != "" || offset != 0 {
		m[0].Header.Flags = netlink.AcknowledgeTLVs
		m[0].Data = append(data, attributes(func(ae *netlink.AttributeEncoder) {
			if text != "" {
				ae.String(unix.NLMSGERR_ATTR_MSG, text)
			}
			if offset != 0 {
				ae.Uint32(unix.NLMSGERR_ATTR_OFFS, offset)
			}
		})...)
	}
	return m
}
