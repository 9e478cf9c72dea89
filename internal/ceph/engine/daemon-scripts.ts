/**
 * How a daemon of a distribution's Ceph is made and started: what its manual says (doc/install/manual-deployment.rst, doc/rados/operations/add-or-rm-osds.rst), in a shell script that runs
 * as the daemon's user, in its cgroup, within its start's deadline, and ends by becoming the daemon. Each part is done once and can be repeated after a crash.
 */
import { daemonEntity, firstId } from './daemon-conf.ts';

const begin = 'set -eu; umask 077; mkdir -p "$data/crash"';

/**
 * Arguments: conf, data, keyrings, fsid, mon host, id, `joins` (empty on a machine that may make the cluster). A mon that joins is made with the map of those that are there and asks them itself to
 * be one of them (MMonJoin) once it has all that they have, so that a machine that does not come up costs no majority. One whose address changed while there are others is another mon to them.
 */
const monScript = `conf=$1 data=$2 keyrings=$3 fsid=$4 host=$5 id=$6 joins=$7
${begin}
others() { ceph -c "$conf" -n mon. -k "$keyrings/mon..keyring" --connect-timeout 60 "$@"; }
if [ -e "$data/store" ]; then
  ceph-mon -c "$conf" -i "$id" --extract-monmap "$data/monmap"
  map=$(monmaptool --print "$data/monmap")
  own=$(echo "$map" | awk -v own="mon.$id" '$3 == own { print $2 }')
  among=$(echo "$map" | awk -v own="mon.$id" '$3 ~ /^mon[.]/ && $3 != own { print $2 }' | paste -s -d ,)
  here=$(echo "$host" | tr -d '[]')
  if [ -z "$own" ]; then
    if ceph-kvstore-tool rocksdb "$data/store/store.db" exists monitor joined >/dev/null 2>&1; then
      echo "the other mons have removed this one: take the role mon out of the configuration, or join again with it" >&2
      exit 1
    fi
  elif [ "$own" = "$here/0" ]; then
    :
  elif [ -n "$among" ]; then
    echo "the monitor is at $host now: the others are to forget it at $own"
    others -m "$among" mon rm "$id"
    others -m "$among" mon getmap -o "$data/joins.new"
    mv "$data/joins.new" "$data/joins"
    rm -rf "$data/forgotten"
    mv "$data/store" "$data/forgotten"
    rm -rf "$data/forgotten"
  else
    echo "the monitor is at $host now"
    monmaptool --rm "$id" "$data/monmap"
    monmaptool --addv "$id" "$host" "$data/monmap"
    ceph-mon -c "$conf" -i "$id" --inject-monmap "$data/monmap"
  fi
  rm -f "$data/monmap"
fi
if [ ! -e "$data/store" ]; then
  rm -rf "$data/new"
  mkdir "$data/new"
  if [ -n "$joins" ] || [ -e "$data/joins" ]; then
    echo "making a monitor that joins the cluster $fsid"
    [ -e "$data/joins" ] || others mon getmap -o "$data/joins"
    ceph-mon -c "$conf" -i "$id" --mon-data "$data/new" --mkfs --monmap "$data/joins" --keyring "$keyrings/mon..keyring"
  else
    echo "making the monitor of the cluster $fsid"
    for entity in mon. "mgr.${firstId}"; do cat "$keyrings/$entity.keyring"; echo; done >"$data/first.keyring"
    for file in "$keyrings"/client.*.keyring; do cat "$file"; echo; done >>"$data/first.keyring"
    rm -f "$data/first.monmap"
    monmaptool --create --fsid "$fsid" --addv "$id" "$host" --set-min-mon-release 16 "$data/first.monmap"
    ceph-mon -c "$conf" -i "$id" --mon-data "$data/new" --mkfs --monmap "$data/first.monmap" --keyring "$data/first.keyring"
  fi
  sync "$data/new"
  mv "$data/new" "$data/store"
  sync "$data"
  rm -f "$data/first.keyring" "$data/first.monmap" "$data/joins"
fi
exec ceph-mon -f -i "$id" -c "$conf"`;

/** Arguments: conf, data, id, port of the module prometheus. */
const mgrScript = `conf=$1 data=$2 id=$3 port=$4
${begin}
if [ "$(cat "$data/prometheus-port" 2>/dev/null)" != "$port" ]; then
  ceph -c "$conf" -n client.admin --connect-timeout 60 config set --force mgr mgr/prometheus/server_addr 0.0.0.0
  ceph -c "$conf" -n client.admin --connect-timeout 60 config set --force mgr "mgr/prometheus/$id/server_port" "$port"
  echo "$port" >"$data/prometheus-port"
fi
exec ceph-mgr -f -i "$id" -c "$conf"`;

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
exec ceph-mds -f -i ${firstId} -c "$conf"`;

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

/** `joins`: there are other mons, whose cluster it is. */
export function monCommand(
  place: DaemonPlace,
  fsid: string,
  mon: { readonly id: string; readonly host: string; readonly joins: boolean },
): string[] {
  return run(monScript, place.conf, place.data, place.keyrings, fsid, mon.host, mon.id, mon.joins ? 'yes' : '');
}

export function mgrCommand(place: DaemonPlace, id: string, prometheusPort: number): string[] {
  return run(mgrScript, place.conf, place.data, id, String(prometheusPort));
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
