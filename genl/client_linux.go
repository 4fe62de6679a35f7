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
	// pause keeps a module that answers EINPROGRESS at once from being asked
	// in a tight loop; normally it waits itself.
	pause = 20 * time.Millisecond
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
// earlier, the error is an *UnfinishedError.
func (c *Client) Stop(ctx context.Context) error {
	stop := func() error { return c.command(ctx, CmdStop, nil) }
	return finish(ctx, CmdStop, "the capture goes on stopping", stop)
}

// Restart is Stop and Start in one, so that nobody else comes between. If ctx
// is done before the capture has stopped, it will not be started.
func (c *Client) Restart(ctx context.Context) error {
	restart := func() error { return c.command(ctx, CmdRestart, nil) }
	return finish(ctx, CmdRestart, "the capture goes on stopping and is not started again", restart)
}

// Flush returns once all packets captured before are on disk. If ctx is done
// earlier, the error is an *UnfinishedError.
func (c *Client) Flush(ctx context.Context) error {
	return finish(ctx, CmdFlush, "the capture goes on writing", c.flush(ctx))
}

// flush asks for a flush, and every further call whether it is done. To ask
// again would be to ask for what was captured meanwhile, too: on a disk slower
// than the load it would never end.
func (c *Client) flush(ctx context.Context) func() error {
	asked, number := false, uint64(0)
	return func() error {
		capture := &Capture{}
		if asked {
			var err error
			if capture, err = c.Get(ctx); err != nil {
				return err
			}
		}
		// of a capture that ends, or of another one, the numbers say nothing
		if capture.State != StateRunning || capture.FlushWanted < max(number, 1) {
			asked, number = true, 0
			return c.command(ctx, CmdFlush, nil)
		}
		if number == 0 { // that of ours, or of one asked for later
			number = capture.FlushWanted
		}
		if capture.FlushDone < number {
			return unix.EINPROGRESS
		}
		return nil
	}
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

// finish calls ask until the work of its command is done, or ctx is.
func finish(ctx context.Context, command uint8, goesOn string, ask func() error) error {
	for asked := false; ; asked = true {
		err := ask()
		working := errors.Is(err, unix.EINPROGRESS)
		if working {
			wait(ctx, pause)
		}
		if (working || asked && errors.Is(err, ctx.Err())) && ctx.Err() != nil {
			return &UnfinishedError{Command: commandNames[command], GoesOn: goesOn, Err: ctx.Err()}
		}
		if !working {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
