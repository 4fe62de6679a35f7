// SPDX-License-Identifier: GPL-2.0

package main

import (
	"errors"
	"time"
)

// captureLoad has a contender capture a load that send sends, and counts what is in the file. The time is that in which
// packets came.
func captureLoad(c contender, l load, snaplen int, send func() error) (s sample, err error) {
	const file = "/out/capture"
	defer func() { err = errors.Join(err, removed(file)) }()
	if err := l.prepare(); err != nil {
		return sample{}, err
	}
	run, err := c.start(file, snaplen)
	if err != nil {
		return sample{}, err
	}
	begin := time.Now()
	err = send()
	s.seconds = time.Since(begin).Seconds()
	time.Sleep(lastGap)
	if err = errors.Join(err, run.stop()); err != nil {
		return sample{}, err
	}
	if s.offered, err = l.sent(); err != nil {
		return sample{}, err
	}
	s.captured, err = run.count()
	return s, err
}
