// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// grace is how long an answer may take once the context is done. The
	// kernel has answered before a send returns, so it is there if it ever
	// will be.
	grace = 50 * time.Millisecond
	// drainMax bounds the answers that are skipped after an exchange was given
	// up; there can be one.
	drainMax = 16
)

// conn exchanges messages with the family, one request at a time.
type conn struct {
	genl  *genetlink.Conn
	turn  chan struct{} // taken by whoever uses the fields below
	known bool          // family is what the kernel has, as far as is known
	stale bool          // an answer may be left that nobody waits for

	family genetlink.Family
}

// newConn looks the family up, which loads the module if it is installed.
func newConn(g *genetlink.Conn) (*conn, error) {
	c := &conn{genl: g, turn: make(chan struct{}, 1)}
	if err := c.lookup(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *conn) lookup() error {
	family, err := c.genl.GetFamily(FamilyName)
	if errors.Is(err, os.ErrNotExist) {
		return ErrNotLoaded
	}
	if err != nil {
		return fmt.Errorf("look up family %s: %w", FamilyName, err)
	}
	c.family, c.known = family, true
	return nil
}

// answer is what came back for a request.
type answer struct {
	messages    []genetlink.Message
	interrupted bool // a dump whose state changed meanwhile
}

// exchange sends one request and returns its answer. The send itself cannot be
// interrupted: the kernel waits in it, for three seconds at most, or five (restart).
func (c *conn) exchange(ctx context.Context, command uint8, flags netlink.HeaderFlags, attrs []byte) (answer, error) {
	name := commandNames[command]
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
	}
	if err := ctx.Err(); err != nil {
		return answer{}, fmt.Errorf("%s: %w", name, err)
	}
	if err := c.prepare(); err != nil {
		return answer{}, err
	}
	m := genetlink.Message{Header: genetlink.Header{Command: command, Version: FamilyVersion}, Data: attrs}
	request, err := c.genl.Send(m, c.family.ID, netlink.Request|flags)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", name, err)
	}
	release := c.interruptible(ctx)
	messages, headers, err := c.genl.Receive()
	release()
	if err == nil {
		err = netlink.Validate(request, headers)
	}
	if err != nil {
		return answer{}, c.failed(ctx, name, request, err)
	}
	a := answer{messages: messages}
	for _, h := range headers {
		a.interrupted = a.interrupted || h.Header.Flags&netlink.DumpInterrupted != 0
	}
	return a, nil
}

// prepare makes the connection fit for a request.
func (c *conn) prepare() error {
	if c.stale {
		c.drain()
	}
	if !c.known {
		return c.lookup()
	}
	return nil
}

// drain drops what an exchange that was given up has left behind.
func (c *conn) drain() {
	if c.genl.SetReadDeadline(time.Now().Add(grace)) != nil {
		return
	}
	for range drainMax {
		if _, _, err := c.genl.Receive(); errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	c.stale = c.genl.SetReadDeadline(time.Time{}) != nil
}

// interruptible ends a receive soon after ctx is done, until the returned
// function is called.
func (c *conn) interruptible(ctx context.Context) func() {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		if c.genl.SetReadDeadline(time.Now().Add(grace)) != nil {
			_ = c.genl.Close()
		}
	})
	return func() {
		if !stop() {
			<-fired
			_ = c.genl.SetReadDeadline(time.Time{})
		}
	}
}

// failed says what a failed receive means, for the caller and for the next
// exchange.
func (c *conn) failed(ctx context.Context, name string, request netlink.Message, err error) error {
	refused := refusal(err, name, request.Data)
	var e *Error
	if !errors.As(refused, &e) {
		c.stale = true
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", name, ctx.Err())
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	if e.Err == unix.ENOENT && e.Message == "" {
		// Not a missing directory, that has a text: the family is gone.
		c.known = false
		return ErrNotLoaded
	}
	return refused
}
