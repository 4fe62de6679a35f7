// SPDX-License-Identifier: GPL-2.0

package ctl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// rows are lines "name  value" with the values in one column.
type rows struct {
	names, values []string
}

func (r *rows) add(name, value string) {
	r.names = append(r.names, name)
	r.values = append(r.values, value)
}

// align writes values that follow each other from the same column.
func (r *rows) align() []byte {
	width := 0
	for _, n := range r.names {
		width = max(width, len(n))
	}
	var b bytes.Buffer
	for i, n := range r.names {
		fmt.Fprintf(&b, "%-*s  %s\n", width, n, r.values[i])
	}
	return b.Bytes()
}

// object is a JSON object that keeps its keys in the order they were added.
type object struct {
	keys   []string
	values []any
}

func (o *object) add(key string, value any) {
	o.keys = append(o.keys, key)
	o.values = append(o.values, value)
}

// MarshalJSON writes the keys in order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, k := range o.keys {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshal(k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		v, err := marshal(o.values[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshal leaves <, > and & as they are: nothing here goes into a web page.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// json prints one object on one line.
func (a *app) json(v any) error {
	line, err := marshal(v)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	a.out.Write(append(line, '\n'))
	return nil
}

func jsonFlag(cmd *cobra.Command, p *bool) {
	cmd.Flags().BoolVar(p, "json", false, "print JSON")
}

// errnoObject is an errno in JSON.
func errnoObject(e unix.Errno) object {
	var o object
	o.add("number", uint32(e))
	o.add("name", unix.ErrnoName(e))
	return o
}

// errnoWords is an errno for a person.
func errnoWords(e unix.Errno) string {
	if e == 0 {
		return "none"
	}
	name := unix.ErrnoName(e)
	if name == "" {
		name = strconv.Itoa(int(e))
	}
	return name + " (" + e.Error() + ")"
}

// visible quotes a string only if it would break its line.
func visible(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return strconv.Quote(s)
	}
	return s
}
