#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Compares kmod/uapi/ksnif.h with what the kernel's own generator makes of the
# spec, after it validated the spec against its schema.
#
# usage: genl/gen/ynl_check.sh DIR
#
# DIR is a linux 6.12 source tree; tools/net/ynl and Documentation/netlink are
# all that is needed of it. Needs python3-yaml and python3-jsonschema.

set -eu

[ $# -eq 1 ] || { echo "usage: $0 LINUX_SOURCE" >&2; exit 2; }
linux=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-/usr/bin/python3}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# ynl-gen-c looks for its schema one folder above the spec's and climbs until it
# meets a file MAINTAINERS, forever if there is none: hence the timeout too.
mkdir "$tmp/genl"
touch "$tmp/MAINTAINERS"
cp "$linux"/Documentation/netlink/*.yaml "$tmp/"
cp "$root/genl/ksnif.yaml" "$tmp/genl/"

timeout 60 "$python" "$linux/tools/net/ynl/ynl-gen-c.py" --mode uapi --header \
	--spec "$tmp/genl/ksnif.yaml" > "$tmp/ksnif.h"
diff -u --label ynl-gen-c --label kmod/uapi/ksnif.h "$tmp/ksnif.h" "$root/kmod/uapi/ksnif.h"
echo "kmod/uapi/ksnif.h is what ynl-gen-c prints"
