// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// occupy makes sure that a folder for results exists and is empty, and has it to this run alone until the returned
// function is called or the process ends: two runs there would mix what they bring.
func occupy(dir string) (leave func(), err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		_ = f.Close()
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("another run is at work in %s: wait until it is done, or use another clone", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := emptyDir(dir); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
