// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Files by which host and guest speak to each other: the first below /in, the others below /out.
const (
	PlanFile    = "plan.json"
	ReportFile  = "report.json"
	SymbolsFile = "kallsyms-%d" // of lines: while the contender of that row was there
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

	Counts  []int         // of scale: packets
	Tests   []Test        // of slides
	Rounds  int           // of latency: there and back again
	Streams []int         // of cpus: so many processors receive, each its own packets
	Time    time.Duration // of cpus and memory: how long packets come
	Packets int           // of lines: for each processor
}

// VM is the machine that a part needs.
type VM struct {
	CPUs     int
	Icount   bool // its clock counts instructions
	Watch    bool // QEMU notes what hooks load and store, see bench/watch
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

// Part is something that can be measured.
type Part struct {
	Name, About string
	// plan completes a plan that has the name, one processor, 16 MB of buffers and one repetition.
	plan func(*Plan)
	// table writes the results for people, and plot draws them in files in a folder, of which it returns the names.
	table func(*Report, io.Writer) error
	plot  func(r *Report, dir string) ([]string, error)
}

// Parts are all of them.
func Parts() []Part {
	return []Part{
		{
			"cost", "instructions per captured packet, by contender, snaplen and packet size (half an hour)",
			planCost, (*Report).costTable, (*Report).plotCost,
		}, {
			"scale", "instructions against the number of packets, and so against the size of the file (half an hour, 4 GB of memory)",
			planScale, (*Report).scaleTable, (*Report).plotScale,
		}, {
			"slides", "the talk's three tests on a machine like the talk's, in real time (an hour and a half)",
			planSlides, (*Report).slidesTable, (*Report).plotSlides,
		}, {
			"latency", "what a capture adds to the way of a packet there and back again (five minutes)",
			planLatency, (*Report).latencyTable, (*Report).plotLatency,
		}, {
			"cpus", "packets a second, and loss, where 1, 2 and 4 processors receive, in real time (ten minutes)",
			planCPUs, (*Report).cpusTable, (*Report).plotCPUs,
		}, {
			"memory", "memory against time, while more comes than the disk takes (five minutes)",
			planMemory, (*Report).memoryTable, (*Report).plotMemory,
		}, {
			"lines", "which lines of memory the hooks of two processors share (two minutes)",
			planLines, (*Report).linesTable, func(*Report, string) ([]string, error) { return nil, nil },
		},
	}
}

// partOf is the part with a name.
func partOf(name string) (Part, error) {
	for _, p := range Parts() {
		if p.Name == name {
			return p, nil
		}
	}
	return Part{}, fmt.Errorf("PART=%s: must be one of: %s", name, strings.Join(PartNames(), ", "))
}

// PartNames are the names of all parts.
func PartNames() (names []string) {
	for _, p := range Parts() {
		names = append(names, p.Name)
	}
	return names
}

// PlanOf is the plan of a part. A number of repetitions that is not 0 replaces the part's own.
func PlanOf(part string, repeats int) (Plan, error) {
	p, err := partOf(part)
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{Part: part, BufferKB: 16 << 10, Repeats: 1, VM: VM{CPUs: 1}}
	p.plan(&plan)
	if repeats > 0 {
		plan.Repeats = repeats
	}
	return plan, nil
}

func planCost(p *Plan) {
	p.VM.Icount = true
	p.Sizes, p.Snaplens = []int{60, 576, 1496, 0}, []int{96, 1500, 0}
	p.Burst, p.Bursts, p.Repeats = 4096, 40, 3
}

func planScale(p *Plan) {
	p.VM.Icount = true
	p.Sizes, p.Snaplens, p.Burst = []int{1496}, []int{96}, 10_000
	p.Counts = []int{10_000, 100_000, 1_000_000, 10_000_000}
	p.VM.MemMB = 4096 // room for the whole file in the page cache: to empty that for more is another cost
}

func planSlides(p *Plan) {
	// an Athlon XP 1800 with 256 MB, and a disk that took 34 MB a second; all programs lie in this VM's memory, too
	p.VM = VM{CPUs: 1, MemMB: 512, OutMB: 9000, DiskRate: 34_000_000}
	p.BufferKB = 2 << 10 // libpcap's own choice
	p.Tests, p.Repeats = talk(), 5
}

func planLatency(p *Plan) {
	p.VM.Icount = true
	p.Sizes, p.Snaplens, p.Rounds, p.Repeats = []int{60, 1496}, []int{1500}, 10_000, 3
}

func planCPUs(p *Plan) {
	p.VM = VM{CPUs: 4, MemMB: 2048, OutMB: 9000}
	p.Sizes, p.Snaplens = []int{60}, []int{96}
	p.Streams, p.Time, p.Repeats = []int{1, 2, 4}, 3*time.Second, 3
}

func planMemory(p *Plan) {
	p.VM = VM{CPUs: 1, MemMB: 512, OutMB: 9000, DiskRate: 10_000_000}
	p.BufferKB = 64 << 10
	p.Sizes, p.Snaplens, p.Time = []int{1496}, []int{1500}, 20*time.Second
}

func planLines(p *Plan) {
	p.VM = VM{CPUs: 2, Watch: true}
	p.Sizes, p.Snaplens, p.Packets = []int{576}, []int{96}, 5000
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
