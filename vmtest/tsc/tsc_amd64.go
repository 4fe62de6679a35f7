// SPDX-License-Identifier: GPL-2.0

// Package tsc reads the processor's time stamp counter.
package tsc

// Read reads this processor's time stamp counter. Under TCG that of the host is the guest's, too; with icount the guest's
// counts its instructions.
func Read() uint64
