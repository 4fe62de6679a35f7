// SPDX-License-Identifier: GPL-2.0

// Package genl controls ksnif, the packet capture inside the kernel, over
// generic netlink.
//
// A Client speaks to the capture of the network namespace that the calling
// thread is in when New is called. Every command needs CAP_NET_ADMIN in the
// initial user namespace. A refusal is an *Error, which carries the kernel's
// own words.
//
// The numbers and names come from ksnif.yaml through the generator in gen.
package genl
