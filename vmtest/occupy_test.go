// SPDX-License-Identifier: GPL-2.0

package vmtest

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOccupy(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vmtest", "6.1-list")
	leave, err := occupy(dir)
	require.NoError(t, err)
	_, err = occupy(dir)
	require.ErrorContains(t, err, "another run is at work in "+dir)
	leave()
	leave, err = occupy(dir)
	require.NoError(t, err, "it is free again")
	leave()
}
