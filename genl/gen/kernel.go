// SPDX-License-Identifier: GPL-2.0

package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// The parts of the module's files that do not depend on the spec.
var (
	//go:embed attr.h.txt
	attrHeader string
	//go:embed attr.c.txt
	attrSource string
)

// renderKernelHeader prints kmod/genl_gen.h.
func renderKernelHeader(s *spec) ([]byte, error) {
	w := &cWriter{}
	w.head(s, false, "by genl/gen: run make gen")
	guard := upper("_", s.Name, "genl_gen_h")[1:]
	w.p("#ifndef %s\n#define %s\n", guard, guard)
	w.p("#include <net/genetlink.h>\n#include <net/netlink.h>\n")
	w.p("#include \"uapi/%s.h\"\n", s.Name)
	w.p("%s", attrHeader)
	w.p("/* Indexed by attribute number; entry 0 is empty. */")
	for _, set := range s.Sets {
		w.p("extern const struct ksnif_attr %s[%s + 1];", attrTable(s, set), upper(s.Name, "a", set.Name, "max"))
	}
	w.p("\n/* Handlers, written by hand. */")
	declared := map[string]bool{}
	for _, op := range s.requests() {
		if op.Do != nil && !declared[handler(s, op, "doit")] {
			declared[handler(s, op, "doit")] = true
			w.p("int %s(struct sk_buff *skb, struct genl_info *info);", handler(s, op, "doit"))
		}
		if op.Dump != nil {
			w.p("int %s(struct sk_buff *skb, struct netlink_callback *cb);", handler(s, op, "dumpit"))
		}
	}
	w.p("\n/* Numbers of the multicast groups, as genlmsg_multicast_netns() wants them. */\nenum {")
	for _, g := range s.Groups.List {
		w.p("\t%s,", upper(s.Name, "nlgrp", g.Name))
	}
	w.p("};\n\n/* For .ops and .mcgrps of the family; ARRAY_SIZE() works on both. */")
	w.p("extern const struct genl_ops %s_nl_ops[%d];", lower(s.Name), len(s.requests()))
	w.p("extern const struct genl_multicast_group %s_nl_mcgrps[%d];", lower(s.Name), len(s.Groups.List))
	w.p("\n#endif /* %s */", guard)
	return w.Bytes(), nil
}

// renderKernelSource prints kmod/genl_gen.c. It uses struct genl_ops, which
// linux 6.1 and 6.12 share; ynl-gen-c's genl_split_ops is new in 6.2.
func renderKernelSource(s *spec) ([]byte, error) {
	w := &cWriter{}
	w.head(s, true, "by genl/gen: run make gen")
	w.p("#include <linux/bitops.h>\n#include <linux/kernel.h>\n#include <linux/string.h>\n")
	w.p("#include \"genl_gen.h\"\n")
	for i := range s.Definitions {
		if d := &s.Definitions[i]; d.Type == "enum" {
			w.p("static const char * const %s[] = {", enumNames(s, d))
			for _, e := range d.Entries {
				w.p("\t[%s] = \"%s\",", upper(s.Name, d.Name, e.Name), e.Name)
			}
			w.p("};\n")
		}
	}
	for _, set := range s.Sets {
		kernelTable(w, s, set)
	}
	w.p("%s", attrSource)
	for _, set := range s.Sets {
		head := "static int " + validator(s, set) + "("
		w.p("%sconst struct nlattr *nla,\n%sstruct netlink_ext_ack *extack)\n{", head, indent(len(head)))
		w.p("\treturn ksnif_attr_validate(&%s[nla_type(nla)], nla, extack);\n}\n", attrTable(s, set))
	}
	for _, op := range s.requests() {
		kernelPolicy(w, s, op)
	}
	kernelOps(w, s)
	return w.Bytes(), nil
}

func kernelTable(w *cWriter, s *spec, set *attrSet) {
	w.p("const struct ksnif_attr %s[%s + 1] = {", attrTable(s, set), upper(s.Name, "a", set.Name, "max"))
	for _, a := range set.Attrs {
		w.p("\t[%s] = {", a.cName(s))
		w.p("\t\t.name = \"%s\",", a.Name)
		w.p("\t\t.type = %s,", attrType(a))
		if a.enum != nil {
			w.p("\t\t.names = %s,", enumNames(s, a.enum))
		}
		if a.requested {
			w.p("\t\t.min = %dULL,\n\t\t.max = %dULL,", a.min, a.max)
			w.p("\t\t.refusal = \"%s\",", a.refusal())
			w.p("\t\t.twice = \"%s: given twice\",", a.Name)
			w.p("\t\t.busy = \"%s: cannot change while running\",", a.Name)
		} else if a.enum != nil {
			w.p("\t\t.max = %dULL,", a.max)
		}
		w.p("\t},")
	}
	w.p("};\n")
}

// kernelPolicy prints a request's policy. Numbers have no validation function:
// when the core reports or dumps such a policy it reads the function's address
// as a range, and warns. Their range is the handler's to check.
func kernelPolicy(w *cWriter, s *spec, op *operation) {
	attrs := op.request()
	if len(attrs) == 0 {
		return
	}
	w.p("/* %s */", op.cName(s))
	w.p("static const struct nla_policy %s[%s + 1] = {", policy(s, op), attrs[len(attrs)-1].cName(s))
	for _, a := range attrs {
		if a.Type == "string" {
			w.p("\t[%s] =\n\t\tNLA_POLICY_VALIDATE_FN(NLA_NUL_STRING, %s),", a.cName(s), validator(s, a.set))
			continue
		}
		w.p("\t[%s] = { .type = NLA_%s },", a.cName(s), strings.ToUpper(a.Type))
	}
	w.p("};\n")
}

func kernelOps(w *cWriter, s *spec) {
	w.p("const struct genl_ops %s_nl_ops[%d] = {", lower(s.Name), len(s.requests()))
	for _, op := range s.requests() {
		w.p("\t{\n\t\t.cmd\t\t= %s,", op.cName(s))
		if op.Do != nil {
			w.p("\t\t.doit\t\t= %s,", handler(s, op, "doit"))
		}
		if op.Dump != nil {
			w.p("\t\t.dumpit\t\t= %s,", handler(s, op, "dumpit"))
		}
		if attrs := op.request(); len(attrs) > 0 {
			w.p("\t\t.policy\t\t= %s,", policy(s, op))
			w.p("\t\t.maxattr\t= %s,", attrs[len(attrs)-1].cName(s))
		}
		w.p("\t\t.flags\t\t= GENL_ADMIN_PERM,\n\t},")
	}
	w.p("};\n")
	w.p("const struct genl_multicast_group %s_nl_mcgrps[%d] = {", lower(s.Name), len(s.Groups.List))
	for _, g := range s.Groups.List {
		w.p("\t[%s] = {\n\t\t.name\t= %s,", upper(s.Name, "nlgrp", g.Name), upper(s.Name, "mcgrp", g.Name))
		if len(g.Flags) > 0 {
			w.p("\t\t.flags\t= GENL_MCAST_CAP_NET_ADMIN,")
		}
		w.p("\t},")
	}
	w.p("};")
}

func attrType(a *attr) string {
	if a.enum != nil {
		return "KSNIF_ATTR_ENUM"
	}
	return "KSNIF_ATTR_" + strings.ToUpper(a.Type)
}

func attrTable(s *spec, set *attrSet) string { return lower(s.Name, set.Name, "attrs") }
func validator(s *spec, set *attrSet) string { return lower(s.Name, set.Name, "validate") }
func enumNames(s *spec, d *definition) string {
	return lower(s.Name, d.Name, "names")
}
func policy(s *spec, op *operation) string { return lower(s.Name, op.Name, "nl_policy") }

// handler names a function that handles requests. Those which have nothing to say but what is to be done share one.
func handler(s *spec, op *operation, kind string) string {
	name := op.Name
	if kind == "doit" && op.Do.Reply == nil && slices.Equal(op.Do.Request.Attributes, []string{"name"}) {
		name = "command"
	}
	return fmt.Sprintf("%s_nl_%s_%s", lower(s.Name), lower(name), kind)
}
