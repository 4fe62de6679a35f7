// SPDX-License-Identifier: GPL-2.0

package main

func renderGo(s *spec) ([]byte, error) {
	return []byte("// SPDX-License-Identifier: GPL-2.0\n\npackage genl\n"), nil
}
func renderDocs(s *spec) ([]byte, error) { return []byte("TODO\n"), nil }
