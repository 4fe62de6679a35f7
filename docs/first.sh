# A first capture: two network namespaces, a cable between them, three pings.
ip netns add other
ip link add cable type veth peer name end netns other
ip address add 192.0.2.1/24 dev cable
ip link set cable up
ip -n other address add 192.0.2.2/24 dev end
ip -n other link set end up

ksnifctl set device_name cable family ip snaplen 96 logfile /out/first.pcapng
ksnifctl start
ip netns exec other ping -q -e 7 -c 3 -i 0.2 192.0.2.1 >/dev/null
ksnifctl stop
ksnifctl stats
tcpdump -Z root -ntr /out/first.pcapng
