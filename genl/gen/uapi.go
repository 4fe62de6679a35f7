// SPDX-License-Identifier: GPL-2.0

package main

import (
	"fmt"
	"strconv"
)

// version is what ynl-gen-c assumes where a spec has no version.
const version = 1

// renderUAPI prints what `ynl-gen-c --mode uapi --header` of linux 6.12 prints,
// byte for byte; ynl_check.sh compares the two.
func renderUAPI(s *spec) ([]byte, error) {
	w := &cWriter{}
	w.head(s, false, "YNL-GEN uapi header")
	guard := upper("_UAPI_LINUX", s.Name, "H")
	w.p("#ifndef %s\n#define %s\n", guard, guard)
	w.defines([][2]string{
		{upper(s.Name, "family_name"), strconv.Quote(s.Name)},
		{upper(s.Name, "family_version"), strconv.Itoa(version)},
	})
	w.p("")
	uapiDefinitions(w, s)
	for _, set := range s.Sets {
		first := "%s = 1,"
		w.p("enum {")
		for _, a := range set.Attrs {
			w.p("\t"+first, a.cName(s))
			first = "%s,"
		}
		uapiMax(w, upper(s.Name, "a", set.Name, "max"))
	}
	first := "%s = 1,"
	w.p("enum {")
	for _, op := range s.Operations.List {
		w.p("\t"+first, op.cName(s))
		first = "%s,"
	}
	uapiMax(w, upper(s.Name, "cmd_max"))
	var groups [][2]string
	for _, g := range s.Groups.List {
		groups = append(groups, [2]string{upper(s.Name, "mcgrp", g.Name), strconv.Quote(g.Name)})
	}
	w.defines(groups)
	w.p("\n#endif /* %s */", guard)
	return w.Bytes(), nil
}

// uapiMax ends an enum of numbers that start at 1.
func uapiMax(w *cWriter, name string) {
	w.p("\n\t__%s,\n\t%s = (__%s - 1)\n};\n", name, name, name)
}

func uapiDefinitions(w *cWriter, s *spec) {
	var consts [][2]string
	flush := func() {
		if len(consts) > 0 {
			w.defines(consts)
			w.p("")
		}
		consts = nil
	}
	for i := range s.Definitions {
		d := &s.Definitions[i]
		if d.Type == "const" {
			consts = append(consts, [2]string{upper(s.Name, d.Name), fmt.Sprint(d.Value)})
			continue
		}
		flush()
		uapiEnum(w, s, d)
	}
	flush()
}

func uapiEnum(w *cWriter, s *spec, d *definition) {
	name := lower(s.Name, d.Name)
	w.p("/**")
	w.docLine(fmt.Sprintf("enum %s - %s", name, d.Doc))
	for _, e := range d.Entries {
		w.docLine(fmt.Sprintf("@%s: %s", upper(name, e.Name), e.Doc))
	}
	w.p(" */\nenum %s {", name)
	for _, e := range d.Entries {
		w.p("\t%s,", upper(name, e.Name))
	}
	w.p("};\n")
}
