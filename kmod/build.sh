#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# build.sh KDIR OUT CONFIG [MAKE-ARGUMENT...]
#
# Builds the module for the kernel of KDIR in the folder OUT, with the queue
# CONFIG (list or ring). The sources are copied to OUT if their content
# differs: nothing in this folder is touched, builds for two kernels never mix,
# and what has not changed is not built again.
#
# KSNIF_OPTIONS in the environment names more options of Kconfig to set, such as
# KSNIF_KUNIT_TEST, separated by spaces.
set -euo pipefail

(($# >= 3)) || { echo "usage: build.sh KDIR OUT CONFIG [MAKE-ARGUMENT...]" >&2; exit 2; }
kdir=$1 out=$2 config=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")

case $config in
list) queue=LIST_QUEUE ;;
ring) queue=RING_BUFFER ;;
*) echo "CONFIG=$config: must be list or ring" >&2; exit 2 ;;
esac
release=$(cat "$kdir/include/config/kernel.release" 2>/dev/null) || {
	echo "KDIR=$kdir: no kernel build tree (install the headers package, or set KDIR)" >&2
	exit 1
}

# A make above us would hand down its flags and a jobserver that we do not have.
unset MAKEFLAGS MFLAGS MAKELEVEL

# put FILE: replace FILE by standard input, unless it holds just that.
put() {
	local new="$1.new"
	cat >"$new"
	if cmp -s "$new" "$1"; then rm "$new"; else mv "$new" "$1"; fi
}

# choices prints the user's configuration with the queue that was asked for.
choices() {
	local option
	grep -sv 'CONFIG_KSNIF_\(LIST_QUEUE\|RING_BUFFER\)\b' "$top/.config" || true
	echo "CONFIG_KSNIF_$queue=y"
	for option in ${KSNIF_OPTIONS-}; do echo "CONFIG_$option=y"; done
}

# sources lists what the build needs, relative to this folder.
sources() {
	(cd "$here" && find . -name config -prune -o \
		\( -name '*.[ch]' -o -name Kbuild -o -name Makefile \) \
		! -name '*.mod.c' -printf '%P\n')
}

# copy brings OUT up to date; a source that is gone here must go there too.
copy() {
	local file
	sources | while read -r file; do
		cmp -s "$here/$file" "$out/$file" || {
			mkdir -p "$(dirname "$out/$file")"
			cp "$here/$file" "$out/$file"
		}
	done
	(cd "$out" && find . -name config -prune -o \
		-name '*.[ch]' ! -name '*.mod.c' -printf '%P\n') |
		while read -r file; do
			[[ -e $here/$file ]] || rm -f "$out/$file" "$out/${file%.c}.o"
		done
	put "$out/Kconfig" <"$top/Kconfig"
	choices | put "$out/.config"
}

# compiler: Debian's headers name the compiler of their kernel, such as gcc-12;
# other systems may have it only as gcc.
compiler() {
	local want
	want=$(grep -oE 'gcc-[0-9]+' "$kdir/.kernelvariables" 2>/dev/null | head -n 1) || true
	if [[ -n $want ]] && ! command -v "$want" >/dev/null; then echo CC=gcc; fi
}

fresh() {
	[[ -e $out/ksnif.ko ]] && [[ -z $(find "$out" -newer "$out/ksnif.ko" \
		\( -name '*.[ch]' -o -name Kbuild -o -name Makefile -o -name Kconfig \
		-o -name .config -o -name .built \) ! -path "$out/config/*" \
		-print -quit) ]]
}

mkdir -p "$out"
out=$(cd "$out" && pwd)
exec 9>"$out/.lock"
flock 9

# Objects of another kernel, or made with other flags, are of no use.
built="$release $(realpath "$kdir") $*"
if [[ $(cat "$out/.built" 2>/dev/null) != "$built" ]]; then
	find "$out" -mindepth 1 ! -name .lock -delete
fi
copy
if ! fresh; then
	rm -f "$out/ksnif.ko"
	# shellcheck disable=SC2046 # no word at all is one of its answers
	make -C "$out" -j"$(nproc)" --no-print-directory KDIR="$kdir" $(compiler) "$@"
	echo "$built" >"$out/.built"
	touch "$out/ksnif.ko"
fi
