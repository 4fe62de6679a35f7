// SPDX-License-Identifier: GPL-2.0

// Gen derives everything that is said twice about ksnif's control interface
// from the one place that says it, genl/ksnif.yaml: the uapi header, the
// module's policies and operations, the Go constants and the reference page.
//
// Synopsis:
//
//	go run ./genl/gen [-root DIR] [-check]
//
// Run it at the top of the repository. With -check it writes nothing, prints
// the files that differ and exits 1 if there are any.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// specPath is where the spec lies in the repository; ynl-gen-c names it in its
// output in the same way.
const specPath = "genl/ksnif.yaml"

// output is one generated file.
type output struct {
	path   string
	render func(*spec) ([]byte, error)
}

func outputs() []output {
	return []output{
		{"kmod/uapi/ksnif.h", renderUAPI},
		{"kmod/genl_gen.h", renderKernelHeader},
		{"kmod/genl_gen.c", renderKernelSource},
		{"genl/const_gen.go", renderGo},
		{"docs/netlink.md", renderDocs},
	}
}

func main() {
	root := flag.String("root", ".", "top `directory` of the repository")
	check := flag.Bool("check", false, "write nothing; name the files that differ and exit 1")
	flag.Parse()
	differ, err := run(*root, *check)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
	for _, path := range differ {
		if *check {
			fmt.Fprintf(os.Stderr, "gen: %s differs from what %s says: run make gen\n", path, specPath)
		} else {
			fmt.Println("gen: wrote", path)
		}
	}
	if *check && len(differ) > 0 {
		os.Exit(1)
	}
}

// run renders every output, brings those that differ up to date unless check
// is set, and returns their paths.
func run(root string, check bool) ([]string, error) {
	s, err := loadSpec(filepath.Join(root, specPath))
	if err != nil {
		return nil, err
	}
	var differ []string
	for _, o := range outputs() {
		want, err := o.render(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.path, err)
		}
		path := filepath.Join(root, o.path)
		got, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil && bytes.Equal(got, want) {
			continue
		}
		differ = append(differ, o.path)
		if check {
			continue
		}
		if err := write(path, want); err != nil {
			return nil, err
		}
	}
	return differ, nil
}

func write(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}
