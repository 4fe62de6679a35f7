// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/u-root/u-root/pkg/kmodule"
	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

const moduleName = "ksnif"

func kernelRelease() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(u.Release[:]), nil
}

// loadDrivers loads what the ports and disks need, dependencies first, as modules.dep has it. A kernel without
// modules.dep has them built in; if not, the search for the report port says so.
func loadDrivers(release string) error {
	prober, err := kmodule.NewProber(kmodule.ProbeOpts{KVer: release})
	if errors.Is(err, os.ErrNotExist) || prober == nil {
		return nil
	}
	if err != nil {
		return fmt.Errorf("modules.dep: %w", err)
	}
	for _, name := range []string{"virtio_pci", "virtio_console", "virtio_blk", "ext4"} {
		if err := prober.Probe(name, ""); err != nil && !errors.Is(err, unix.EEXIST) {
			fmt.Fprintf(os.Stderr, "init: load %s: %v\n", name, err)
		}
	}
	return nil
}

// installModule puts ksnif.ko where modprobe, and with it the kernel's loading on demand, find it. The index
// that modprobe reads is binary, and depmod reads every module there is: an install rule costs nothing.
func installModule(release string) error {
	dir := filepath.Join("/lib/modules", release, "extra")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	ko := filepath.Join(dir, moduleName+".ko")
	if err := withoutUnitTests(proto.PathModule, ko); err != nil {
		return err
	}
	info, err := modinfo(ko)
	if err != nil {
		return err
	}
	var rules strings.Builder
	var before string
	for _, dep := range strings.FieldsFunc(info["depends"], func(r rune) bool { return r == ',' }) {
		before += "/sbin/modprobe " + dep + " && "
	}
	fmt.Fprintf(&rules, "install %s %s/sbin/insmod %s $CMDLINE_OPTS\n", moduleName, before, ko)
	for _, alias := range strings.Fields(info["alias"]) {
		fmt.Fprintf(&rules, "alias %s %s\n", alias, moduleName)
	}
	if err := os.MkdirAll("/etc/modprobe.d", 0o755); err != nil {
		return err
	}
	return os.WriteFile("/etc/modprobe.d/ksnif.conf", []byte(rules.String()), 0o644)
}

// modinfo reads a module's .modinfo strings; values of a repeated key are separated by spaces.
func modinfo(ko string) (map[string]string, error) {
	section, err := elfSection(ko, ".modinfo")
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for _, entry := range bytes.Split(section, []byte{0}) {
		key, value, ok := strings.Cut(string(entry), "=")
		if ok {
			info[key] = strings.TrimSpace(info[key] + " " + value)
		}
	}
	return info, nil
}

func moduleLoaded() bool {
	_, err := os.Stat("/sys/module/" + moduleName)
	return err == nil
}

// moduleSections returns where the module's sections lie, as "name=address" separated by spaces.
func moduleSections() string {
	var list []string
	for _, name := range []string{".text", ".rodata", ".data", ".data..read_mostly", ".bss"} {
		if b, err := os.ReadFile("/sys/module/" + moduleName + "/sections/" + name); err == nil {
			list = append(list, name+"="+strings.TrimSpace(string(b)))
		}
	}
	return strings.Join(list, " ")
}

// loadModule makes sure that the module under test is there: the test before may have removed it.
func (s *session) loadModule() error {
	if !s.plan.Module || moduleLoaded() {
		return nil
	}
	return command("modprobe", moduleName)
}

// unloadModule removes the module under test; that waits for its writers.
func (s *session) unloadModule() error {
	if !moduleLoaded() {
		return nil
	}
	if err := unix.DeleteModule(moduleName, unix.O_NONBLOCK); err != nil {
		return fmt.Errorf("rmmod %s: %w", moduleName, err)
	}
	return nil
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// withoutUnitTests copies a module, and has the kernel find no unit tests in the copy: they would run at each load, for
// seconds, and what they allocate is not what other tests look at. TestKUnit loads the original. The kernel knows the
// section by its name.
func withoutUnitTests(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	b = bytes.ReplaceAll(b, []byte(".kunit_test_suites\x00"), []byte(".kunit_test_unused\x00"))
	return os.WriteFile(to, b, 0o644)
}
