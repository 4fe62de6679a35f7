// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/mdlayher/genetlink"
	"golang.org/x/sys/unix"
)

// EventReader reads events from a connection of its own, as a pending read
// would block commands. It must be closed.
type EventReader struct {
	ctx     context.Context
	genl    *genetlink.Conn
	pending []*Event
	closed  atomic.Bool
	stop    func() bool
}

// Events starts to listen: what happens after it returned is reported. The
// reader belongs to the calling thread's network namespace and ends when ctx is
// done. It needs less privilege than commands do: CAP_NET_ADMIN in the user
// namespace that owns the network namespace.
func (c *Client) Events(ctx context.Context) (*EventReader, error) {
	g, err := c.dial()
	if err != nil {
		return nil, fmt.Errorf("connect to generic netlink: %w", err)
	}
	if err := join(g); err != nil {
		_ = g.Close()
		return nil, err
	}
	r := &EventReader{ctx: ctx, genl: g}
	r.stop = context.AfterFunc(ctx, func() { _ = g.Close() })
	return r, nil
}

func join(g *genetlink.Conn) error {
	c, err := newConn(g)
	if err != nil {
		return err
	}
	for _, group := range c.family.Groups {
		if group.Name != GroupEvents {
			continue
		}
		err := g.JoinGroup(group.ID)
		var errno unix.Errno
		if errors.As(err, &errno) {
			return &Error{Command: eventsCommand, Err: errno}
		}
		return err
	}
	return fmt.Errorf("%s: the module has no such multicast group", eventsCommand)
}

// Next waits for the next event. It returns the context's error once that is
// done, and os.ErrClosed after Close. If the kernel had to drop events it
// returns one of type EventLost and goes on.
func (r *EventReader) Next() (*Event, error) {
	for len(r.pending) == 0 {
		if err := r.receive(); err != nil {
			return nil, err
		}
	}
	e := r.pending[0]
	r.pending = r.pending[1:]
	return e, nil
}

// receive appends the events of one read to pending, possibly none.
func (r *EventReader) receive() error {
	messages, _, err := r.genl.Receive()
	now := time.Now()
	switch {
	case r.closed.Load():
		return os.ErrClosed
	case r.ctx.Err() != nil:
		return r.ctx.Err()
	case errors.Is(err, unix.ENOBUFS):
		r.pending = append(r.pending, &Event{Type: EventLost, Time: now})
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", eventsCommand, err)
	}
	for _, m := range messages {
		e, err := decodeEvent(m)
		if err != nil {
			return fmt.Errorf("%s: %w", eventsCommand, err)
		}
		if e != nil {
			e.Time = now
			r.pending = append(r.pending, e)
		}
	}
	return nil
}

// Close ends the reader and a pending Next.
func (r *EventReader) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	if !r.stop() {
		return nil // closed by the context
	}
	return r.genl.Close()
}
