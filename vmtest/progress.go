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
// and for how long. What goes on side by side has a Progress each, made with Named.
type Progress struct {
	*screen
	name   string // at the start of its lines, if others have theirs in between
	status string
	since  time.Time
}

// screen is where one Progress or several are shown.
type screen struct {
	mu    sync.Mutex // protects all that is shown, and all that is to be shown
	w     io.Writer
	tty   *os.File // w, if it is a terminal
	all   []*Progress
	said  map[string]bool
	drawn bool
	stop  chan struct{}
}

// NewProgress shows progress on f.
func NewProgress(f *os.File) *Progress {
	p := newQuiet(f)
	if isTerminal(f) && os.Getenv("TERM") != "dumb" {
		p.tty = f
		go p.tick()
	}
	return p
}

// newQuiet returns a Progress that writes plain lines to w.
func newQuiet(w io.Writer) *Progress {
	return (&screen{w: w, said: map[string]bool{}, stop: make(chan struct{})}).progress("")
}

func (s *screen) progress(name string) *Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &Progress{screen: s, name: name}
	s.all = append(s.all, p)
	return p
}

// Named returns a Progress that is shown in the same place, with its name on every line.
func (p *Progress) Named(name string) *Progress { return p.progress(name) }

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// Close removes the last line.
func (p *Progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	for _, one := range p.all {
		one.status = ""
	}
	select {
	case <-p.stop:
	default:
		close(p.stop)
	}
}

// Line prints a line that stays, or some that stay together.
func (p *Progress) Line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(fmt.Sprintf(format, args...))
}

// Once is Line for what need not be said again, whoever said it.
func (p *Progress) Once(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if text := fmt.Sprintf(format, args...); !p.said[text] {
		p.said[text] = true
		p.line(text)
	}
}

func (p *Progress) line(text string) {
	p.erase()
	if p.name != "" {
		name := fmt.Sprintf("%-8s ", p.name)
		text = name + strings.ReplaceAll(text, "\n", "\n"+name)
	}
	fmt.Fprintln(p.w, text)
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

func (s *screen) tick() {
	for {
		select {
		case <-s.stop:
			return
		case <-time.After(time.Second):
			s.mu.Lock()
			s.erase()
			s.draw()
			s.mu.Unlock()
		}
	}
}

func (s *screen) erase() {
	if s.drawn {
		fmt.Fprint(s.w, "\r\x1b[K")
		s.drawn = false
	}
}

func (s *screen) draw() {
	if s.tty == nil {
		return
	}
	var words []string
	for _, p := range s.all {
		if p.status != "" {
			words = append(words, p.waiting())
		}
	}
	if len(words) == 0 {
		return
	}
	text := strings.Join(words, " | ")
	// A line that the terminal wraps could not be erased.
	if size, err := unix.IoctlGetWinsize(int(s.tty.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
		text = text[:min(len(text), int(size.Col)-1)]
	}
	fmt.Fprint(s.w, text)
	s.drawn = true
}

// waiting is what is being waited for, and for how long.
func (p *Progress) waiting() string {
	text := strings.TrimSpace(p.name + " " + p.status)
	if s := int(time.Since(p.since).Seconds()); s > 0 {
		text = fmt.Sprintf("%s  %d s", text, s)
	}
	return text
}

// test prints the line of a test that has its result, and all there is to know of a failure.
func (p *Progress) test(t *Test) {
	switch t.Result {
	case proto.Skip:
		p.Line("skip  %s: %s", t.Name, t.Reason)
	case proto.Pass:
		p.Line("pass  %s (%.1f s)", t.Name, t.Seconds)
	default:
		p.Line("%s", failure(t))
	}
}

func failure(t *Test) string {
	lines := []string{fmt.Sprintf("FAIL  %s (%.1f s)%s", t.Name, t.Seconds, prefixed(": ", t.Reason))}
	for _, pr := range t.Problems {
		lines = append(lines, fmt.Sprintf("      %s: %s", pr.Type, pr.Text))
		if pr.More != "" {
			lines = append(lines, indent(tail(pr.More, 60)))
		}
	}
	if t.Output != "" {
		lines = append(lines, indent(tail(t.Output, 200)))
	}
	return strings.Join(lines, "\n")
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
