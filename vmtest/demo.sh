# SPDX-License-Identifier: GPL-2.0
# The demonstration, run in a VM by `make demo`: two network namespaces, a cable between them, four kinds of
# traffic, and ksnif, which captures what arrives in the second one.
set -eu

say() { printf '\n== %s\n' "$*"; }
# show prints a command, then runs it.
show() { printf '%s\n' "# $*"; "$@"; }

say 'two namespaces, left and right, joined by a veth pair'
for ns in left right; do ip netns add $ns; ip -n $ns link set lo up; done
ip link add cable netns left type veth peer name cable netns right
ip -n left addr add 192.0.2.1/24 dev cable
ip -n left addr add 2001:db8::1/64 dev cable nodad
ip -n right addr add 192.0.2.2/24 dev cable
ip -n right addr add 2001:db8::2/64 dev cable nodad
for ns in left right; do ip -n $ns link set cable up; done
left='ip netns exec left' right='ip netns exec right'

say 'ksnif captures in right'
show $right ksnifctl set logfile /out/demo.pcapng
show $right ksnifctl start

say 'traffic from left: ping, ping -6, TCP, UDP'
show $left ping -c 3 -i 0.2 -q 192.0.2.2
show $left ping -6 -c 3 -i 0.2 -q 2001:db8::2
$right busybox nc -l -p 9998 >/tmp/tcp &
tcp=$!
sleep 1
echo 'hello over TCP' | $left busybox nc -w 5 192.0.2.2 9998
wait $tcp
cat /tmp/tcp
# Nobody listens there, but the packet arrives all the same.
echo 'hello over UDP' >/tmp/udp
show $left bash -c 'cat /tmp/udp >/dev/udp/192.0.2.2/9999'

say 'the capture is stopped, and its books are shown'
show $right ksnifctl stop
show $right ksnifctl stats

say 'the file, as tcpdump reads it'
tcpdump -Z root -nr /out/demo.pcapng 2>/dev/null
written=$($right ksnifctl stats --json | sed -n 's/.*"written": *\([0-9]*\).*/\1/p')
found=$(tcpdump -Z root -nr /out/demo.pcapng 2>/dev/null | wc -l)
printf '\nwritten: %s packets, found in the file: %s\n' "$written" "$found"
[ "$written" = "$found" ] && [ "$found" -gt 0 ]
ip netns delete left
ip netns delete right
