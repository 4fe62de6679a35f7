// SPDX-License-Identifier: GPL-2.0

// Package hostcheck has capinfos and tshark look at capture files that tests in the VM left, together with the
// counters of the capture: a check by readers that ksnif had no part in. There is no Wireshark in the VM, so that this
// happens on the host.
package hostcheck

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"ksnif/genl"
)

// Dir is where a test in the VM leaves, below /out, TEST.pcapng and TEST.json with the capture's counters.
const Dir = "hostcheck"

// Tests are the tests that leave a file if they pass.
func Tests() []string { return []string{"TestOverload"} }

// ErrMissing means that a test left no file.
var ErrMissing = errors.New("left no capture file for the host to check")

// Find returns the capture file that a test left below dir.
func Find(dir, test string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "out-*", Dir, test+".pcapng"))
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", fmt.Errorf("%s %w", test, ErrMissing)
	}
	return files[len(files)-1], nil
}

// Check compares what capinfos and tshark read in a file with the counters that lie beside it.
func Check(ctx context.Context, file string) error {
	text, err := os.ReadFile(strings.TrimSuffix(file, ".pcapng") + ".json")
	if err != nil {
		return err
	}
	var books genl.Stats
	if err := json.Unmarshal(text, &books); err != nil {
		return fmt.Errorf("counters: %w", err)
	}
	return errors.Join(capinfos(ctx, file, &books), tshark(ctx, file, &books))
}

// capinfos counts packets and looks at their order.
func capinfos(ctx context.Context, file string, books *genl.Stats) error {
	// a table of the packets' number and whether they are in order, separated by commas
	out, err := run(ctx, "capinfos", "-M", "-T", "-m", "-Q", "-c", "-o", file)
	if err != nil {
		return err
	}
	table, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(table) != 2 || len(table[1]) != 3 {
		return fmt.Errorf("capinfos prints %q: %w", out, err)
	}
	row := table[1]
	if row[1] != strconv.FormatUint(books.Written, 10) {
		return fmt.Errorf("capinfos finds %s packets, written is %d", row[1], books.Written)
	}
	if row[2] != "True" {
		return fmt.Errorf("capinfos on whether the packets are in order: %s", row[2])
	}
	return nil
}

// tshark adds up the statistics blocks, which only its view of the file as blocks shows.
func tshark(ctx context.Context, file string, books *genl.Stats) error {
	out, err := run(ctx, "tshark", "-X", "read_format:MIME Files Format", "-r", file, "-V")
	if err != nil {
		return err
	}
	lost := books.DroppedQueueFull + books.DroppedNoMemory + books.DroppedWrite
	return errors.Join(
		sums(out, "Number of Received Packets", books.Received),
		sums(out, "Number of Accepted by Filter Packets", books.Received-books.Filtered),
		sums(out, "Number of Dropped Packets by OS", lost),
		sums(out, "Number of Delivered to the User Packets", books.Written),
	)
}

// Packets has tshark count the packets of a file that may break off anywhere.
func Packets(ctx context.Context, file string) (int, error) {
	out, err := run(ctx, "tshark", "-r", file, "-T", "fields", "-e", "frame.number")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return bytes.Count(out, []byte("\n")), nil
}

// sums adds up all values of an option in tshark's print.
func sums(print []byte, option string, want uint64) error {
	found := regexp.MustCompile(`(?m)^\s*`+option+`: (\d+)$`).FindAllSubmatch(print, -1)
	if len(found) == 0 {
		return fmt.Errorf("tshark shows no %s", option)
	}
	var sum uint64
	for _, m := range found {
		n, err := strconv.ParseUint(string(m[1]), 10, 64)
		if err != nil {
			return fmt.Errorf("tshark: %s: %w", option, err)
		}
		sum += n
	}
	if sum != want {
		return fmt.Errorf("tshark: %s: %d, the counters say %d", option, sum, want)
	}
	return nil
}

// run runs one of Wireshark's tools, in a time zone and language that are the same everywhere.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%s is not installed: apt-get install tshark", name)
	case err != nil:
		return out, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
