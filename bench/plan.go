// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"strings"
)

// Files by which host and guest speak to each other: the first below /in, the others below /out.
const (
	PlanFile   = "plan.json"
	ReportFile = "report.json"
)

// Plan says what the guest is to measure.
type Plan struct {
	Part     string
	BufferKB int // each contender's memory for packets that wait to be written
	Repeats  int
	VM       VM

	// of cost
	Sizes    []int // of packets; 0 is IMIX
	Snaplens []int // 0 is the whole packet
	Burst    int   // packets sent in one go; half of BufferKB holds them
	Bursts   int

	// of scale
	Counts []int // packets

	// of slides
	Tests []Test
}

// VM is the machine that a part needs.
type VM struct {
	Icount   bool // its clock counts instructions
	MemMB    int
	OutMB    int // of the disk at /out
	DiskRate int // bytes a second that the disk takes; 0 is as many as there come
}

// Test is one of the talk's tests: packets that come steadily.
type Test struct {
	Name    string
	Snaplen int
	Size    int // of a packet
	Packets int
	Rate    int // packets a second
	// Talk is what the talk says that was captured, by contender.
	Talk map[string]int
}

// Parts are what can be measured, and what of.
func Parts() map[string]string {
	return map[string]string{
		"cost":   "instructions per captured packet, by contender, snaplen and packet size (half an hour)",
		"scale":  "instructions against the number of packets, and so against the size of the file (half an hour)",
		"slides": "the talk's three tests on a machine like the talk's, in real time (an hour and a half)",
	}
}

// PlanOf is the plan of a part. A number of repetitions that is not 0 replaces the part's own.
func PlanOf(part string, repeats int) (Plan, error) {
	p := Plan{Part: part, Repeats: repeats}
	switch part {
	case "cost":
		p.VM.Icount = true
		p.BufferKB = 16 << 10
		p.Sizes, p.Snaplens = []int{60, 576, 1496, 0}, []int{96, 1500, 0}
		p.Burst, p.Bursts = 4096, 40
		p.orRepeats(3)
	case "scale":
		p.VM.Icount = true
		p.BufferKB = 16 << 10
		p.Sizes, p.Snaplens, p.Burst = []int{60}, []int{96}, 10_000
		p.Counts = []int{10_000, 100_000, 1_000_000, 10_000_000}
		p.orRepeats(1)
	case "slides":
		// an Athlon XP 1800 with 256 MB, and a disk that took 34 MB a second; all programs lie in this VM's memory, too
		p.VM = VM{MemMB: 512, OutMB: 9000, DiskRate: 34_000_000}
		p.BufferKB = 2 << 10 // libpcap's own choice
		p.Tests = talk()
		p.orRepeats(5)
	default:
		return Plan{}, fmt.Errorf("PART=%s: must be one of: %s", part, strings.Join(PartNames(), ", "))
	}
	return p, nil
}

// PartNames are the names of all parts.
func PartNames() []string { return []string{"cost", "scale", "slides"} }

func (p *Plan) orRepeats(n int) {
	if p.Repeats == 0 {
		p.Repeats = n
	}
}

// talk are the three tests of "Packet Capturing Using the Linux Netfilter Framework" with its figures.
func talk() []Test {
	const sniffer = "kernel sniffer"
	return []Test{
		{
			Name: "1", Snaplen: 1500, Size: 1496, Packets: 2_000_000, Rate: 70_800,
			Talk: map[string]int{sniffer: 603_874, "tcpdump": 589_831},
		}, {
			Name: "2", Snaplen: 96, Size: 1496, Packets: 2_000_000, Rate: 70_800,
			Talk: map[string]int{sniffer: 647_783, "tcpdump": 642_799},
		}, {
			Name: "3", Snaplen: 1500, Size: 1496, Packets: 10_000_000, Rate: 47_200,
			Talk: map[string]int{sniffer: 3_791_329, "tcpdump": 3_643_704},
		},
	}
}
