// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ksnif/genl"
	"ksnif/vmtest/guest"
)

// startLimit is how long a contender may take to begin or to end.
const startLimit = time.Minute

// contender is something that captures.
type contender struct {
	name, queue, io string
	whole           bool // it always takes the whole packet
	// start captures to a file, and returns once it sees packets; what it returns ends that once the file is closed.
	start func(file string, snaplen int) (capture, error)
}

// capture is a contender at work.
type capture struct {
	stop  func() error
	count func() (int, error) // captured packets, after stop
}

// contenders are all that are compared, capturing what comes in on a device. The first is what their cost is counted
// above.
func contenders(bufferKB int, device string) []contender {
	list := []contender{
		{name: "none", start: none},
		{name: "empty hook", start: floorHook(false)},
		{name: "copying hook", start: floorHook(true)},
	}
	modules, _ := filepath.Glob("/in/ksnif-*.ko")
	for _, module := range modules {
		queue := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(module), "ksnif-"), ".ko")
		for _, io := range []genl.IO{genl.IOBuffered, genl.IODirect, genl.IODiscard} {
			list = append(list, contender{name: "ksnif", queue: queue, io: io.String(), start: ksnif(module, device, io, bufferKB)})
		}
	}
	return append(list,
		contender{name: "tcpdump", start: program("listening on", func(file string, snaplen int) []string {
			return []string{"tcpdump", "-Z", "root", "-n", "-i", device, "-Q", "in", "-B", fmt.Sprint(bufferKB),
				"-s", fmt.Sprint(snaplen), "-w", file}
		})},
		contender{name: "dumpcap", start: program("File: ", func(file string, snaplen int) []string {
			return []string{"dumpcap", "-q", "-i", device, "-B", fmt.Sprint(bufferKB >> 10),
				"-s", fmt.Sprint(snaplen), "-w", file}
		})},
		contender{name: "netsniff-ng", whole: true, start: program("Running!", func(file string, _ int) []string {
			return []string{"netsniff-ng", "--in", device, "--out", file, "--ring-size", fmt.Sprintf("%dKiB", bufferKB),
				"--silent", "--no-promisc", "--no-hwtimestamp"}
		})},
	)
}

func none(string, int) (capture, error) {
	return capture{
		stop:  func() error { return nil },
		count: func() (int, error) { return 0, nil },
	}, nil
}

// floorHook is the module in bench/floor.
func floorHook(copies bool) func(string, int) (capture, error) {
	return func(_ string, snaplen int) (capture, error) {
		n := 0
		if copies {
			n = snaplen
			if n == 0 {
				n = genl.SnaplenMax
			}
		}
		if _, err := guest.Try("insmod", "/in/ksnif_floor.ko", fmt.Sprintf("copy=%d", n)); err != nil {
			return capture{}, err
		}
		var text []byte
		return capture{
			stop: func() (err error) {
				if text, err = os.ReadFile("/sys/module/ksnif_floor/parameters/packets"); err != nil {
					return err
				}
				return unix.DeleteModule("ksnif_floor", 0)
			},
			count: func() (int, error) { return strconv.Atoi(strings.TrimSpace(string(text))) },
		}, nil
	}
}

// ksnif is the module of a file, which is there only as long as it captures.
func ksnif(module, device string, io genl.IO, bufferKB int) func(string, int) (capture, error) {
	return func(file string, snaplen int) (c capture, err error) {
		if _, err := guest.Try("insmod", module); err != nil {
			return capture{}, err
		}
		defer func() {
			if err != nil {
				_ = unix.DeleteModule("ksnif", 0)
			}
		}()
		client, err := genl.New()
		if err != nil {
			return capture{}, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), startLimit)
		defer cancel()
		snap, size := uint32(snaplen), uint64(bufferKB)<<10
		set := genl.Settings{DeviceName: &device, Logfile: &file, Snaplen: &snap, QueueSize: &size, IO: &io}
		if err := errors.Join(client.Set(ctx, set), client.Start(ctx)); err != nil {
			return capture{}, err
		}
		return capture{
			stop: func() error {
				ctx, cancel := context.WithTimeout(context.Background(), startLimit)
				defer cancel()
				return client.Stop(ctx)
			},
			count: func() (int, error) {
				n, err := ksnifCount(client, io, file)
				return n, errors.Join(err, client.Close(), unix.DeleteModule("ksnif", 0))
			},
		}, nil
	}
}

// ksnifCount counts the packets in the file; where there is none, those that were thrown away at its end.
func ksnifCount(client *genl.Client, io genl.IO, file string) (int, error) {
	if io != genl.IODiscard {
		return countPackets(file)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	stats, err := client.Stats(ctx)
	if err != nil {
		return 0, err
	}
	return int(stats.Discarded), nil
}

// program is one that captures until ^C. It is ready once it has said so.
func program(ready string, args func(file string, snaplen int) []string) func(string, int) (capture, error) {
	return func(file string, snaplen int) (capture, error) {
		words := args(file, snaplen)
		said, err := os.CreateTemp("", "said")
		if err != nil {
			return capture{}, err
		}
		defer said.Close()
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			return capture{}, err
		}
		fail := func(err error) error {
			text, _ := os.ReadFile(said.Name())
			return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, bytes.TrimSpace(text))
		}
		if err := waitFor(said.Name(), ready); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return capture{}, fail(err)
		}
		return capture{
			stop: func() error {
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					return fail(err)
				}
				if err := cmd.Wait(); err != nil {
					return fail(err)
				}
				return os.Remove(said.Name())
			},
			count: func() (int, error) { return countPackets(file) },
		}, nil
	}
}

// waitFor waits until a file has a text.
func waitFor(name, text string) error {
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(name)
		if err != nil || bytes.Contains(b, []byte(text)) {
			return err
		}
	}
	return fmt.Errorf("does not say %q", text)
}
