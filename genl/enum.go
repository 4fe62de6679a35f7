// SPDX-License-Identifier: GPL-2.0

package genl

import (
	"fmt"
	"strings"
)

// enumString returns the name of v, or says which number has none: a newer
// module may know more names than this package.
func enumString(names []string, v uint32, attr string) string {
	if int64(v) < int64(len(names)) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("%s(%d)", attr, v)
}

func enumMarshal(names []string, v uint32, attr string) ([]byte, error) {
	return []byte(enumString(names, v, attr)), nil
}

// enumParse returns the number of the given name. Its error reads as the
// kernel's refusal does.
func enumParse(names []string, name, attr string) (uint32, error) {
	var known []string
	for i, n := range names {
		if n == "" {
			continue
		}
		if n == name {
			return uint32(i), nil
		}
		known = append(known, n)
	}
	last := len(known) - 1
	return 0, fmt.Errorf("%s: must be %s or %s", attr, strings.Join(known[:last], ", "), known[last])
}
