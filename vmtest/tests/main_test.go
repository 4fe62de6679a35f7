// SPDX-License-Identifier: GPL-2.0

// Package tests has the tests that run in the VM. `make vmtest` runs each of them there in a process of its own.
package tests

import (
	"testing"

	"ksnif/vmtest/guest"
)

func TestMain(m *testing.M) { guest.Main(m) }
