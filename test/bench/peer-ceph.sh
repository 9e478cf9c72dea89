#!/bin/sh
# peer-ceph.sh up DIR IP | down DIR: Debian's own Ceph (ceph-mon, ceph-mgr, three ceph-osd on sparse files) as the peer that figures are compared with.
# Everything is in DIR; processes are recorded in DIR/pids. Configuration for clients: DIR/ceph.conf.
set -eu
action=$1
dir=$2
conf=$dir/ceph.conf

down() {
  for file in "$dir"/pids/*; do
    [ -e "$file" ] || continue
    kill -9 "$(cat "$file")" 2>/dev/null || true
  done
  rm -rf "$dir"
}
if [ "$action" = down ]; then
  down
  exit 0
fi

ip=$3
mkdir -p "$dir/pids" "$dir/log" "$dir/mon" "$dir/mgr"
cat >"$conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:$ip:3300]
ms bind msgr1 = false
ms bind ipv6 = false
public addr = $ip
cluster addr = $ip
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
run dir = $dir
crash dir = $dir
log file = $dir/log/\$name.log
keyring = $dir/\$name.keyring
osd pool default size = 3
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool delete = true
mon allow pool size one = true
[mon]
mon data = $dir/mon
[mgr]
mgr data = $dir/mgr
[osd]
osd data = $dir/osd\$id
bluestore block size = 8589934592
CONF
start() { # NAME COMMAND…
  name=$1
  shift
  setsid nohup "$@" >"$dir/log/$name.out" 2>&1 </dev/null &
  echo $! >"$dir/pids/$name"
}
admin() { ceph -c "$conf" "$@" 2>>"$dir/log/admin.log"; }

ceph-authtool --create-keyring "$dir/mon.a.keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool --create-keyring "$dir/client.admin.keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
ceph-authtool "$dir/mon.a.keyring" --import-keyring "$dir/client.admin.keyring" >/dev/null
monmaptool --create --fsid "$(sed -n 's/^fsid = //p' "$conf")" --addv a "[v2:$ip:3300]" --set-min-mon-release 16 "$dir/monmap" >/dev/null
ceph-mon -c "$conf" -i a --mkfs --monmap "$dir/monmap" --keyring "$dir/mon.a.keyring"
start mon.a ceph-mon -c "$conf" -f -i a
admin auth get-or-create mgr.a mon 'allow profile mgr' osd 'allow *' >"$dir/mgr.a.keyring"
start mgr.a ceph-mgr -c "$conf" -f -i a
for id in 0 1 2; do
  mkdir -p "$dir/osd$id"
  uuid=$(cat /proc/sys/kernel/random/uuid)
  admin osd new "$uuid" "$id" >/dev/null
  admin auth get-or-create "osd.$id" mon 'allow profile osd' mgr 'allow profile osd' osd 'allow *' >"$dir/osd.$id.keyring"
  ceph-osd -c "$conf" -i "$id" --mkfs --osd-uuid "$uuid" >"$dir/log/mkfs.$id" 2>&1
  start "osd.$id" ceph-osd -c "$conf" -f -i "$id"
done
for _ in $(seq 300); do
  admin osd stat | grep -q '3 up' && exit 0
  sleep 0.3
done
echo "peer-ceph.sh: the OSDs did not come up; see $dir/log" >&2
exit 1
