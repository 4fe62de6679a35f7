// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"bufio"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestSave has a machine saved whose QEMU answers as it is told.
func TestSave(t *testing.T) {
	const fine = `{"return": {}}`
	greeting := `{"QMP": {"version": {}}}` + "\n" + fine
	for name, c := range map[string]struct {
		answers []string // to each command
		want    string   // error
	}{
		"it takes a while": {[]string{
			greeting, fine, fine, `{"event": "STOP"}` + "\n" + `{"return": {"status": "active"}}`, `{"return": {"status": "completed"}}`}, ""},
		"a command is refused": {[]string{greeting, `{"error": {"class": "GenericError", "desc": "no such thing"}}`},
			"QEMU: migrate-set-parameters: no such thing"},
		"the disk is full": {[]string{greeting, fine, fine, `{"return": {"status": "failed", "error-desc": "No space left"}}`},
			"QEMU did not write its state: No space left"},
		"QEMU dies": {[]string{greeting, fine}, "QEMU: migrate: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer ours.Close()
			go func() {
				defer theirs.Close()
				commands := bufio.NewScanner(theirs)
				for _, answer := range c.answers {
					if !commands.Scan() {
						return
					}
					fmt.Fprintln(theirs, answer)
				}
				commands.Scan()
			}()
			err := (&process{monitor: ours}).save("/tmp/it's")
			if c.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, c.want)
		})
	}
}
