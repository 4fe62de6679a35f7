// SPDX-License-Identifier: GPL-2.0

// Package bench measures what capturing costs, ksnif beside other programs, and shows the results. bench/guest
// measures in the VM; this package is what its results look like, and what people see of them.
package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// Row is one contender under one load, the median of all repetitions.
type Row struct {
	Test       string `json:"test,omitempty"` // of slides: the talk's
	CPUs       int    `json:"cpus,omitempty"` // of cpus: so many receive
	Contender  string `json:"contender"`
	Queue      string `json:"queue"`       // of ksnif: list or ring
	IO         string `json:"io"`          // of ksnif: buffered, direct or discard
	Snaplen    int    `json:"snaplen"`     // bytes; 0 is the whole packet
	PacketSize int    `json:"packet_size"` // bytes without the checksum; 0 is IMIX
	Packets    int    `json:"packets"`     // sent in each repetition
	Offered    int    `json:"offered"`     // that came in on the device
	Captured   int    `json:"captured"`    // found in the file, or counted where there is none
	// Of slides: Most is how many packets disk and memory could have held; Each is what was captured in every repetition,
	// Whole in how many of them nothing was lost of what came, and Again how many were repeated as the machine was busy.
	Most  int   `json:"most,omitempty"`
	Each  []int `json:"each,omitempty"`
	Whole int   `json:"whole"`
	Again int   `json:"again"`
	// Instructions is what one captured packet costs all CPUs above the same load without a capture. Of cost and scale;
	// of latency what it adds to the median way there and back.
	Instructions float64 `json:"instructions_per_packet"`
	// Spread is how far the repetitions' costs lie apart, largest less smallest.
	Spread float64 `json:"spread"`
	// Seconds are the guest's, from the first packet to the last; of cost and scale to the closed and synced file.
	Seconds float64 `json:"seconds"`
	Repeats int     `json:"repeats"`

	RoundTrip *RoundTrip `json:"round_trip,omitempty"` // of latency
	Memory    []Point    `json:"memory,omitempty"`     // of memory
	Limit     int        `json:"limit,omitempty"`      // of memory: bytes that the contender was given
	Lines     *Lines     `json:"lines,omitempty"`      // of lines
}

// Machine is what was measured on.
type Machine struct {
	Kernel    string `json:"kernel"`
	Accel     string `json:"accel"` // Icount, tcg or kvm
	CPUs      int    `json:"cpus"`
	BufferKB  int    `json:"buffer_kb"` // each contender's memory for queued packets
	DiskRate  int    `json:"disk_rate"` // bytes a second, as measured; 0 if it was not
	Processor string `json:"processor"` // the host's
}

// Icount is the emulator, with a clock that counts instructions.
const Icount = "icount"

// How says in words how time was measured.
func (m Machine) How() string {
	if m.Accel == Icount {
		return "instructions counted"
	}
	return "real time with " + m.Accel
}

// Report is the result of one part.
type Report struct {
	Part    string  `json:"part"`
	Machine Machine `json:"machine"`
	Rows    []Row   `json:"rows"`
	Tests   []Test  `json:"tests,omitempty"` // of slides: what the rows' Test means
}

// ReadReport reads what Write wrote.
func ReadReport(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Write writes the report as JSON.
func (r *Report) Write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Name tells a contender with its queue and I/O from all others.
func (r *Row) Name() string {
	name := r.Contender
	for _, s := range []string{r.Queue, r.IO} {
		if s != "" {
			name += " " + s
		}
	}
	return name
}

// Size is the packet size in words.
func (r *Row) Size() string {
	if r.PacketSize == 0 {
		return "IMIX"
	}
	return fmt.Sprint(r.PacketSize)
}

// Snap is the snaplen in words.
func (r *Row) Snap() string {
	if r.Snaplen == 0 {
		return "whole"
	}
	return fmt.Sprint(r.Snaplen)
}

// Median is the middle one of the values, and the mean of the middle two if their number is even.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// Spread is the distance from the smallest to the largest.
func Spread(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Max(values) - slices.Min(values)
}
