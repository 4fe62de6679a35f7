// SPDX-License-Identifier: GPL-2.0

package genl

// Request is what the spec says about one request, for programs that check the
// running module against it.
type Request struct {
	Command uint8
	Name    string
	Dump    bool // may be a dump, too
	Attrs   []RequestAttr
}

// RequestAttr is one attribute that a request may carry.
type RequestAttr struct {
	Number uint16
	Name   string
	Type   string // string, u32 or u64
	// Min and Max limit the value, or the length of a string in bytes.
	Min, Max uint64
	// Refusal is the kernel's text for a value out of range.
	Refusal string
}
