// SPDX-License-Identifier: GPL-2.0

// Ksnifctl controls ksnif, the packet capture inside the kernel.
package main

import (
	"context"
	"os"

	"ksnif/ctl"
)

// version is set by the build with -ldflags "-X main.version=…".
var version = "0.1.0"

func main() {
	os.Exit(ctl.Main(context.Background(), ctl.System(os.Args[1:], version)))
}
