// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// set applies all settings of a request or none.
func (m *model) set(r genl.Request, attrs []parsed) reply {
	values := map[string]any{}
	given := map[uint16]*parsed{}
	for i := range attrs {
		given[attrs[i].Number] = &attrs[i]
	}
	for _, spec := range r.Attrs { // by number, whatever their order in the message
		a := given[spec.Number]
		if a == nil || a.Name == "name" {
			continue
		}
		v, refused := m.value(a)
		if refused.Errno != 0 {
			return refused
		}
		values[a.Name] = v
	}
	if len(values) == 0 {
		return refusal(unix.EINVAL, textNothing)
	}
	switch m.state() {
	case genl.StateStopping:
		return refusal(unix.EBUSY, "set: the capture is stopping: settings cannot change")
	case genl.StateRunning:
		for _, spec := range r.Attrs {
			if _, ok := values[spec.Name]; ok && spec.Name != "snaplen" {
				return refusal(unix.EBUSY, spec.Name+": cannot change while running")
			}
		}
	}
	maps.Copy(m.capture, values)
	return reply{}
}

// value is what a setting becomes.
func (m *model) value(a *parsed) (any, reply) {
	switch {
	case a.Name == "device_name" && !deviceCanHave(a.text()):
		return nil, a.refuse(unix.EINVAL, "device_name: no device can have that name")
	case a.Name == "logfile" && a.text()[0] != '/':
		return nil, a.refuse(unix.EINVAL, "logfile: must be an absolute path")
	case a.Type == "string":
		return a.text(), reply{}
	}
	v := attrNumber(a.data)
	most, text := a.Max, a.Refusal
	if a.Name == "queue_size" {
		most = m.queueMax
		text = fmt.Sprintf("queue_size: must be %d..%d", a.Min, most)
	}
	switch {
	case (v < a.Min || v > most) && isEnum(a.RequestAttr):
		return nil, a.refuse(unix.EINVAL, text)
	case v < a.Min || v > most:
		return nil, a.refuse(unix.ERANGE, text)
	case a.Name == "snaplen" && v == 0:
		v = a.Max
	}
	return v, reply{}
}

// attrNumber is a u32 or a u64.
func attrNumber(data []byte) uint64 {
	if len(data) == 8 {
		return binary.NativeEndian.Uint64(data)
	}
	return uint64(binary.NativeEndian.Uint32(data))
}

// isEnum says whether the values are words.
func isEnum(a genl.RequestAttr) bool { return strings.Contains(a.Refusal, " or ") }

// deviceCanHave follows the kernel's dev_valid_name(), for a name of a length in range.
func deviceCanHave(name string) bool {
	return name != "." && name != ".." && !strings.ContainsAny(name, "/: \t\n\v\f\r") && strings.IndexByte(name, 0xa0) < 0
}

func (m *model) start() reply {
	c := m.capture
	switch m.state() {
	case genl.StateRunning:
		return refusal(unix.EALREADY, "start: already running: use restart")
	case genl.StateStopping:
		return refusal(unix.EINPROGRESS, "start: still stopping: try again")
	}
	if c["format"] == uint64(genl.FormatPcap) && c["device_name"] == "any" {
		return refusal(unix.EINVAL, "format: pcap needs a device_name other than any")
	}
	direct := c["io"] == uint64(genl.IODirect)
	if c["format"] == uint64(genl.FormatPcap) && direct {
		return refusal(unix.EINVAL, "format: pcap cannot be written with io direct: set io auto")
	}
	if !slices.Contains(m.devices, c["device_name"].(string)) {
		return refusal(unix.ENODEV, "device_name: no such device")
	}
	var file opening
	if c["io"] != uint64(genl.IODiscard) {
		known := false
		file, known = m.paths[c["logfile"].(string)]
		m.stray = m.stray || !known
	}
	if file.refused.Errno != 0 {
		return file.refused
	}
	if direct && !file.direct {
		return refusal(unix.EINVAL, "io: the file system cannot do direct I/O: set io auto or buffered")
	}
	m.setState(genl.StateRunning, 0)
	m.told = false
	if file.full { // soon
		m.setState(genl.StateFailed, unix.ENOSPC)
		m.failing = true
	}
	return reply{}
}

func (m *model) stop() reply {
	switch m.state() {
	case genl.StateRunning:
		m.ends = true
		m.setState(genl.StateStopped, 0)
	case genl.StateStopping:
		m.waits = true
	case genl.StateFailed:
		errno := unix.Errno(m.capture["errno"].(uint64))
		m.setState(genl.StateStopped, errno)
		if !m.told {
			m.told = true
			return refusal(errno, textCutShort)
		}
	}
	return reply{}
}

func (m *model) restart() reply {
	if m.state() != genl.StateFailed {
		if refused := m.stop(); refused.Errno != 0 {
			return refused
		}
	}
	return m.start()
}

func (m *model) flush() reply {
	switch m.state() {
	case genl.StateRunning:
		return reply{}
	case genl.StateStopping:
		m.waits = true
		return reply{}
	}
	return refusal(unix.ENOTCONN, "flush: no capture is running")
}
