// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// startCompany has others use the module until the returned function is called: it checks that all of them got
// somewhere, and that nothing was refused to them.
func startCompany(p *place) (enough func()) {
	p.T.Helper()
	other := newPlaceIn(p.T, mountTmpfs(p.T, "size=1m"))
	family := p.raw.family.ID
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	end := func() { cancel(); group.Wait() }
	p.T.Cleanup(end)
	var rounds [3]atomic.Int64
	errs := make([]error, len(rounds))
	for i, c := range []struct {
		in   *place
		turn func(n int) error
	}{
		{other, other.startStop},
		{p, func(n int) error { return dumpTurn(family, n) }},
		{p, func(int) error { return statsTurn(family) }},
	} {
		group.Add(1)
		go func() {
			defer group.Done()
			errs[i] = c.in.NS.Do(func() error {
				for ctx.Err() == nil {
					if err := c.turn(int(rounds[i].Add(1))); err != nil {
						return err
					}
					time.Sleep(guest.Limit(5 * time.Millisecond)) // the messages are the test
				}
				return nil
			})
		}()
	}
	return func() {
		p.T.Helper()
		end()
		require.NoError(p.T, errors.Join(errs...))
		p.T.Logf("meanwhile %d starts and stops, %d dumps, %d reads of counters", rounds[0].Load(), rounds[1].Load(), rounds[2].Load())
		for i := range rounds {
			assert.Greater(p.T, rounds[i].Load(), int64(20))
		}
	}
}

// startStop starts and stops the capture.
func (p *place) startStop(int) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if err := p.Client.Start(ctx); err != nil {
		return err
	}
	return p.Client.Stop(ctx)
}

// dumpTurn begins a dump of the counters with the smallest receive buffer there is. It goes away at once, after the
// first datagram, after a second dump was refused, or at the end.
func dumpTurn(family uint16, n int) (err error) {
	w, err := dialNlSocket()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	request := netlinkMessage(family, unix.NLM_F_REQUEST|unix.NLM_F_DUMP, header(genl.CmdStats))
	whole := []reply{{Command: genl.CmdStats}, {Done: true}}
	if n%4 == 0 { // with room for the refusal
		if err := w.send(request); err != nil {
			return err
		}
		return w.expect(request, []reply{whole[0], {Errno: unix.EBUSY}, whole[1]})
	}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		return err
	}
	if n%4 == 1 {
		return w.expect(request, whole)
	}
	if err := w.send(request); err != nil || n%4 == 2 {
		return err
	}
	_, _, err = unix.Recvfrom(w.fd, make([]byte, 1), unix.MSG_DONTWAIT)
	return err
}

// statsTurn reads the counters.
func statsTurn(family uint16) (err error) {
	w, err := dialNlSocket()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return w.expect(netlinkMessage(family, requestFlags, header(genl.CmdStats)), []reply{{Command: genl.CmdStats}, {}})
}

func (w *nlSocket) expect(b []byte, want []reply) error {
	got, err := w.exchange(b)
	if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
		err = fmt.Errorf("%+v instead of %+v", got, want)
	}
	return err
}
