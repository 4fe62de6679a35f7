// SPDX-License-Identifier: GPL-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// StartPktgen has pktgen start, and returns when it has ended. It is told so in its file pgctrl by a thread that gets no
// signals: any, such as that of a child's end, is a ^C for pktgen, which then stops and says nothing.
func StartPktgen(pgctrl string) error {
	runtime.LockOSThread() // and unlocked only as it was: a thread without signals dies with its goroutine
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &old); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("block signals: %w", err)
	}
	err := os.WriteFile(pgctrl, []byte("start\n"), 0)
	if err != nil {
		err = fmt.Errorf("pktgen: start: %w", err)
	}
	if merr := unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil); merr != nil {
		return errors.Join(err, fmt.Errorf("unblock signals: %w", merr))
	}
	runtime.UnlockOSThread()
	return err
}
