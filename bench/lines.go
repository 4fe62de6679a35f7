// SPDX-License-Identifier: GPL-2.0

package bench

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Lines is what hooks of several processors did to the lines of their caches. A line is shared if the hook of one
// processor stored to it, and that of another stored to it or loaded it. Hooks that woke the writer are counted, and
// nothing else: they call the scheduler.
type Lines struct {
	Hooks       int       `json:"hooks"`        // that did not wake the writer
	Woke        int       `json:"woke"`         // that did
	LeftOut     int       `json:"left_out"`     // interrupted, or their end was not seen: nothing is known of them
	Stores      float64   `json:"stores"`       // of a hook
	Loads       float64   `json:"loads"`        // of a hook
	SharedLines int       `json:"shared_lines"` // all hooks together
	SharedBy    []Culprit `json:"shared_by"`
}

// Culprit is a function that stores to shared lines.
type Culprit struct {
	Function string  `json:"function"`
	Stores   float64 `json:"stores"` // to shared lines, of a hook
}

// Shared is how many stores of a hook went to shared lines.
func (l *Lines) Shared() (stores float64) {
	for _, c := range l.SharedBy {
		stores += c.Stores
	}
	return stores
}

// access is one line of what bench/watch writes.
type access struct {
	store    bool
	cpu      int
	pc, line uint64
	wakes    bool
	count    int
}

// ReadLines reads what bench/watch wrote of one contender after another. symbols tells for each of them, by its number,
// which function an address is in.
func ReadLines(r io.Reader, symbols func(section int) (*Symbols, error)) (map[int]*Lines, error) {
	all := map[int]*Lines{}
	var section int
	var lines *Lines
	var list []access
	ended := true
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		switch {
		case len(f) == 2 && f[0] == "section":
			n, err := strconv.Atoi(f[1])
			if err != nil || !ended {
				return nil, fmt.Errorf("lines: %q is not where a section begins", s.Text())
			}
			section, lines, list, ended = n, &Lines{}, nil, false
		case len(f) == 1 && f[0] == "end" && lines != nil:
			sym, err := symbols(section)
			if err != nil {
				return nil, err
			}
			lines.sumUp(list, sym)
			all[section], ended = lines, true
		case lines == nil:
			return nil, fmt.Errorf("lines: %q before a section", s.Text())
		default:
			if err := lines.read(s.Text(), &list); err != nil {
				return nil, err
			}
		}
	}
	if !ended {
		return nil, fmt.Errorf("lines: section %d has no end", section)
	}
	return all, s.Err()
}

// read reads a line that is about a processor or an access.
func (l *Lines) read(text string, list *[]access) error {
	var cpu, hooks, woke, leftOut, lost, wakes int
	if n, _ := fmt.Sscanf(text, "cpu %d hooks %d woke %d left out %d lost %d", &cpu, &hooks, &woke, &leftOut, &lost); n == 5 {
		l.Hooks, l.Woke, l.LeftOut = l.Hooks+hooks-woke, l.Woke+woke, l.LeftOut+leftOut
		if lost > 0 {
			return fmt.Errorf("lines: %d accesses of processor %d were lost", lost, cpu)
		}
		return nil
	}
	var a access
	var kind string
	n, err := fmt.Sscanf(text, "%s %d pc %v line %v wakes %d count %d", &kind, &a.cpu, &a.pc, &a.line, &wakes, &a.count)
	if n != 6 || kind != "store" && kind != "load" {
		return fmt.Errorf("lines: %q: %w", text, err)
	}
	a.store, a.wakes = kind == "store", wakes != 0
	*list = append(*list, a)
	return nil
}

// sumUp finds the lines that are shared.
func (l *Lines) sumUp(list []access, symbols *Symbols) {
	hooks := float64(max(l.Hooks, 1))
	type use struct{ stored, touched uint64 } // by which processors, a bit for each
	uses := map[uint64]use{}
	for _, a := range list {
		if a.wakes {
			continue
		}
		u := uses[a.line]
		u.touched |= 1 << a.cpu
		if a.store {
			u.stored |= 1 << a.cpu
			l.Stores += float64(a.count) / hooks
		} else {
			l.Loads += float64(a.count) / hooks
		}
		uses[a.line] = u
	}
	shared := func(line uint64) bool {
		u := uses[line]
		return u.stored != 0 && u.touched&(u.touched-1) != 0
	}
	for line := range uses {
		if shared(line) {
			l.SharedLines++
		}
	}
	by := map[string]int{}
	for _, a := range list {
		if a.store && !a.wakes && shared(a.line) {
			by[symbols.Name(a.pc)] += a.count
		}
	}
	for name, n := range by {
		l.SharedBy = append(l.SharedBy, Culprit{Function: name, Stores: float64(n) / hooks})
	}
	slices.SortFunc(l.SharedBy, func(a, b Culprit) int {
		return cmp.Or(cmp.Compare(b.Stores, a.Stores), cmp.Compare(a.Function, b.Function))
	})
}

// Symbols are the kernel's functions.
type Symbols struct {
	addrs []uint64
	names []string
}

// ReadSymbols reads what /proc/kallsyms says, which need not be in order.
func ReadSymbols(r io.Reader) (*Symbols, error) {
	type symbol struct {
		addr uint64
		name string
	}
	var list []symbol
	s := bufio.NewScanner(r)
	for s.Scan() {
		f := strings.Fields(s.Text())
		if len(f) < 3 || !strings.ContainsAny(f[1], "tTwW") {
			continue
		}
		addr, err := strconv.ParseUint(f[0], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("symbols: %w", err)
		}
		list = append(list, symbol{addr, f[2]})
	}
	slices.SortStableFunc(list, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	sym := &Symbols{}
	for _, l := range list {
		sym.addrs, sym.names = append(sym.addrs, l.addr), append(sym.names, l.name)
	}
	return sym, s.Err()
}

// Name is the function that an address is in.
func (s *Symbols) Name(addr uint64) string {
	i, found := slices.BinarySearch(s.addrs, addr)
	if !found {
		i--
	}
	if i < 0 {
		return fmt.Sprintf("%#x", addr)
	}
	return s.names[i]
}

func (r *Report) linesTable(w io.Writer) error {
	m := r.Machine
	if _, err := fmt.Fprintf(w, "%s, %d CPUs, each with its own packets; what a packet's capture stores and loads, and how much of that\n"+
		"goes to lines that the other processor's hook stores to or loads\n\n", m.Kernel, m.CPUs); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "packets\tstores\tloads\tshared stores\tshared lines\twoke\tleft out\t  contender\n")
	for i := range r.Rows {
		row := &r.Rows[i]
		l := row.Lines
		fmt.Fprintf(t, "%d\t%.1f\t%.1f\t%.3f\t%d\t%d\t%d\t  %s\n", l.Hooks, l.Stores, l.Loads, l.Shared(), l.SharedLines, l.Woke,
			l.LeftOut, row.Name())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range r.Rows {
		for _, c := range r.Rows[i].Lines.SharedBy {
			if _, err := fmt.Fprintf(w, "%s: %.3f in %s\n", r.Rows[i].Name(), c.Stores, c.Function); err != nil {
				return err
			}
		}
	}
	return nil
}
