// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"ksnif/genl"
)

// setting is one row of what get prints and set takes.
type setting struct {
	name  string
	help  string
	words []string // values it can take, where they can be listed
	takes string   // what it can take, for help, where words do not say it
	def   string   // the module's default, as get prints it
	put   func(s *genl.Settings, value string) error
	value func(c *genl.Capture) any    // as JSON
	text  func(c *genl.Capture) string // as set takes it
	show  func(c *genl.Capture) string // as a person reads it; nil: like text
}

// display is the setting's value for a person.
func (s setting) display(c *genl.Capture) string {
	if s.show != nil {
		return s.show(c)
	}
	return s.text(c)
}

// settings lists all settings in the order of the spec.
func settings() []setting {
	return []setting{
		{
			name: "device_name", help: "capture this device only (any: every device)", def: "any",
			put:   func(s *genl.Settings, v string) error { s.DeviceName = &v; return nil },
			value: func(c *genl.Capture) any { return c.DeviceName },
			text:  func(c *genl.Capture) string { return c.DeviceName },
			show:  func(c *genl.Capture) string { return quote(c.DeviceName) },
		},
		enumSetting("family", "inet", "IP versions to capture", genl.IPFamilyNames(), genl.ParseIPFamily,
			func(s *genl.Settings, v genl.IPFamily) { s.Family = &v },
			func(c *genl.Capture) genl.IPFamily { return c.Family }),
		{
			name: "logfile", help: "path of the capture file", def: "/var/log/ksnif.pcapng",
			put:   putLogfile,
			value: func(c *genl.Capture) any { return c.Logfile },
			text:  func(c *genl.Capture) string { return c.Logfile },
			show:  func(c *genl.Capture) string { return visible(c.Logfile) },
		},
		{
			name: "snaplen", help: "bytes kept of each packet (0: the maximum)", def: "262144",
			takes: fmt.Sprintf("1..%d", genl.SnaplenMax),
			put:   putSnaplen,
			value: func(c *genl.Capture) any { return c.Snaplen },
			text:  func(c *genl.Capture) string { return strconv.FormatUint(uint64(c.Snaplen), 10) },
		},
		{
			name: "queue_size", help: "bytes of kernel memory for queued packets", def: "16M",
			takes: formatSize(genl.QueueSizeMin) + ".." + formatSize(genl.QueueSizeMax) + " or RAM/4",
			put:   putQueueSize,
			value: func(c *genl.Capture) any { return c.QueueSize },
			text:  func(c *genl.Capture) string { return strconv.FormatUint(c.QueueSize, 10) },
			show:  func(c *genl.Capture) string { return formatSize(c.QueueSize) },
		},
		enumSetting("format", "pcapng", "format of the capture file", genl.FormatNames(), genl.ParseFormat,
			func(s *genl.Settings, v genl.Format) { s.Format = &v },
			func(c *genl.Capture) genl.Format { return c.Format }),
		enumSetting("io", "buffered", "how the file is written", genl.IONames(), genl.ParseIO,
			func(s *genl.Settings, v genl.IO) { s.IO = &v },
			func(c *genl.Capture) genl.IO { return c.IO }),
		{
			name: "sync_interval", help: "seconds between fsyncs of the file (0: only at flush and stop)", def: "0",
			takes: fmt.Sprintf("0..%d", genl.SyncIntervalMax),
			put:   putSyncInterval,
			value: func(c *genl.Capture) any { return c.SyncInterval },
			text:  func(c *genl.Capture) string { return strconv.FormatUint(uint64(c.SyncInterval), 10) },
		},
	}
}

// enumSetting is a setting that takes one of a few words.
func enumSetting[T interface{ String() string }](name, def, help string, words []string, parse func(string) (T, error),
	put func(*genl.Settings, T), of func(*genl.Capture) T) setting {
	return setting{
		name: name, help: help, words: words, def: def,
		put: func(s *genl.Settings, v string) error {
			e, err := parse(v)
			if err != nil {
				return usagef("", "must be %s", oneOf(words))
			}
			put(s, e)
			return nil
		},
		value: func(c *genl.Capture) any { return of(c).String() },
		text:  func(c *genl.Capture) string { return of(c).String() },
	}
}

// findSetting returns the setting of that name.
func findSetting(name string) (setting, error) {
	var names []string
	for _, s := range settings() {
		if s.name == name {
			return s, nil
		}
		names = append(names, s.name)
	}
	return setting{}, usagef(quote(name), "unknown setting: must be %s", oneOf(names))
}

// putLogfile makes a relative path absolute, for the module takes no other and
// users of tcpdump -w expect one to be theirs. The path is not cleaned: "x/"
// and "link/../x" have to mean what they mean to the kernel.
func putLogfile(s *genl.Settings, v string) error {
	if v != "" && v[0] != '/' {
		dir, err := os.Getwd()
		if err != nil {
			return failedf("", "cannot tell the current directory: give an absolute path: %v", err)
		}
		v = strings.TrimSuffix(dir, "/") + "/" + v
	}
	s.Logfile = &v
	return nil
}

func putSnaplen(s *genl.Settings, v string) (err error) {
	s.Snaplen, err = parseUint32(v, 1, genl.SnaplenMax)
	return err
}

func putSyncInterval(s *genl.Settings, v string) (err error) {
	s.SyncInterval, err = parseUint32(v, 0, genl.SyncIntervalMax)
	return err
}

// parseUint32 reads what fits a message of 32 bits; the rest of the range is
// the module's to check.
func parseUint32(v string, low, high uint64) (*uint32, error) {
	n, err := parseSize(v)
	if err == nil && n > math.MaxUint32 { // cannot even be asked
		err = errRange
	}
	if err != nil {
		return nil, sizeError(err, low, high)
	}
	short := uint32(n)
	return &short, nil
}

func putQueueSize(s *genl.Settings, v string) error {
	n, err := parseSize(v)
	if err != nil {
		return sizeError(err, genl.QueueSizeMin, genl.QueueSizeMax)
	}
	s.QueueSize = &n
	return nil
}

var (
	errNoNumber = errors.New("no number")
	errRange    = errors.New("out of range")
)

// sizeError words a failed parseSize: what is no number is wrong usage, what
// is a number but fits no message is refused as the module would refuse it.
func sizeError(err error, low, high uint64) error {
	if errors.Is(err, errRange) {
		return failedf("", "must be %d..%d", low, high)
	}
	return usagef("", "must be a number, as in 4096, 64K, 16M or 1G")
}

// parseSize reads a whole number, which may end in K, M or G, powers of 1024.
func parseSize(s string) (uint64, error) {
	digits, shift := s, 0
	if i := len(s) - 1; i >= 0 {
		if unit := strings.IndexByte("kmg", s[i]|0x20); unit >= 0 {
			digits, shift = s[:i], 10*(unit+1)
		}
	}
	digits, negative := strings.CutPrefix(digits, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, errNoNumber
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n > math.MaxUint64>>shift || (negative && n > 0) {
		return 0, errRange
	}
	return n << shift, nil
}

// formatSize is parseSize's inverse, with the largest unit that is exact.
func formatSize(n uint64) string {
	for i, unit := range []string{"G", "M", "K"} {
		shift := 10 * (3 - i)
		if n != 0 && n&(1<<shift-1) == 0 {
			return strconv.FormatUint(n>>shift, 10) + unit
		}
	}
	return strconv.FormatUint(n, 10)
}
