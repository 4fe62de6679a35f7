// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// The watches print again and again what is new, and end with exit code 0 on ^C.
func TestWatch(t *testing.T) {
	valid := schemas(t)
	p := newPlace(t)
	p.captured(3)
	t.Run("stats", func(t *testing.T) {
		r := p.run(t, "stats", "--watch=0.2")
		for range 3 {
			assert.Regexp(t, `^20\d\d-\d\d-\d\dT\S+ received \d+ captured \d+ errors 0 filtered 0 `, r.next())
		}
		p.at(t).send(4, 10)
		r.until(" received 7 ")
		r.interrupt(0)
		assert.Empty(t, r.err.String())
	})
	t.Run("stats in JSON", func(t *testing.T) {
		r := p.run(t, "stats", "--json", "--per-cpu", "--watch=0.2")
		for range 3 {
			valid("stats", r.next())
		}
		r.interrupt(0)
	})
	t.Run("status", func(t *testing.T) {
		r := p.run(t, "status", "--watch=0.2")
		for range 3 {
			r.until("state   ")
		}
		r.interrupt(0)
		assert.Empty(t, r.err.String())
	})
	t.Run("status in JSON", func(t *testing.T) {
		r := p.run(t, "status", "--json", "--watch=0.2")
		valid("status", r.next())
		p.at(t).Set(genl.Settings{Snaplen: ptr(uint32(321))})
		valid("status", r.until(`,"snaplen":321,`))
		r.interrupt(0)
	})
}

// events prints each event as it comes, until ^C.
func TestEventsCommand(t *testing.T) {
	valid := schemas(t)
	for _, args := range [][]string{{"events"}, {"events", "--json"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			p := newPlace(t)
			r := p.run(t, args...)
			line := r.listening(p)
			p.Start()
			started := r.after(line)
			p.Stop()
			stopped := r.next()
			if len(args) > 1 {
				for _, l := range []string{line, started, stopped} {
					valid("events", l)
				}
				assert.Contains(t, started, `"event":"started","name":"default","state":"running","errno":{"number":0,"name":""}`)
				assert.Contains(t, stopped, `"event":"stopped"`)
			} else {
				const stamp = `^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\S+ `
				assert.Regexp(t, stamp+`settings_changed name default device_name lo family ip snaplen \d+ queue_size 128K format pcap io buffered sync_interval 0$`, line)
				assert.Regexp(t, stamp+`started name default state running$`, started)
				assert.Regexp(t, stamp+`stopped name default state stopped$`, stopped)
			}
			r.interrupt(0)
			assert.Empty(t, r.err.String())
		})
	}
}

// listening changes a setting until the first event is printed.
func (r *running) listening(p *place) string {
	r.t.Helper()
	for snaplen := uint32(100); snaplen < 10_000; snaplen++ {
		p.Set(genl.Settings{Snaplen: &snaplen})
		select {
		case line := <-r.lines:
			return line
		case <-time.After(100 * time.Millisecond):
		}
	}
	r.t.Fatal("events prints nothing")
	return ""
}

// after is the first line of another event than that in line.
func (r *running) after(line string) string {
	r.t.Helper()
	for strings.Contains(line, "settings_changed") {
		line = r.next()
	}
	return line
}

// Commands wait as long as the disk does, longer than the kernel would in one go, and end when it is done.
func TestCommandsWait(t *testing.T) {
	p := newPlaceIn(t, mountExt4(t))
	p.captured(5)
	thaw := freeze(t, p.dir)
	p.send(5, 100)

	flush := p.run(t, "flush")
	flush.stillRuns(3 * time.Second)
	flush.interrupt(1)
	assert.Equal(t, "ksnifctl: flush: interrupted: the capture goes on writing: see ksnifctl status\n", flush.err.String())

	stop := p.run(t, "stop")
	guest.Poll(t, 10*time.Second, "the capture is stopping", func() bool { return p.Get().State == genl.StateStopping })
	stop.stillRuns(5 * time.Second) // the kernel is asked more than once
	thaw()
	stop.wait(time.Second, 0)
	assert.Empty(t, stop.err.String())
	assert.Equal(t, genl.StateStopped, p.Get().State)
	assert.EqualValues(t, 10, p.Stats().Written)
	p.Read()
}

// stillRuns watches that the process does not end for so long, which is what the test is about.
func (r *running) stillRuns(d time.Duration) {
	r.t.Helper()
	select {
	case err := <-r.ended:
		r.t.Fatalf("%v ended: %v %s", r.cmd.Args, err, r.err)
	case <-time.After(d):
	}
}
