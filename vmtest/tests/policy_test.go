// SPDX-License-Identifier: GPL-2.0

package tests

import (
	"encoding/binary"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"ksnif/genl"
)

// Flags of an operation, from linux/genetlink.h.
const (
	opAdminPerm = 0x01
	opDo        = 0x02
	opDump      = 0x04
	opHasPolicy = 0x08
)

// controlAttrs asks the controller of generic netlink about the family and calls fn for each attribute of the answers.
func controlAttrs(t *testing.T, raw *rawConn, command uint8, flags netlink.HeaderFlags, fn func(ad *netlink.AttributeDecoder)) {
	t.Helper()
	data := append([]byte{command, 2, 0, 0}, attr(unix.CTRL_ATTR_FAMILY_ID, binary.NativeEndian.AppendUint16(nil, raw.family.ID))...)
	messages, err := raw.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.GENL_ID_CTRL, Flags: netlink.Request | flags}, Data: data,
	})
	require.NoError(t, err)
	require.NotEmpty(t, messages)
	for _, m := range messages {
		require.GreaterOrEqual(t, len(m.Data), 4)
		ad, err := netlink.NewAttributeDecoder(m.Data[4:])
		require.NoError(t, err)
		for ad.Next() {
			fn(ad)
		}
		require.NoError(t, ad.Err())
	}
}

// each calls fn for the attributes inside of the one that ad is at.
func each(ad *netlink.AttributeDecoder, fn func(ad *netlink.AttributeDecoder)) {
	ad.Nested(func(inner *netlink.AttributeDecoder) error {
		for inner.Next() {
			fn(inner)
		}
		return nil
	})
}

// The family has the spec's name, version, operations and group, and every operation needs the privilege.
func TestFamilyIsTheSpecs(t *testing.T) {
	p := newPlace(t)
	var name string
	var version uint32
	ops, groups := map[uint32]uint32{}, []string{}
	controlAttrs(t, p.raw, unix.CTRL_CMD_GETFAMILY, 0, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.CTRL_ATTR_FAMILY_NAME:
			name = ad.String()
		case unix.CTRL_ATTR_VERSION:
			version = ad.Uint32()
		case unix.CTRL_ATTR_HDRSIZE:
			assert.Zero(t, ad.Uint32(), "size of a header of the family's own")
		case unix.CTRL_ATTR_OPS:
			each(ad, func(op *netlink.AttributeDecoder) {
				var id, flags uint32
				each(op, func(a *netlink.AttributeDecoder) {
					switch a.Type() {
					case unix.CTRL_ATTR_OP_ID:
						id = a.Uint32()
					case unix.CTRL_ATTR_OP_FLAGS:
						flags = a.Uint32()
					}
				})
				ops[id] = flags
			})
		case unix.CTRL_ATTR_MCAST_GROUPS:
			each(ad, func(group *netlink.AttributeDecoder) {
				each(group, func(a *netlink.AttributeDecoder) {
					if a.Type() == unix.CTRL_ATTR_MCAST_GRP_NAME {
						groups = append(groups, a.String())
					}
				})
			})
		}
	})
	assert.Equal(t, genl.FamilyName, name)
	assert.EqualValues(t, genl.FamilyVersion, version)
	assert.Equal(t, []string{genl.GroupEvents}, groups)
	want := map[uint32]uint32{}
	for _, r := range genl.Requests() {
		flags := uint32(opAdminPerm | opDo | opHasPolicy)
		if r.Dump {
			flags |= opDump
		}
		want[uint32(r.Command)] = flags
	}
	assert.Equal(t, want, ops)
}

// livePolicy is what the kernel enforces: the type of each attribute of each command, and of its dump.
type livePolicy struct{ do, dump map[uint16]uint32 }

func readPolicies(t *testing.T, raw *rawConn) map[uint16]livePolicy {
	t.Helper()
	type index struct{ do, dump *uint32 }
	indexes, policies := map[uint16]index{}, map[uint32]map[uint16]uint32{}
	controlAttrs(t, raw, unix.CTRL_CMD_GETPOLICY, netlink.Dump, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.CTRL_ATTR_OP_POLICY:
			each(ad, func(op *netlink.AttributeDecoder) {
				i, id := index{}, op.Type()
				each(op, func(a *netlink.AttributeDecoder) {
					switch a.Type() {
					case unix.CTRL_ATTR_POLICY_DO:
						i.do = ptr(a.Uint32())
					case unix.CTRL_ATTR_POLICY_DUMP:
						i.dump = ptr(a.Uint32())
					}
				})
				indexes[id] = i
			})
		case unix.CTRL_ATTR_POLICY:
			each(ad, func(policy *netlink.AttributeDecoder) {
				number := uint32(policy.Type())
				if policies[number] == nil {
					policies[number] = map[uint16]uint32{}
				}
				each(policy, func(a *netlink.AttributeDecoder) {
					id := a.Type()
					each(a, func(what *netlink.AttributeDecoder) {
						if what.Type() == unix.NL_POLICY_TYPE_ATTR_TYPE {
							policies[number][id] = what.Uint32()
						}
					})
				})
			})
		}
	})
	live := map[uint16]livePolicy{}
	for id, i := range indexes {
		var l livePolicy
		if i.do != nil {
			l.do = policies[*i.do]
		}
		if i.dump != nil {
			l.dump = policies[*i.dump]
		}
		live[id] = l
	}
	return live
}

// The running module's policy, which anybody may ask for, is that of the spec: each request takes the attributes listed
// there, of the types listed there, and no others.
func TestPolicyIsTheSpecs(t *testing.T) {
	types := map[string]uint32{
		"string": unix.NL_ATTR_TYPE_NUL_STRING, "u32": unix.NL_ATTR_TYPE_U32, "u64": unix.NL_ATTR_TYPE_U64,
	}
	want := map[uint16]livePolicy{}
	for _, r := range genl.Requests() {
		l := livePolicy{do: map[uint16]uint32{}}
		for _, a := range r.Attrs {
			require.Contains(t, types, a.Type)
			l.do[a.Number] = types[a.Type]
		}
		if r.Dump {
			l.dump = l.do
		}
		want[uint16(r.Command)] = l
	}
	p := newPlace(t)
	assert.Equal(t, want, readPolicies(t, p.raw))
	require.NoError(t, person{uid: anyUser}.do(p, func() error {
		raw, err := dialRaw()
		if err != nil {
			return err
		}
		defer raw.Close()
		assert.Equal(t, want, readPolicies(t, raw), "asked for by uid %d", anyUser)
		return nil
	}))
}
