// SPDX-License-Identifier: GPL-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// spec is the part of the kernel's netlink spec language (the schema
// Documentation/netlink/genetlink.yaml of linux 6.12) that ksnif uses. Keys
// outside it are an error, so that nothing is silently left out.
type spec struct {
	Name        string       `yaml:"name"`
	Protocol    string       `yaml:"protocol"`
	Doc         string       `yaml:"doc"`
	Definitions []definition `yaml:"definitions"`
	Sets        []*attrSet   `yaml:"attribute-sets"`
	Operations  struct {
		List []*operation `yaml:"list"`
	} `yaml:"operations"`
	Groups struct {
		List []group `yaml:"list"`
	} `yaml:"mcast-groups"`

	license string
}

type definition struct {
	Type    string  `yaml:"type"` // const or enum
	Name    string  `yaml:"name"`
	Doc     string  `yaml:"doc"`
	Value   uint64  `yaml:"value"`
	Entries []entry `yaml:"entries"`
}

type entry struct {
	Name string `yaml:"name"`
	Doc  string `yaml:"doc"`
}

type attrSet struct {
	Name  string  `yaml:"name"`
	Doc   string  `yaml:"doc"`
	Attrs []*attr `yaml:"attributes"`
}

type attr struct {
	Name   string `yaml:"name"`
	Type   string `yaml:"type"` // string, u32 or u64
	Enum   string `yaml:"enum"`
	Doc    string `yaml:"doc"`
	Checks checks `yaml:"checks"`

	set       *attrSet
	number    int
	enum      *definition // of Enum
	min, max  uint64      // value, or length of a string in bytes
	requested bool        // some request carries it
}

// checks holds numbers as written, since an absent one differs from 0.
type checks struct {
	Min    *uint64 `yaml:"min"`
	Max    *uint64 `yaml:"max"`
	MinLen string  `yaml:"min-len"`
	MaxLen string  `yaml:"max-len"`
}

type operation struct {
	Name    string     `yaml:"name"`
	Doc     string     `yaml:"doc"`
	Set     string     `yaml:"attribute-set"`
	Flags   []string   `yaml:"flags"`
	Do      *execution `yaml:"do"`
	Dump    *execution `yaml:"dump"`
	Event   *message   `yaml:"event"`
	MCGroup string     `yaml:"mcgrp"`

	number int
	set    *attrSet
}

type execution struct {
	Request *message `yaml:"request"`
	Reply   *message `yaml:"reply"`
}

type message struct {
	Attributes []string `yaml:"attributes"`
}

type group struct {
	Name  string   `yaml:"name"`
	Flags []string `yaml:"flags"`
}

const (
	licensePrefix = "# SPDX-License-Identifier: "
	maxU32        = 1<<32 - 1
	maxU64        = 1<<64 - 1
)

// loadSpec reads the spec, numbers its parts and checks it.
func loadSpec(path string) (*spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := parseSpec(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func parseSpec(data []byte) (*spec, error) {
	first, _, _ := strings.Cut(string(data), "\n")
	s := &spec{license: strings.TrimPrefix(first, licensePrefix)}
	if s.license == first {
		return nil, fmt.Errorf("the first line is no SPDX licence line")
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(s); err != nil {
		return nil, err
	}
	if s.Protocol != "genetlink" {
		return nil, fmt.Errorf("protocol %q: only genetlink is supported", s.Protocol)
	}
	return s, s.resolve()
}

// find returns the definition of that name and type, or nil.
func (s *spec) find(typ, name string) *definition {
	for i := range s.Definitions {
		if d := &s.Definitions[i]; d.Type == typ && d.Name == name {
			return d
		}
	}
	return nil
}

func (s *spec) set(name string) *attrSet {
	for _, set := range s.Sets {
		if set.Name == name {
			return set
		}
	}
	return nil
}

// attr returns the set's attribute of that name, or nil.
func (set *attrSet) attr(name string) *attr {
	for _, a := range set.Attrs {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// requests returns the operations that a program may send.
func (s *spec) requests() []*operation {
	return s.filter(func(op *operation) bool { return op.Event == nil })
}

// events returns the messages that the module sends by itself.
func (s *spec) events() []*operation {
	return s.filter(func(op *operation) bool { return op.Event != nil })
}

func (s *spec) filter(keep func(*operation) bool) []*operation {
	var ops []*operation
	for _, op := range s.Operations.List {
		if keep(op) {
			ops = append(ops, op)
		}
	}
	return ops
}

// request returns the attributes that the operation's requests may carry. Do
// and dump share them, since struct genl_ops has room for one policy.
func (op *operation) request() []*attr {
	for _, e := range []*execution{op.Do, op.Dump} {
		if e != nil {
			return op.attrs(e.Request)
		}
	}
	return nil
}

// attrs returns the message's attributes in the order of their numbers.
func (op *operation) attrs(m *message) []*attr {
	if m == nil {
		return nil
	}
	var list []*attr
	for _, a := range op.set.Attrs {
		for _, name := range m.Attributes {
			if a.Name == name {
				list = append(list, a)
			}
		}
	}
	return list
}
