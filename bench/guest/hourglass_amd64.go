// SPDX-License-Identifier: GPL-2.0

package main

// hourglass never returns. It adds to *idle the ticks of the processor's counter that pass while it runs undisturbed: a
// turn takes 267 instructions, nearly all of which QEMU does nothing for, and one that took over 400 was interrupted,
// which costs thousands. With icount a tick is an instruction.
func hourglass(idle *uint64)
