#!/bin/bash
# Install what is missing, build a release, and make this machine a network of its own:
#   ./start.sh        root, controller, first network; prints an invitation for other machines
#   ./start.sh demo   two more nodes in network namespaces join it and talk
# A second run is quick and changes nothing.
set -euo pipefail
cd "$(dirname "$0")"

say() { printf '\n== %s\n' "$*"; }

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "start.sh needs root (TAP device) or sudo" >&2; exit 1; }
    exec sudo --preserve-env=PANLAN_HOME "$0" "$@"
fi

tools/install-packages build
if [ ! -f build/build.ninja ]; then
    meson setup build -Dbuildtype=release -Db_lto=true -Dtests=false >build.log 2>&1 || { tail -n 20 build.log; exit 1; }
fi
ninja -C build >build.log 2>&1 || { grep -E 'error|FAILED' build.log | head -n 20; exit 1; }
panlan=$PWD/build/src/panlan
home=${PANLAN_HOME:-/var/lib/panlan}

if [ ! -c /dev/net/tun ]; then
    mkdir -p /dev/net && mknod /dev/net/tun c 10 200 && chmod 600 /dev/net/tun || true
fi

say "panlan up"
"$panlan" --home "$home" up
[ "${1:-}" = demo ] || exit 0

# ---- demo: two machines of air, on a switch of their own ----

tools/install-packages demo
bridge=panlan-demo0
gateway=10.246.91.1
work=$(mktemp -d /tmp/panlan-demo.XXXXXX)
cleanup() {
    for ns in panlan-demo1 panlan-demo2; do
        [ ! -d "$work/$ns" ] || ip netns exec $ns "$panlan" --home "$work/$ns" down >/dev/null || true
    done
    ip netns del panlan-demo1 2>/dev/null || true
    ip netns del panlan-demo2 2>/dev/null || true
    ip link del $bridge 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

say "two more nodes in namespaces panlan-demo1 and panlan-demo2"
ip link add $bridge type bridge
ip addr add $gateway/24 dev $bridge
ip link set $bridge up
network=$("$panlan" --home "$home" net list | grep -oE '^[0-9a-f]{16}' | head -n 1)
invitation=$("$panlan" --home "$home" invite "$network" --uses 2 --expires 10m)
for i in 1 2; do
    ns=panlan-demo$i
    ip netns add $ns
    ip link add pl-demo$i type veth peer name eth0 netns $ns
    ip link set pl-demo$i master $bridge up
    ip -n $ns link set lo up
    ip -n $ns addr add 10.246.91.$((i + 1))/24 dev eth0
    ip -n $ns link set eth0 up
    ip -n $ns route add default via $gateway
done
for i in 1 2; do
    ns=panlan-demo$i
    ip netns exec $ns "$panlan" --home "$work/$ns" join "$invitation"
done

address_of() { # address_of NAMESPACE: its managed IPv4 address
    ip netns exec "$1" "$panlan" --home "$work/$1" get "$network" ip4 | head -n 1
}
one=$(address_of panlan-demo1)
two=$(address_of panlan-demo2)
say "ping $one -> $two"
ip netns exec panlan-demo1 ping -n -c 5 -i 0.2 "$two"
say "TCP $one -> $two, 50 MB"
ip netns exec panlan-demo2 timeout 60 iperf3 -s -1 -B "$two" >/dev/null &
until ip netns exec panlan-demo2 ss -ltn | grep -q :5201; do sleep 0.05; done
ip netns exec panlan-demo1 timeout 60 iperf3 -c "$two" -n 50M -i 0
say "peers of $one"
ip netns exec panlan-demo1 "$panlan" --home "$work/panlan-demo1" peers
