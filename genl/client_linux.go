// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	// pause is how long a command that goes on is left alone.
	pause = 50 * time.Millisecond
	// textCutShort is what the module says of a capture that ended in an error.
	textCutShort = "the capture file could not be written to the end"
	// dumpTries bounds how often an interrupted dump is asked for again.
	dumpTries = 5
)

// Client controls the capture of one network namespace. It is safe for
// concurrent use; commands are sent one at a time.
type Client struct {
	conn *conn
	dial func() (*genetlink.Conn, error)
}

// New connects to the module in the calling thread's network namespace. If it
// is neither loaded nor installed, the error is ErrNotLoaded, and os.ErrNotExist
// to errors.Is.
func New() (*Client, error) { return newClient(dial) }

// dial asks for strict checks and extended acknowledgements: without them
// there would be no texts.
func dial() (*genetlink.Conn, error) {
	return genetlink.Dial(&netlink.Config{Strict: true})
}

// newClient is New for tests, which dial something else.
func newClient(dial func() (*genetlink.Conn, error)) (*Client, error) {
	g, err := dial()
	if err != nil {
		return nil, fmt.Errorf("connect to generic netlink: %w", err)
	}
	c, err := newConn(g)
	if err != nil {
		_ = g.Close()
		return nil, err
	}
	return &Client{conn: c, dial: dial}, nil
}

// Close closes the connection.
func (c *Client) Close() error { return c.conn.genl.Close() }

// Get returns the capture's settings and state.
func (c *Client) Get(ctx context.Context) (*Capture, error) {
	m, err := c.ask(ctx, CmdGet)
	if err != nil {
		return nil, err
	}
	capture, _, err := decodeCapture(m.Data)
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	return capture, nil
}

// Set changes the settings that are not nil, all of them or none.
func (c *Client) Set(ctx context.Context, s Settings) error {
	attrs, err := encodeSettings(s)
	if err != nil {
		return err
	}
	return c.command(ctx, CmdSet, attrs)
}

// Start starts the capture. The kernel opens and truncates the capture file
// with the credentials and the root directory of the calling thread: a caller
// that gave its thread its own must lock the goroutine to it.
func (c *Client) Start(ctx context.Context) error { return c.command(ctx, CmdStart, nil) }

// Stop stops the capture and returns once its file is synced and closed, with
// the capture's first write or fsync error if there was one. If ctx is done
// earlier, the error is an *UnfinishedError; if by then another capture runs,
// it is ErrStartedAgain. Where all that takes over two seconds, the next Stop
// may tell the capture's error, too.
func (c *Client) Stop(ctx context.Context) error {
	return c.finish(ctx, CmdStop, "the capture goes on stopping", func(*Capture) bool { return false })
}

// Restart is Stop and Start in one, so that nobody else comes between. If ctx
// is done before the capture has stopped, it will not be started.
func (c *Client) Restart(ctx context.Context) error {
	const goesOn = "the capture may still stop, and is not started again"
	for asked := false; ; asked = true {
		err := c.command(ctx, CmdRestart, nil)
		working := errors.Is(err, unix.EINPROGRESS)
		if !working && !(asked && ctx.Err() != nil && errors.Is(err, ctx.Err())) {
			return err
		}
		if wait(ctx, pause) != nil {
			return &UnfinishedError{Command: commandNames[CmdRestart], GoesOn: goesOn, Err: ctx.Err()}
		}
	}
}

// Flush returns once all packets captured before are on disk. Errors are those
// of Stop.
func (c *Client) Flush(ctx context.Context) error {
	var number uint64
	return c.finish(ctx, CmdFlush, "the capture goes on writing", func(capture *Capture) bool {
		if number == 0 { // that of this flush, or of one asked for later
			number = capture.FlushWanted
		}
		return capture.State == StateRunning && capture.FlushDone >= number
	})
}

// Stats returns the capture's counters.
func (c *Client) Stats(ctx context.Context) (*Stats, error) {
	m, err := c.ask(ctx, CmdStats)
	if err != nil {
		return nil, err
	}
	s, _, err := decodeStats(m.Data)
	if err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	return s, nil
}

// StatsPerCPU returns the hook's counters for each possible CPU. With
// ErrDumpInterrupted it returns counters, too, but they may not fit together.
func (c *Client) StatsPerCPU(ctx context.Context) ([]CPUStats, error) {
	var a answer
	for try := 0; try == 0 || a.interrupted && try < dumpTries; try++ {
		var err error
		if a, err = c.conn.exchange(ctx, CmdStats, netlink.Dump, nil); err != nil {
			return nil, err
		}
	}
	list := make([]CPUStats, 0, len(a.messages))
	for _, m := range a.messages {
		s, err := decodeCPUStats(m.Data)
		if err != nil {
			return nil, fmt.Errorf("stats: %w", err)
		}
		list = append(list, *s)
	}
	if a.interrupted {
		return list, fmt.Errorf("stats: %w", ErrDumpInterrupted)
	}
	return list, nil
}

// ask sends a request without attributes and returns its one reply.
func (c *Client) ask(ctx context.Context, command uint8) (genetlink.Message, error) {
	a, err := c.conn.exchange(ctx, command, 0, nil)
	if err != nil {
		return genetlink.Message{}, err
	}
	if len(a.messages) != 1 {
		return genetlink.Message{}, fmt.Errorf("%s: got %d replies instead of one", commandNames[command], len(a.messages))
	}
	return a.messages[0], nil
}

// command sends a request that is only acknowledged. Without the flag a success
// would have no answer to wait for.
func (c *Client) command(ctx context.Context, command uint8, attrs []byte) error {
	_, err := c.conn.exchange(ctx, command, netlink.Acknowledge, attrs)
	return err
}

// finish gives a command to the capture that there is now, and sees it through:
// until done says so, the capture has ended, or ctx has. The command is given
// once: another capture, or what this one got meanwhile, is not its matter.
func (c *Client) finish(ctx context.Context, command uint8, goesOn string, done func(*Capture) bool) error {
	name := commandNames[command]
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", name, ctx.Err())
	}
	before, err := c.Get(ctx)
	if err == nil {
		err = c.command(ctx, command, nil)
	}
	if !errors.Is(err, unix.EINPROGRESS) {
		return of(name, err)
	}
	for {
		if wait(ctx, pause) != nil {
			return &UnfinishedError{Command: name, GoesOn: goesOn, Err: ctx.Err()}
		}
		capture, err := c.Get(ctx)
		switch {
		case ctx.Err() != nil:
			continue
		case err != nil:
			return of(name, err)
		case capture.Runs != before.Runs:
			return fmt.Errorf("%s: %w", name, ErrStartedAgain)
		case capture.State != StateRunning && capture.State != StateStopping:
			return ended(name, capture)
		case done(capture):
			return nil
		}
	}
}

// ended is how a capture has ended.
func ended(command string, capture *Capture) error {
	if capture.Errno == 0 {
		return nil
	}
	return &Error{Command: command, Message: textCutShort, Err: capture.Errno}
}

// of names the command that an error is about, where another one met it.
func of(command string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Command = command
	}
	return err
}

// wait returns the context's error if that ends earlier.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return ctx.Err()
}
