import { monFeatureNames, type MonMap } from '../../maps/monmap.ts';
import { utimeFromMs } from '../../wire/encoding.ts';
import { entityTypeName, addrVecText } from '../../wire/types.ts';
import { EINVAL, ENOENT, ENOTSUP, Refusal } from '../errno.ts';
import { addrsJson, legacyAddr, legacyText } from '../format/addrs.ts';
import { healthJson, healthText } from '../format/health.ts';
import { type Json, jsonText } from '../format/json.ts';
import { statusJson, statusText } from '../format/status.ts';
import { encodeHealthTime } from '../format/times.ts';
import { utimeText } from '../format/units.ts';
import { healthOf } from '../health.ts';
import type { Mon } from '../mon.ts';
import { cephRelease, cephVersionShort } from '../version.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, FLAG_TELL, structured, wantsJson } from './table.ts';

/** Of the one quorum that there has been: upstream counts up by two with each. */
const electionEpoch = 3;

function statusInput(mon: Mon) {
  return {
    state: mon.state,
    digest: mon.digest,
    health: healthOf(mon),
    placement: mon.placement,
    nowMs: mon.clock.now(),
    quorumSinceMs: mon.startedMs,
    electionEpoch,
  };
}

function isoTime(time: { sec: number; nsec: number }): string {
  return utimeText(time).replace('+0000', 'Z');
}

function featureNames(bits: bigint): string[] {
  return monFeatureNames.filter(([bit]) => (bits & bit) !== 0n).map(([, name]) => name);
}

function monMapJson(map: MonMap): { [name: string]: Json } {
  return {
    epoch: map.epoch,
    fsid: map.fsid,
    modified: isoTime(map.lastChanged),
    created: isoTime(map.created),
    min_mon_release: map.minMonRelease,
    min_mon_release_name: cephRelease,
    election_strategy: map.strategy,
    'disallowed_leaders: ': map.disallowedLeaders.join(','),
    stretch_mode: map.stretchMode,
    tiebreaker_mon: map.tiebreaker,
    'removed_ranks: ': map.removedRanks.join(','),
    features: { persistent: featureNames(map.persistentFeatures), optional: featureNames(map.optionalFeatures) },
    mons: map.mons.map((mon, rank) => ({
      rank,
      name: mon.name,
      public_addrs: addrsJson(mon.addrs),
      addr: legacyText(legacyAddr(mon.addrs)),
      public_addr: legacyText(legacyAddr(mon.addrs)),
      priority: mon.priority,
      weight: mon.weight,
      crush_location: '{}',
    })),
  };
}

function monMapText(map: MonMap): string {
  let out = `epoch ${map.epoch}\nfsid ${map.fsid}\nlast_changed ${utimeText(map.lastChanged)}\n`;
  out += `created ${utimeText(map.created)}\nmin_mon_release ${map.minMonRelease} (${cephRelease})\nelection_strategy: ${map.strategy}\n`;
  for (const [rank, mon] of map.mons.entries()) out += `${rank}: ${addrVecText(mon.addrs)} mon.${mon.name}\n`;
  return out;
}

function count(values: Iterable<string>): Map<string, number> {
  const out = new Map<string, number>();
  for (const value of values) out.set(value, (out.get(value) ?? 0) + 1);
  return new Map([...out].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Versions of the daemons of each kind. */
function versionsOf(mon: Mon): Map<string, Map<string, number>> {
  const { state } = mon;
  const kinds = new Map<string, Map<string, number>>();
  kinds.set('mon', count([mon.metadata.get('ceph_version') ?? 'unknown']));
  const mgrs = [state.mgrmap.activeName, ...[...state.mgrmap.standbys.values()].map(({ name }) => name)];
  kinds.set(
    'mgr',
    count(
      mgrs.filter((name) => name !== '').map((name) => state.mgrMetadata.get(name)?.get('ceph_version') ?? 'unknown'),
    ),
  );
  kinds.set(
    'osd',
    count(
      state.osdmap
        .osds()
        .filter((osd) => state.osdmap.isUp(osd))
        .map((osd) => state.osdMetadata.get(osd)?.get('ceph_version') ?? 'unknown'),
    ),
  );
  kinds.set('mds', new Map());
  return kinds;
}

export function countMetadata(all: Iterable<ReadonlyMap<string, string>>, property: string): Json {
  const values: string[] = [];
  for (const metadata of all) values.push(metadata.get(property) ?? 'unknown');
  return new Map<string, Json>(count(values));
}

export function metadataJson(metadata: ReadonlyMap<string, string>): Map<string, Json> {
  return new Map<string, Json>([...metadata].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Daemons by kind and host. */
function nodes(mon: Mon, type: string): Json {
  const { state } = mon;
  const byHost = (list: readonly [host: string, name: Json][]): Json => {
    const hosts = new Map<string, Json[]>();
    for (const [host, name] of list) hosts.set(host, [...(hosts.get(host) ?? []), name]);
    return new Map<string, Json>([...hosts].sort(([a], [b]) => (a < b ? -1 : 1)));
  };
  const host = (metadata: ReadonlyMap<string, string> | undefined): string => metadata?.get('hostname') ?? '';
  const kinds: Record<string, () => Json> = {
    mon: () => byHost([[host(mon.metadata), mon.name]]),
    osd: () => byHost([...state.osdMetadata].map(([osd, metadata]) => [host(metadata), osd])),
    mds: () => ({}),
    mgr: () => byHost([...state.mgrMetadata].map(([name, metadata]) => [host(metadata), name])),
  };
  if (type !== 'all') return kinds[type]!();
  return Object.fromEntries(Object.entries(kinds).map(([kind, list]) => [kind, list()]));
}

function features(mon: Mon): Json {
  const byType = new Map<string, Map<string, number>>();
  const add = (type: string, bits: bigint): void => {
    const counts = byType.get(type) ?? new Map<string, number>();
    const text = `0x${bits.toString(16)}`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
    byType.set(type, counts);
  };
  add('mon', 0x3f01_cfbd_fffd_ffffn);
  for (const { name, connection } of mon.sessions.values()) add(entityTypeName(name.type), connection.features);
  const order = ['mon', 'mds', 'osd', 'client', 'mgr'];
  return new Map(
    order.flatMap((type): [string, Json][] => {
      const counts = byType.get(type);
      if (counts === undefined) return [];
      return [[type, [...counts].map(([bits, num]) => ({ features: bits, release: 'luminous', num }))]];
    }),
  );
}

/** Durations such as `5m`, `2h`, `1d`; a bare number is seconds. */
export function parseDurationSec(text: string): number {
  const units: Record<string, number> = { '': 1, s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
  const match = /^(\d+)\s*(s|m|h|d|w)?[a-z]*$/.exec(text);
  if (match === null) throw new Refusal(EINVAL, `not a valid duration: ${text}`);
  return Number(match[1]) * units[match[2] ?? '']!;
}

export const clusterCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'status',
    help: 'show the state of the cluster',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const input = statusInput(mon);
      return wantsJson(format) ? structured(statusJson(input), format, 'json') : { output: statusText(input) };
    },
  },
  {
    signature: 'health name=detail,type=CephChoices,strings=detail,req=false',
    help: 'show what is wrong',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const detail = args.has('detail');
      const all = healthOf(mon);
      if (wantsJson(format)) return structured(healthJson(all, detail, encodeHealthTime), format);
      return { output: healthText(all, detail, mon.clock.now()) };
    },
  },
  {
    signature:
      'health mute name=code,type=CephString name=ttl,type=CephString,req=false name=sticky,type=CephBool,req=false',
    help: 'do not show a health check',
    module: 'mon',
    perm: 'w',
    handler: async ({ mon }, args) => {
      const code = args.text('code');
      const sticky = args.flag('sticky');
      const ttl = args.optional('ttl');
      const check = healthOf(mon).checks.find((c) => c.code === code);
      if (check === undefined && !sticky) throw new Refusal(ENOENT, `health alert ${code} is not currently raised`);
      const expiresMs = ttl === undefined ? 0 : mon.clock.now() + parseDurationSec(ttl) * 1000;
      await mon.update((draft) => {
        const others = draft.state.mutes.filter((mute) => mute.code !== code);
        const mute = { code, sticky, expiresMs, summary: check?.summary ?? '', count: check?.count ?? 0 };
        draft.setMutes([...others, mute]);
      });
      return {};
    },
  },
  {
    signature: 'health unmute name=code,type=CephString,req=false',
    help: 'show a health check, or all, again',
    module: 'mon',
    perm: 'w',
    handler: async ({ mon }, args) => {
      const code = args.optional('code');
      await mon.update((draft) =>
        draft.setMutes(code === undefined ? [] : draft.state.mutes.filter((mute) => mute.code !== code)),
      );
      return {};
    },
  },
  {
    signature: 'fsid',
    help: 'show the identity of the cluster',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) =>
      wantsJson(format) ? structured({ fsid: mon.state.fsid }, format) : { output: `${mon.state.fsid}\n` },
  },
  {
    signature: 'versions',
    help: 'count the versions of all daemons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const kinds = versionsOf(mon);
      const overall = new Map<string, number>();
      for (const counts of kinds.values())
        for (const [version, n] of counts) overall.set(version, (overall.get(version) ?? 0) + n);
      kinds.set('overall', overall);
      return structured(
        new Map<string, Json>([...kinds].map(([kind, counts]) => [kind, new Map<string, Json>(counts)])),
        format,
      );
    },
  },
  {
    signature: 'features',
    help: 'show what connected clients and daemons can do',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(features(mon), format),
  },
  {
    signature: 'quorum_status',
    help: 'show the mons that agree',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { monmap } = mon.state;
      const value = {
        election_epoch: electionEpoch,
        quorum: monmap.mons.map((_, rank) => rank),
        quorum_names: monmap.mons.map(({ name }) => name),
        quorum_leader_name: mon.name,
        quorum_age: Math.floor((mon.clock.now() - mon.startedMs) / 1000),
        features: { quorum_con: '4540138314316775423', quorum_mon: featureNames(monmap.persistentFeatures) },
        monmap: monMapJson(monmap),
      };
      // Upstream has no pretty form of it unless asked for.
      return { output: `${jsonText(value, format === 'json-pretty')}${format === 'json-pretty' ? '\n' : ''}\n` };
    },
  },
  {
    signature: 'mon stat',
    help: 'show the mons in one line',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { monmap } = mon.state;
      if (wantsJson(format))
        return structured(
          {
            epoch: monmap.epoch,
            min_mon_release_name: cephRelease,
            num_mons: monmap.mons.length,
            leader: mon.name,
            quorum: monmap.mons.map(({ name }, rank) => ({ rank, name })),
          },
          format,
          'json',
        );
      const list = monmap.mons.map(({ name, addrs }) => `${name}=${addrVecText(addrs)}`).join(',');
      const ranks = monmap.mons.map((_, rank) => rank).join(',');
      const names = monmap.mons.map(({ name }) => name).join(',');
      return {
        output: `e${monmap.epoch}: ${monmap.mons.length} mons at {${list}} removed_ranks: {}, election epoch ${electionEpoch}, leader ${mon.rank} ${mon.name}, quorum ${ranks} ${names}\n`,
      };
    },
  },
  {
    signature: 'mon dump name=epoch,type=CephInt,range=0,req=false',
    help: 'show the map of the mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { monmap } = mon.state;
      const epoch = args.optionalNumber('epoch');
      if (epoch !== undefined && epoch !== 0 && epoch !== monmap.epoch)
        throw new Refusal(ENOENT, `there is no map for epoch ${epoch}`);
      const status = `dumped monmap epoch ${monmap.epoch}`;
      if (!wantsJson(format)) return { status, output: monMapText(monmap) };
      const value = { ...monMapJson(monmap), quorum: monmap.mons.map((_, rank) => rank) };
      return { status, ...structured(value, format, 'json') };
    },
  },
  {
    signature: 'mon getmap name=epoch,type=CephInt,range=0,req=false',
    help: 'give the map of the mons as binary',
    module: 'mon',
    perm: 'r',
    handler: async ({ mon }) => {
      const { encodeMonMap } = await import('../../maps/monmap.ts');
      return { status: `got monmap epoch ${mon.state.monmap.epoch}`, output: encodeMonMap(mon.state.monmap) };
    },
  },
  {
    signature: 'mon metadata name=id,type=CephString,req=false',
    help: 'show facts about a mon or all mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const id = args.optional('id');
      if (id !== undefined && id !== mon.name) throw new Refusal(ENOENT, 'requested mon not found');
      const value = new Map<string, Json>([['name', mon.name], ...metadataJson(mon.metadata)]);
      return structured(id === undefined ? [value] : value, format, 'json');
    },
  },
  {
    signature: 'mon count-metadata name=property,type=CephString',
    help: 'count the values of a fact about mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => structured(countMetadata([mon.metadata], args.text('property')), format),
  },
  {
    signature: 'mon versions',
    help: 'count the versions of the mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(countMetadata([mon.metadata], 'ceph_version'), format, 'json'),
  },
  {
    signature: 'mon feature ls name=with_value,type=CephChoices,strings=--with-value,req=false',
    help: 'show what the mons can do',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const names = featureNames(mon.state.monmap.persistentFeatures);
      const optional = featureNames(mon.state.monmap.optionalFeatures);
      if (wantsJson(format))
        return structured(
          { all: { supported: names, persistent: names }, monmap: { persistent: names, optional, required: names } },
          format,
          'json',
        );
      const list = `[${names.join(',')}]`;
      return {
        output: `all features\n\tsupported: ${list}\n\tpersistent: ${list}\non current monmap (epoch ${mon.state.monmap.epoch})\n\tpersistent: ${list}\n\trequired: ${list}\n`,
      };
    },
  },
  {
    signature: 'mon add name=name,type=CephString name=addr,type=CephIPAddr',
    help: 'add a mon',
    module: 'mon',
    perm: 'rw',
    handler: () => {
      throw new Refusal(ENOTSUP, 'more than one mon is not supported yet');
    },
  },
  ...(['rm', 'remove'] as const).map(
    (verb): CommandEntry<CommandContext> => ({
      signature: `mon ${verb} name=name,type=CephString`,
      help: 'remove a mon',
      module: 'mon',
      perm: 'rw',
      flags: verb === 'remove' ? 4 : 0,
      handler: ({ mon }, args) => {
        const name = args.text('name');
        if (mon.state.monmap.mons.every((info) => info.name !== name))
          return { status: `mon.${name} does not exist or has already been removed` };
        throw new Refusal(EINVAL, `error: refusing removal of last monitor ${name}`);
      },
    }),
  ),
  {
    signature: 'node ls name=type,type=CephChoices,strings=all|osd|mon|mds|mgr,req=false',
    help: 'show which daemons run on which host',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => structured(nodes(mon, args.optional('type') ?? 'all'), format, 'json'),
  },
  {
    signature: 'time-sync-status',
    help: 'show how far the clocks of the mons are apart',
    module: 'mon',
    perm: 'r',
    handler: (_context, _args, format) =>
      structured({ timechecks: { epoch: electionEpoch, round: 0, round_status: 'finished' } }, format),
  },
  {
    signature: 'version',
    help: 'show the version of this mon',
    module: 'mon',
    perm: 'r',
    flags: FLAG_TELL,
    handler: (_context, _args, format) =>
      structured({ version: cephVersionShort, release: cephRelease, release_type: 'stable' }, format, 'none'),
  },
  {
    signature: 'mon_status',
    help: 'show the state of this mon',
    module: 'mon',
    perm: 'r',
    flags: FLAG_TELL,
    handler: ({ mon }, _args, format) =>
      structured(
        {
          name: mon.name,
          rank: mon.rank,
          state: 'leader',
          election_epoch: electionEpoch,
          quorum: mon.state.monmap.mons.map((_, rank) => rank),
          quorum_age: Math.floor((mon.clock.now() - mon.startedMs) / 1000),
          outside_quorum: [],
          extra_probe_peers: [],
          sync_provider: [],
          monmap: monMapJson(mon.state.monmap),
        },
        format,
      ),
  },
  {
    signature: 'sessions',
    help: 'show who is connected to this mon',
    module: 'mon',
    perm: 'r',
    flags: FLAG_TELL,
    handler: ({ mon }, _args, format) =>
      structured(
        [...mon.sessions.values()].map((session) => ({
          name: session.entity,
          entity_name: session.entity,
          addrs: addrsJson(session.connection.peerAddrs),
          con_features: session.connection.features,
          subs: [...session.wanted].map(([what, { next, once }]) => ({ what, start: next, once })),
          global_id: session.connection.identity?.globalId ?? 0n,
        })),
        format,
      ),
  },
  {
    signature: 'report name=tags,type=CephString,n=N,req=false',
    help: 'give the whole state of the cluster for support',
    module: 'mon',
    perm: 'r',
    handler: async ({ mon }, args, format) => {
      const { osdMapJson } = await import('../format/osdmap.ts');
      const { crushJson } = await import('../format/crush.ts');
      const { state } = mon;
      const value: Json = {
        cluster_fingerprint: state.fsid,
        version: cephVersionShort,
        commit: '',
        timestamp: utimeText(utimeFromMs(mon.clock.now())),
        tag: args.list('tags').join(' '),
        health: healthJson(healthOf(mon), true, encodeHealthTime),
        monmap: monMapJson(state.monmap),
        osdmap: osdMapJson(state.osdmap),
        osd_metadata: [...state.osdMetadata].map(
          ([id, metadata]) => new Map<string, Json>([['id', id], ...metadataJson(metadata)]),
        ),
        crushmap: crushJson(state.osdmap.crush),
      };
      return { status: 'report', ...structured(value, format === 'plain' ? 'json-pretty' : format) };
    },
  },
];
