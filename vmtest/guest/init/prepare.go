// SPDX-License-Identifier: GPL-2.0

package main

import (
	"debug/elf"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"ksnif/vmtest/proto"
)

// prepare mounts the disks, brings lo up and loads the module under test.
func (s *session) prepare() error {
	// a kernel that finds only one of two would see few races
	if n := runtime.NumCPU(); n != s.plan.CPUs {
		return fmt.Errorf("the kernel found %d processors, the machine has %d", n, s.plan.CPUs)
	}
	ok, err := mountDisk(proto.SerialOut, proto.DirOut, 0)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("no disk with the serial number %q", proto.SerialOut)
	}
	if err := unix.Chmod(proto.DirOut, 0o777|unix.S_ISVTX); err != nil {
		return fmt.Errorf("chmod %s: %w", proto.DirOut, err)
	}
	// Nobody looks for results in it, and a folder that is not there cannot be in the way.
	if err := os.Remove(filepath.Join(proto.DirOut, "lost+found")); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := s.makeCoverage(); err != nil {
		return err
	}
	if _, err := mountDisk(proto.SerialIn, proto.DirIn, unix.MS_RDONLY); err != nil {
		return err
	}
	if err := linkUp("lo"); err != nil {
		return err
	}
	if s.plan.Accel == "tcg" && runtime.NumCPU() > 1 {
		if s.steady, err = steadyHooks(); err != nil {
			return fmt.Errorf("steady hooks: %w", err)
		}
	}
	if s.plan.Module {
		if err := installModule(s.release); err != nil {
			return fmt.Errorf("install module: %w", err)
		}
		if err := s.loadModule(); err != nil {
			return err
		}
		s.report.send(proto.Record{Kind: proto.KindSections, Text: moduleSections()})
	}
	if s.watch != nil {
		s.check("", s.watch.before())
	}
	return nil
}

// linkUp is `ip link set NAME up` for a guest that may not have ip.
func linkUp(name string) error {
	if _, err := net.InterfaceByName(name); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return fmt.Errorf("%s: get flags: %w", name, err)
	}
	req.SetUint16(req.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("%s: set up: %w", name, err)
	}
	return nil
}

func elfSection(path, name string) ([]byte, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	section := f.Section(name)
	if section == nil {
		return nil, fmt.Errorf("%s: no section %s", path, name)
	}
	return section.Data()
}
