// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// resolve numbers attributes and operations, follows the spec's references and
// refuses what the generator cannot express.
func (s *spec) resolve() error {
	for _, d := range s.Definitions {
		if d.Type != "const" && d.Type != "enum" {
			return fmt.Errorf("definition %s: type %q is not supported", d.Name, d.Type)
		}
		if d.Type == "enum" && len(d.Entries) == 0 {
			return fmt.Errorf("definition %s: an enum without entries", d.Name)
		}
	}
	if slices.Contains(s.Sets, nil) || slices.Contains(s.Operations.List, nil) {
		return fmt.Errorf("an attribute set or operation is empty")
	}
	for _, set := range s.Sets {
		if slices.Contains(set.Attrs, nil) {
			return fmt.Errorf("attribute set %s: an attribute is empty", set.Name)
		}
		for i, a := range set.Attrs {
			a.set, a.number = set, i+1
			if err := s.resolveAttr(a); err != nil {
				return fmt.Errorf("attribute %s of %s: %w", a.Name, set.Name, err)
			}
		}
	}
	for i, op := range s.Operations.List {
		op.number = i + 1
		if err := s.resolveOp(op); err != nil {
			return fmt.Errorf("operation %s: %w", op.Name, err)
		}
	}
	return nil
}

func (s *spec) resolveAttr(a *attr) error {
	switch {
	case a.Enum != "":
		if a.enum = s.find("enum", a.Enum); a.enum == nil || a.Type != "u32" {
			return fmt.Errorf("enum %q is not defined, or its type is not u32", a.Enum)
		}
		a.max = uint64(len(a.enum.Entries) - 1)
		return nil
	case a.Type == "string":
		return s.resolveLength(a)
	case a.Type == "u32":
		a.max = maxU32
	case a.Type == "u64":
		a.max = maxU64
	default:
		return fmt.Errorf("type %q is not supported", a.Type)
	}
	if a.Checks.Min != nil {
		a.min = *a.Checks.Min
	}
	if a.Checks.Max != nil {
		a.max = *a.Checks.Max
	}
	return s.agree(a)
}

// agree compares a number's literal range with the constants NAME-min and
// NAME-max, for which min and max have no spelling in linux 6.12's language.
func (s *spec) agree(a *attr) error {
	base := strings.ReplaceAll(a.Name, "_", "-")
	if d := s.find("const", base+"-min"); d != nil && d.Value != a.min {
		return fmt.Errorf("min is %d, but constant %s is %d", a.min, d.Name, d.Value)
	}
	if d := s.find("const", base+"-max"); d != nil && d.Value != a.max {
		return fmt.Errorf("max is %d, but constant %s is %d", a.max, d.Name, d.Value)
	}
	return nil
}

func (s *spec) resolveLength(a *attr) error {
	var err error
	if a.min, err = s.length(a.Checks.MinLen, 0); err != nil {
		return err
	}
	a.max, err = s.length(a.Checks.MaxLen, maxU32)
	return err
}

// length resolves a number or the name of a constant.
func (s *spec) length(text string, absent uint64) (uint64, error) {
	if text == "" {
		return absent, nil
	}
	if d := s.find("const", text); d != nil {
		return d.Value, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is neither a number nor a constant", text)
	}
	return n, nil
}

func (s *spec) resolveOp(op *operation) error {
	if op.set = s.set(op.Set); op.set == nil {
		return fmt.Errorf("attribute set %q is not defined", op.Set)
	}
	if (op.Event != nil) == (op.Do != nil || op.Dump != nil) {
		return fmt.Errorf("must have either event or do and dump")
	}
	if op.Event != nil && !slices.ContainsFunc(s.Groups.List, func(g group) bool { return g.Name == op.MCGroup }) {
		return fmt.Errorf("multicast group %q is not defined", op.MCGroup)
	}
	if op.Event == nil && !slices.Equal(op.Flags, []string{"admin-perm"}) {
		return fmt.Errorf("flags must be [ admin-perm ]")
	}
	for _, m := range op.messages() {
		for _, name := range m.Attributes {
			if op.set.attr(name) == nil {
				return fmt.Errorf("attribute %q is not in set %s", name, op.Set)
			}
		}
	}
	if op.Do != nil && op.Dump != nil && !slices.Equal(op.attrs(op.Do.Request), op.attrs(op.Dump.Request)) {
		return fmt.Errorf("do and dump must have the same request")
	}
	for _, a := range op.request() {
		a.requested = true
	}
	return nil
}

// messages returns all messages of the operation.
func (op *operation) messages() []*message {
	all := []*message{op.Event}
	for _, e := range []*execution{op.Do, op.Dump} {
		if e != nil {
			all = append(all, e.Request, e.Reply)
		}
	}
	return slices.DeleteFunc(all, func(m *message) bool { return m == nil })
}

// refusal is the text that a value out of range is refused with; the module
// and the reference page say the same.
func (a *attr) refusal() string {
	if a.Type == "string" {
		return fmt.Sprintf("%s: must be %d..%d bytes", a.Name, a.min, a.max)
	}
	if a.enum == nil {
		return fmt.Sprintf("%s: must be %d..%d", a.Name, a.min, a.max)
	}
	var names []string
	for _, e := range a.enum.Entries {
		names = append(names, e.Name)
	}
	last := len(names) - 1
	if last == 0 {
		return fmt.Sprintf("%s: must be %s", a.Name, names[0])
	}
	return fmt.Sprintf("%s: must be %s or %s", a.Name, strings.Join(names[:last], ", "), names[last])
}
