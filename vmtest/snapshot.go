// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"ksnif/vmtest/proto"
)

// snapshot is a machine as it was at one moment, from which any number of machines go on. To boot one takes TCG and a
// kernel that checks itself a minute.
type snapshot struct {
	state   string         // file with all of it but the disk
	disk    string         // file with its disk at /out, as it was then
	records []proto.Record // what the machine had reported
}

// snapshotLimit bounds the time that QEMU takes to write the state, which is as large as the memory in use.
const snapshotLimit = 2 * time.Minute

// remove removes the files.
func (s *snapshot) remove() error { return errors.Join(os.Remove(s.state), os.Remove(s.disk)) }

// photographer takes the snapshot of a machine as soon as that says that it is ready.
type photographer struct {
	*victim
	vm   *process
	snap *snapshot
	done chan error
}

func (p *photographer) record(r proto.Record) {
	p.snap.records = append(p.snap.records, r)
	p.victim.record(r)
	if p.ready {
		p.ready = false
		go func() {
			p.done <- p.vm.save(p.snap.state)
			p.vm.kill()
		}()
	}
}

// save writes the machine's state to a file, and stops it for good with the last of it. One that was stopped before would
// not go on by itself from there.
func (p *process) save(file string) error {
	if err := p.monitor.SetDeadline(time.Now().Add(snapshotLimit)); err != nil {
		return err
	}
	q := newQMP(p.monitor)
	for _, c := range []qmpCommand{
		{Execute: "qmp_capabilities"},
		{Execute: "migrate-set-parameters", Arguments: map[string]any{"max-bandwidth": 16 << 30}},
		{Execute: "migrate", Arguments: map[string]any{"uri": "exec:cat > " + shellWord(file)}},
	} {
		if err := q.do(c, nil); err != nil {
			return err
		}
	}
	for {
		var now struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := q.do(qmpCommand{Execute: "query-migrate"}, &now); err != nil {
			return err
		}
		switch now.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("QEMU did not write its state: %s", now.Error)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// qmp speaks QEMU's control protocol.
type qmp struct {
	enc *json.Encoder
	dec *json.Decoder
}

type qmpCommand struct {
	Execute   string         `json:"execute"`
	Arguments map[string]any `json:"arguments,omitempty"`
}

func newQMP(c net.Conn) *qmp { return &qmp{json.NewEncoder(c), json.NewDecoder(c)} }

// do has a command carried out. Greetings and events in between are passed over.
func (q *qmp) do(c qmpCommand, result any) error {
	if err := q.enc.Encode(c); err != nil {
		return fmt.Errorf("QEMU: %s: %w", c.Execute, err)
	}
	for {
		var answer struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Text string `json:"desc"`
			} `json:"error"`
		}
		if err := q.dec.Decode(&answer); err != nil {
			return fmt.Errorf("QEMU: %s: %w", c.Execute, err)
		}
		switch {
		case answer.Error != nil:
			return fmt.Errorf("QEMU: %s: %s", c.Execute, answer.Error.Text)
		case answer.Return != nil && result == nil:
			return nil
		case answer.Return != nil:
			return json.Unmarshal(answer.Return, result)
		}
	}
}

// photograph boots a machine up to where it is ready.
func (c *crash) photograph(ctx context.Context, log *os.File) (*snapshot, error) {
	for {
		b, accel, err := c.newBoot(ctx, log)
		if err != nil {
			return nil, err
		}
		snap, again, err := c.shoot(ctx, b, accel, log)
		if err = errors.Join(err, b.clean()); err != nil || !again {
			return snap, err
		}
	}
}

// shoot is one try of photograph.
func (c *crash) shoot(ctx context.Context, b *boot, accel Accel, log *os.File) (snap *snapshot, again bool, err error) {
	p := &photographer{
		victim: newVictim(moment{}), snap: &snapshot{state: c.file("state"), disk: c.file("snapshot.img")}, done: make(chan error, 1),
	}
	b.control = true
	b.started = func(vm *process) { p.vm = vm }
	end, err := b.run(ctx, &logged{sink: p, log: log})
	if err != nil {
		return nil, false, err
	}
	select {
	case err := <-p.done:
		if err != nil {
			return nil, false, fmt.Errorf("snapshot: %w", err)
		}
		return p.snap, false, os.Rename(b.file("out.img"), p.snap.disk)
	default:
	}
	if c.h.again(accel, end) {
		return nil, true, nil
	}
	return nil, false, fmt.Errorf("snapshot: the machine never was ready: %s\n%s", end.Reason, p.tests[crashVictim].output)
}
