/**
 * How a daemon of a distribution's Ceph is made and started: what its manual says (doc/install/manual-deployment.rst, doc/rados/operations/add-or-rm-osds.rst), in a shell script that runs
 * as the daemon's user, in its cgroup, within its start's deadline, and ends by becoming the daemon. Each part is done once and can be repeated after a crash.
 */
import { daemonEntity, daemonId } from './daemon-conf.ts';

const begin = 'set -eu; umask 077; mkdir -p "$data/crash"';

/** Arguments: conf, data, keyrings, fsid, mon host. */
const monScript = `conf=$1 data=$2 keyrings=$3 fsid=$4 host=$5
${begin}
if [ ! -e "$data/store" ]; then
  echo "making the monitor of the cluster $fsid"
  rm -rf "$data/new"
  mkdir "$data/new"
  for entity in mon. "mgr.${daemonId}"; do cat "$keyrings/$entity.keyring"; echo; done >"$data/first.keyring"
  for file in "$keyrings"/client.*.keyring; do cat "$file"; echo; done >>"$data/first.keyring"
  rm -f "$data/first.monmap"
  monmaptool --create --fsid "$fsid" --addv ${daemonId} "$host" --set-min-mon-release 16 "$data/first.monmap"
  ceph-mon -c "$conf" -i ${daemonId} --mon-data "$data/new" --mkfs --monmap "$data/first.monmap" --keyring "$data/first.keyring"
  sync "$data/new"
  mv "$data/new" "$data/store"
  sync "$data"
  rm -f "$data/first.keyring" "$data/first.monmap"
else
  ceph-mon -c "$conf" -i ${daemonId} --extract-monmap "$data/monmap"
  if ! monmaptool --print "$data/monmap" | grep -qF "$(echo "$host" | tr -d '[]')/"; then
    echo "the monitor is at $host now"
    monmaptool --rm ${daemonId} "$data/monmap"
    monmaptool --addv ${daemonId} "$host" "$data/monmap"
    ceph-mon -c "$conf" -i ${daemonId} --inject-monmap "$data/monmap"
  fi
  rm -f "$data/monmap"
fi
exec ceph-mon -f -i ${daemonId} -c "$conf"`;

/** Arguments: conf, data, port of the module prometheus. */
const mgrScript = `conf=$1 data=$2 port=$3
${begin}
if [ "$(cat "$data/prometheus-port" 2>/dev/null)" != "$port" ]; then
  ceph -c "$conf" -n client.admin --connect-timeout 60 config set --force mgr mgr/prometheus/server_addr 0.0.0.0
  ceph -c "$conf" -n client.admin --connect-timeout 60 config set --force mgr mgr/prometheus/server_port "$port"
  echo "$port" >"$data/prometheus-port"
fi
exec ceph-mgr -f -i ${daemonId} -c "$conf"`;

/** The key of a daemon that the mon gives one, with the capabilities of the manual; kept in its data. Arguments: conf, data. */
const withKey = (entity: string, caps: string): string => `conf=$1 data=$2
${begin}
if [ ! -s "$data/keyring" ]; then
  echo "asking the monitor for a key of ${entity}"
  ceph -c "$conf" -n client.admin --connect-timeout 60 auth get-or-create ${entity} ${caps} -o "$data/keyring.new"
  sync "$data/keyring.new"
  mv "$data/keyring.new" "$data/keyring"
fi`;

/** doc/cephfs/add-remove-mds.rst */
const mdsCaps = "mon 'profile mds' mgr 'profile mds' mds 'allow *' osd 'allow *'";
const mdsScript = `${withKey(daemonEntity('mds'), mdsCaps)}
exec ceph-mds -f -i ${daemonId} -c "$conf"`;

/** src/pybind/mgr/cephadm/services/cephadmservice.py, and no more of the mon than to make its pools. */
const rgwCaps = "mon 'allow rw' mgr 'allow rw' osd 'allow rwx tag rgw *=*'";
const rgwScript = `${withKey(daemonEntity('rgw'), rgwCaps)}
exec radosgw -f -n ${daemonEntity('rgw')} -c "$conf"`;

/**
 * Arguments: conf, data, keyrings, id, uuid. The store is on what the link \`block\` in data leads to. One that came with its disk has nothing in data yet: ceph-bluestore-tool writes it from
 * the label, as ceph-volume has it do.
 */
const osdScript = `conf=$1 data=$2 keyrings=$3 id=$4 uuid=$5
${begin}
if [ ! -e "$data/made" ]; then
  echo "making osd.$id"
  key=$(ceph-authtool -p -n "osd.$id" "$keyrings/osd.$id.keyring")
  printf '{"cephx_secret":"%s"}' "$key" | ceph -c "$conf" -n client.bootstrap-osd --connect-timeout 60 osd new "$uuid" "$id" -i -
  ceph-osd -c "$conf" -i "$id" --mkfs --osd-uuid "$uuid"
  sync
  : >"$data/made"
  sync "$data"
fi
[ -e "$data/type" ] || ceph-bluestore-tool prime-osd-dir --path "$data" --dev "$(readlink "$data/block")"
exec ceph-osd -f -i "$id" -c "$conf"`;

const run = (script: string, ...parameters: string[]): string[] => ['sh', '-c', script, 'sh', ...parameters];

/** Where a daemon's things are. */
export interface DaemonPlace {
  readonly conf: string;
  readonly data: string;
  /** The directory of `NAME.keyring`. */
  readonly keyrings: string;
}

export function monCommand(place: DaemonPlace, fsid: string, monHost: string): string[] {
  return run(monScript, place.conf, place.data, place.keyrings, fsid, monHost);
}

export function mgrCommand(place: DaemonPlace, prometheusPort: number): string[] {
  return run(mgrScript, place.conf, place.data, String(prometheusPort));
}

export function mdsCommand(place: DaemonPlace): string[] {
  return run(mdsScript, place.conf, place.data);
}

export function rgwCommand(place: DaemonPlace): string[] {
  return run(rgwScript, place.conf, place.data);
}

export function osdCommand(place: DaemonPlace, osd: { readonly id: number; readonly uuid: string }): string[] {
  return run(osdScript, place.conf, place.data, place.keyrings, String(osd.id), osd.uuid);
}
