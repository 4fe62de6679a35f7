// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

// Progress shows what goes on: lines that stay, and on a terminal a last line that says what is being waited for
// and for how long.
type Progress struct {
	mu     sync.Mutex
	w      io.Writer
	tty    *os.File // w, if it is a terminal
	status string
	since  time.Time
	drawn  bool
	stop   chan struct{}
}

// NewProgress shows progress on f.
func NewProgress(f *os.File) *Progress {
	p := &Progress{w: f, stop: make(chan struct{})}
	if isTerminal(f) && os.Getenv("TERM") != "dumb" {
		p.tty = f
		go p.tick()
	}
	return p
}

// newQuiet returns a Progress that writes plain lines to w.
func newQuiet(w io.Writer) *Progress { return &Progress{w: w, stop: make(chan struct{})} }

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Close removes the last line.
func (p *Progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.status = ""
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
}

// Line prints a line that stays.
func (p *Progress) Line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintf(p.w, format+"\n", args...)
	p.draw()
}

// Status says what is being waited for now. Off a terminal it prints nothing: the lines of tests are enough.
func (p *Progress) Status(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.status, p.since = fmt.Sprintf(format, args...), time.Now()
	p.draw()
}

// Step is a status that is a line of its own where there is no terminal.
func (p *Progress) Step(format string, args ...any) {
	if p.tty == nil {
		p.Line(format, args...)
	}
	p.Status(format, args...)
}

// Write lets raw output pass, without the last line in between.
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.status = ""
	return p.w.Write(b)
}

func (p *Progress) tick() {
	for {
		select {
		case <-p.stop:
			return
		case <-time.After(time.Second):
			p.mu.Lock()
			p.erase()
			p.draw()
			p.mu.Unlock()
		}
	}
}

func (p *Progress) erase() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

func (p *Progress) draw() {
	if p.tty == nil || p.status == "" {
		return
	}
	text := p.status
	if s := int(time.Since(p.since).Seconds()); s > 0 {
		text = fmt.Sprintf("%s  %d s", text, s)
	}
	// A line that the terminal wraps could not be erased.
	if size, err := unix.IoctlGetWinsize(int(p.tty.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
		text = text[:min(len(text), int(size.Col)-1)]
	}
	fmt.Fprint(p.w, text)
	p.drawn = true
}

// test prints the line of a test that has its result, and all there is to know of a failure.
func (p *Progress) test(t *Test) {
	switch t.Result {
	case proto.Skip:
		p.Line("skip  %s: %s", t.Name, t.Reason)
	case proto.Pass:
		p.Line("pass  %s (%.1f s)", t.Name, t.Seconds)
	default:
		p.Line("FAIL  %s (%.1f s)%s", t.Name, t.Seconds, prefixed(": ", t.Reason))
		for _, pr := range t.Problems {
			p.Line("      %s: %s", pr.Type, pr.Text)
			if pr.More != "" {
				p.Line("%s", indent(tail(pr.More, 60)))
			}
		}
		if t.Output != "" {
			p.Line("%s", indent(tail(t.Output, 200)))
		}
	}
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func indent(text string) string {
	return "      | " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n      | ")
}

// tail keeps the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(all) <= lines {
		return strings.Join(all, "\n")
	}
	return fmt.Sprintf("[%d lines before]\n%s", len(all)-lines, strings.Join(all[len(all)-lines:], "\n"))
}
