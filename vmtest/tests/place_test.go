// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// place is a network namespace with its capture, a second way to talk to the module, and a folder for files.
type place struct {
	*capture
	raw *rawConn
	dir string
}

// newPlace makes a place. Its folder lies on the VM's ext4 disk.
func newPlace(t testing.TB) *place { t.Helper(); return newPlaceIn(t, outDir(t)) }

// newPlaceIn makes a place whose folder is dir.
func newPlaceIn(t testing.TB, dir string) *place {
	t.Helper()
	p := &place{dir: dir}
	p.capture = newCapture(t, guest.NewNamespace(t, "ctl"), p.settings())
	p.do(func() (err error) { p.raw, err = dialRaw(); return err })
	t.Cleanup(func() { require.NoError(t, p.raw.Close()) })
	return p
}

// settings are those of a place. None has its default, so that a lost one is seen.
func (p *place) settings() genl.Settings {
	return genl.Settings{
		DeviceName: ptr("lo"), Family: ptr(genl.IPFamilyIP), Logfile: ptr(p.path("capture.pcap")),
		Snaplen: ptr(uint32(128)), QueueSize: ptr(uint64(128 << 10)), Format: ptr(genl.FormatPcap), IO: ptr(genl.IOBuffered),
	}
}

// at is the place for use by a subtest.
func (p *place) at(t testing.TB) *place {
	c := *p.capture
	c.T = t
	return &place{capture: &c, raw: p.raw, dir: p.dir}
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

// idle stops the capture; how it ended is nobody's business any more.
func (p *place) idle() {
	p.T.Helper()
	_ = p.Client.Stop(p.ctx())
	require.Equal(p.T, genl.StateStopped, p.Get().State, "after stop")
}

// send makes lo receive n UDP datagrams, each with size bytes of data.
func (p *place) send(n, size int) {
	p.T.Helper()
	p.do(func() error { return sendDatagrams(n, size) })
}

// sendDatagrams sends over lo. A socket takes them, and is not closed before it has them all, so that no ICMP error
// answers.
func sendDatagrams(n, size int) error {
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer to.Close()
	from, err := net.Dial("udp4", to.LocalAddr().String())
	if err != nil {
		return err
	}
	defer from.Close()
	if err := to.SetReadDeadline(time.Now().Add(guest.Limit(5 * time.Second))); err != nil {
		return err
	}
	data := make([]byte, size)
	for range n {
		if _, err := from.Write(data); err != nil {
			return err
		}
		if _, _, err := to.ReadFrom(data); err != nil {
			return err
		}
	}
	return nil
}

// captured starts a capture and has n packets in its file; it goes on running.
func (p *place) captured(n int) {
	p.T.Helper()
	p.Start()
	p.send(n, 100)
	p.Flush()
	require.EqualValues(p.T, n, p.Stats().Written)
}

// snapshot is everything that a refused command must leave as it was.
type snapshot struct {
	Capture genl.Capture
	Stats   genl.Stats
	PerCPU  []genl.CPUStats
	Files   map[string]fileState
}

// fileState is what can be seen of a file without opening anything but regular ones.
type fileState struct {
	Mode    fs.FileMode
	Size    int64
	ModTime time.Time
	Inode   uint64
	Links   uint64
	Content string // a digest, or where a link leads
}

// snapshot looks at the capture and at all files below the place's folder.
func (p *place) snapshot() snapshot {
	p.T.Helper()
	perCPU, err := p.StatsPerCPU(p.ctx())
	require.NoError(p.T, err)
	return snapshot{Capture: *p.Get(), Stats: *p.Stats(), PerCPU: perCPU, Files: fileStates(p.T, p.dir)}
}

func fileStates(t testing.TB, dir string) map[string]fileState {
	t.Helper()
	files := map[string]fileState{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		files[path], err = stateOf(path)
		return err
	})
	require.NoError(t, err)
	return files
}

func stateOf(path string) (fileState, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return fileState{}, err
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fileState{}, fmt.Errorf("%s: %w", path, err)
	}
	s := fileState{Mode: info.Mode(), Size: info.Size(), ModTime: info.ModTime(), Inode: st.Ino, Links: uint64(st.Nlink)}
	switch {
	case info.Mode().IsRegular():
		b, err := os.ReadFile(path)
		if err != nil {
			return s, err
		}
		sum := sha256.Sum256(b)
		s.Content = hex.EncodeToString(sum[:])
	case info.Mode()&fs.ModeSymlink != 0:
		s.Content, err = os.Readlink(path)
	}
	return s, err
}

// unchanged compares with what was before.
func (p *place) unchanged(before snapshot) {
	p.T.Helper()
	require.Equal(p.T, before, p.snapshot(), "a refusal changed something")
}

// silent listens from now on. The returned function checks that no event came meanwhile: the first to come has to be
// that of the set which it does itself.
func (p *place) silent() (check func()) {
	p.T.Helper()
	r := p.listen()
	return func() {
		p.T.Helper()
		p.Set(genl.Settings{Snaplen: ptr(uint32(777))})
		e := next(p.T, r)
		require.Equal(p.T, genl.EventSettingsChanged, e.Type, "a refused command sent an event: %+v", e)
		require.EqualValues(p.T, 777, e.Snaplen)
	}
}

// next is the next event, which has to come.
func next(t testing.TB, r *genl.EventReader) *genl.Event {
	t.Helper()
	var e *genl.Event
	read := make(chan error, 1)
	go func() {
		var err error
		e, err = r.Next()
		read <- err
	}()
	select {
	case err := <-read:
		require.NoError(t, err)
	case <-time.After(guest.Limit(5 * time.Second)):
		t.Fatal("no event comes")
	}
	return e
}

// listen reads events in the place until the test ends.
func (p *place) listen() *genl.EventReader {
	p.T.Helper()
	var r *genl.EventReader
	p.do(func() (err error) { r, err = p.Events(guest.Context(p.T, time.Minute)); return err })
	p.T.Cleanup(func() { _ = r.Close() })
	return r
}
