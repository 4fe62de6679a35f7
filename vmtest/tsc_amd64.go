// SPDX-License-Identifier: GPL-2.0

package vmtest

// readTSC reads this processor's time stamp counter, which under TCG is the guest's, too.
func readTSC() uint64
