// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ksnif/vmtest/proto"
)

// findPorts maps the names of virtio-serial ports to device files, once the report port is there.
func findPorts(limit time.Duration) (map[string]string, error) {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		ports := map[string]string{}
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, n := range names {
			if b, err := os.ReadFile(n); err == nil {
				ports[strings.TrimSpace(string(b))] = "/dev/" + filepath.Base(filepath.Dir(n))
			}
		}
		if _, ok := ports[proto.PortReport]; ok {
			return ports, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("no virtio-serial port %s after %s", proto.PortReport, limit)
		}
	}
}

// reporter sends records to the host. It may be used by several goroutines.
type reporter struct {
	mu   sync.Mutex
	port *os.File
}

func openReporter(ports map[string]string) (*reporter, error) {
	f, err := os.OpenFile(ports[proto.PortReport], os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("report port: %w", err)
	}
	return &reporter{port: f}, nil
}

// send writes one record; what cannot be sent at least shows on the console.
func (r *reporter) send(rec proto.Record) {
	line, err := proto.Line(rec)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.port != nil {
		_, err = r.port.Write(line)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "init: cannot report %s %s: %v\n", rec.Kind, rec.Test, err)
	}
}

func (r *reporter) problem(kind, text string) {
	r.send(proto.Record{Kind: proto.KindProblem, Problems: []proto.Problem{{Type: kind, Text: text}}})
}

// close makes what follows, a late heartbeat for one, fall silent: the verdict is the last record.
func (r *reporter) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.port = nil
}

// resizes calls fn for every new terminal size that the host sends.
func (r *reporter) resizes(fn func(proto.Resize)) {
	lines := bufio.NewScanner(r.port)
	for lines.Scan() {
		var size proto.Resize
		if json.Unmarshal(lines.Bytes(), &size) == nil {
			fn(size)
		}
	}
}

func readPlan(path string) (*proto.Plan, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	var p proto.Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return &p, nil
}
