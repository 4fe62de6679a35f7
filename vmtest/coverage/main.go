// SPDX-License-Identifier: GPL-2.0

// Coverage sums up lcov's tracefiles: a line for each Go package and each file of the module, and the error labels of
// the module that were never reached. It fails if there is such a label, or if less than -min percent of the module's
// lines ran; a run without the module's counters is not judged.
//
// Synopsis:
//
//	go run ./vmtest/coverage [-min PERCENT] TRACEFILE...
//
// Run it at the top of the repository.
package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// module is the folder of the module's sources.
const module = "kmod"

func main() {
	least := flag.Float64("min", 90, "`percent` of the module's lines that must have run")
	flag.Parse()
	ok, err := run(os.Stdout, ".", *least, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

// run prints the summary, and says whether the module's part is good enough.
func run(out io.Writer, root string, least float64, tracefiles []string) (bool, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return false, err
	}
	files := map[string]counts{}
	for _, name := range tracefiles {
		f, err := os.Open(name)
		if err != nil {
			return false, err
		}
		err = readInfo(f, root, files)
		f.Close()
		if err != nil {
			return false, fmt.Errorf("%s: %w", name, err)
		}
	}
	t := sum(files)
	t.print(out)
	return judge(out, root, least, files, t)
}

// row is a line of the table: a Go package, or a file of the module.
type row struct{ lines, covered int }

func (r row) add(c counts) row { return row{r.lines + len(c), r.covered + c.covered()} }

func (r row) percent() float64 {
	if r.lines == 0 {
		return 0
	}
	return 100 * float64(r.covered) / float64(r.lines)
}

// table has the rows by name, and the sums of both languages.
type table struct {
	rows   map[string]row
	goSum  row
	module row
}

func sum(files map[string]counts) table {
	t := table{rows: map[string]row{}}
	for name, c := range files {
		key, total := path.Dir(name), &t.goSum
		if inModule(name) {
			key, total = name, &t.module
		}
		t.rows[key] = t.rows[key].add(c)
		*total = total.add(c)
	}
	return t
}

func inModule(name string) bool { return strings.HasPrefix(name, module+"/") }

func (t table) print(out io.Writer) {
	const format = "%-28s %7d %7d  %5.1f%%\n"
	fmt.Fprintf(out, "%-28s %7s %7s\n", "package or file", "lines", "covered")
	for _, name := range slices.Sorted(maps.Keys(t.rows)) {
		r := t.rows[name]
		fmt.Fprintf(out, format, name, r.lines, r.covered, r.percent())
	}
	fmt.Fprintf(out, format, "all of Go", t.goSum.lines, t.goSum.covered, t.goSum.percent())
	if t.module.lines > 0 {
		fmt.Fprintf(out, format, "the module", t.module.lines, t.module.covered, t.module.percent())
	}
}

// judge says what the module lacks.
func judge(out io.Writer, root string, least float64, files map[string]counts, t table) (bool, error) {
	if t.module.lines == 0 {
		fmt.Fprintln(out, "the module was not measured: that takes a kernel with gcov, as KERNEL=debug-6.1")
		return true, nil
	}
	ok := true
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !inModule(name) {
			continue
		}
		source, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return false, err
		}
		for _, l := range unreached(name, string(source), files[name]) {
			fmt.Fprintln(out, "error label never reached:", l)
			ok = false
		}
	}
	if t.module.percent() < least {
		fmt.Fprintf(out, "the module: %.1f%% of its lines ran, %.0f%% are wanted\n", t.module.percent(), least)
		ok = false
	}
	return ok, nil
}
