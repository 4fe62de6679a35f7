// SPDX-License-Identifier: GPL-2.0

package frontdoor

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// terminal is where a make runs that somebody types to.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	tty  *os.File
	mu   sync.Mutex
	text bytes.Buffer // what was shown and is not expected yet
	all  bytes.Buffer // what was shown
	done chan struct{}
}

// onTerminal starts make in dir.
func onTerminal(t *testing.T, dir string, args ...string) *terminal {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	s := &terminal{t: t, cmd: makeCommand(ctx, dir, args...), done: make(chan struct{})}
	var err error
	s.tty, err = pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 33, Cols: 101})
	require.NoError(t, err)
	t.Cleanup(func() { s.tty.Close() })
	go func() {
		defer close(s.done)
		buf := make([]byte, 4096)
		for {
			n, err := s.tty.Read(buf)
			s.mu.Lock()
			s.all.Write(buf[:n])
			s.text.WriteString(strings.ReplaceAll(string(buf[:n]), "\r", "")) // two terminals in a row add one each
			s.mu.Unlock()
			if err != nil { // EIO, when nobody has the other side open any more
				return
			}
		}
	}()
	return s
}

func (s *terminal) send(text string) {
	s.t.Helper()
	_, err := s.tty.WriteString(text)
	require.NoError(s.t, err)
}

func (s *terminal) typ(line string) { s.t.Helper(); s.send(line + "\r") }

// expect waits until the texts were shown, one behind the other.
func (s *terminal) expect(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		for deadline := time.Now().Add(2 * time.Minute); !s.shown(text); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.t.Fatalf("the terminal does not show %q but %q, after all this:\n%q", text, s.text.String(), s.all.String())
			}
		}
	}
}

// shown says whether the text is there, and drops what is before it, and the text.
func (s *terminal) shown(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := strings.Index(s.text.String(), text)
	if i < 0 {
		return false
	}
	s.text.Next(i + len(text))
	return true
}

// ends waits for the end, which has to be a good one.
func (s *terminal) ends() {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(time.Minute):
		s.t.Fatalf("%v does not end", s.cmd.Args)
	}
	require.NoError(s.t, s.cmd.Wait(), s.text.String())
}
