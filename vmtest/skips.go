// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"fmt"
	"slices"
	"strings"
)

// Kinds of places where a test may be skipped: the host, or kernels by the first half of their names.
const (
	onHost  = "host"
	onStock = "stock" // none of the following
	onDebug = "debug"
	onKCSAN = "kcsan"
)

// allowedSkip is a test that may be skipped. Whatever else is skipped has failed.
type allowedSkip struct {
	test   string   // TestX or TestX/sub in a VM, package TestX on the host
	where  []string // kinds
	reason string   // what the reason that the test gives starts with
}

const needsDebug = "needs a debug kernel: "

// allowedSkips are all tests that may be skipped. A test that is not there any more fails a run of all tests, so that
// the list stays true; testdata/skips.golden has it once more, so that nobody makes it longer unawares.
func allowedSkips() []allowedSkip {
	stock, host := []string{onStock}, []string{onHost}
	noFaults := []string{onStock, onKCSAN} // kernels that cannot be told to fail
	return []allowedSkip{
		{"TestKUnit", stock, needsDebug},
		{"TestOrderAcrossCPUs", []string{onStock, onDebug, onKCSAN}, "needs two CPUs: "},
		{"TestOrderClockMoves", []string{onStock, onDebug, onKCSAN}, "needs two CPUs: "},
		{"TestTortureFailFunction", noFaults, needsDebug},
		{"TestTortureFailHook", noFaults, needsDebug},
		{"TestTortureFailHook", []string{onDebug}, "needs the list queue: "},
		{"TestTortureFailInit", noFaults, needsDebug},
		{"TestTortureFailLoad", noFaults, needsDebug},
		{"TestTortureFailNamespace", noFaults, needsDebug},
		{"TestTortureFailNth", noFaults, needsDebug},
		{"TestTortureMixed", stock, needsDebug},
		{"TestTortureQueueInPieces", noFaults, needsDebug},
		{"TestTortureQueueInPieces", []string{onDebug}, "needs the list queue: "},
		{"TestTortureRingOrder", []string{onStock}, needsDebug},
		{"TestTortureRingOrder", []string{onDebug, onKCSAN}, "needs "}, // the ring, or two CPUs
		{"TestTortureStopRace", stock, needsDebug},

		{"ctl TestCompletionScripts/fish", host, "fish is not installed"},
		{"ctl TestCompletionScripts/zsh", host, "zsh is not installed"},
		{"genl/gen TestHeaderIsWhatTheKernelsGeneratorPrints", host, "KSNIF_LINUX_SOURCE names no "},
		{"images TestAddProgram", host, "this machine keeps its libraries elsewhere than Debian"},
		{"images TestAptConfigStaysPrivate", host, "no apt-get on this machine"},
		{"images TestUnsignedMirrorIsRefused", host, "no apt-get on this machine"},
		{"vmtest/frontdoor TestTree/deps_and_fetch", host, "packages are missing that cannot be installed"},
		{"vmtest/frontdoor TestTree/options", host, "kconfig-mconf is not installed"},
	}
}

// kernelKind is the kind of a kernel's name.
func kernelKind(kernel string) string {
	for _, kind := range []string{onDebug, onKCSAN} {
		if strings.HasPrefix(kernel, kind+"-") {
			return kind
		}
	}
	return onStock
}

// skipPolicy is what of the list holds in one place.
type skipPolicy struct {
	kind string
	list []allowedSkip
}

// complaint says why a skip is a failure; nothing if it is none.
func (p skipPolicy) complaint(test, reason string) string {
	if reason == "" {
		return test + " was skipped without a reason"
	}
	for _, a := range p.list {
		if a.test == test && slices.Contains(a.where, p.kind) && strings.HasPrefix(reason, a.reason) {
			return ""
		}
	}
	return fmt.Sprintf("%s was skipped, which vmtest/skips.go does not allow here: %s", test, reason)
}

// stale returns complaints of tests that the list has for the host, or for VMs, and that are not among those of a run of
// all tests there.
func (p skipPolicy) stale(tests []string) []string {
	var list []string
	for _, a := range p.list {
		here := slices.Contains(a.where, onHost) == (p.kind == onHost)
		if here && !slices.Contains(tests, topLevel(a.test)) {
			list = append(list, "vmtest/skips.go has "+a.test+", and there is no such test")
		}
	}
	return list
}

// topLevel cuts off the subtest. A package's name may have slashes, too.
func topLevel(name string) string {
	pkg, test, ok := strings.Cut(name, " ")
	if !ok {
		pkg, test = "", name
	}
	test, _, _ = strings.Cut(test, "/")
	return strings.TrimSpace(pkg + " " + test)
}
