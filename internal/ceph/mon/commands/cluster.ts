import { utimeFromMs } from '../../wire/encoding.ts';
import { entityTypeName } from '../../wire/types.ts';
import { EINVAL, ENOENT, Refusal } from '../errno.ts';
import { healthJson, healthText } from '../format/health.ts';
import type { Json } from '../format/json.ts';
import { electionEpoch, monMapJson } from '../format/monmap.ts';
import { statusJson, statusText } from '../format/status.ts';
import { encodeHealthTime } from '../format/times.ts';
import { utimeText } from '../format/units.ts';
import { healthOf } from '../health.ts';
import type { Mon } from '../mon.ts';
import { cephRelease, cephVersionShort } from '../version.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, FLAG_TELL, structured, wantsJson } from './table.ts';

function statusInput(mon: Mon) {
  return {
    state: mon.state,
    digest: mon.digest,
    health: healthOf(mon),
    placement: mon.placement,
    nowMs: mon.clock.now(),
    quorum: mon.inQuorum,
    electionEpoch: electionEpoch(mon),
  };
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
  kinds.set(
    'mon',
    count(mon.inQuorum.names.map((name) => state.monMetadata.get(name)?.get('ceph_version') ?? 'unknown')),
  );
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
    mon: () => byHost(state.monmap.mons.map(({ name }) => [host(state.monMetadata.get(name)), name])),
    osd: () => byHost([...state.osdMetadata].map(([osd, metadata]) => [host(metadata), osd])),
    mds: () => ({}),
    mgr: () => byHost([...state.mgrMetadata].map(([name, metadata]) => [host(metadata), name])),
  };
  if (type !== 'all') return kinds[type]!();
  // As long as there never was an MDS, its kind is not shown.
  const there = Object.entries(kinds).filter(([kind]) => kind !== 'mds');
  return Object.fromEntries(there.map(([kind, list]) => [kind, list()]));
}

function features(mon: Mon): Json {
  const byType = new Map<string, Map<string, number>>();
  const add = (type: string, bits: bigint, count: number): void => {
    const counts = byType.get(type) ?? new Map<string, number>();
    const text = `0x${bits.toString(16)}`;
    counts.set(text, (counts.get(text) ?? 0) + count);
    byType.set(type, counts);
  };
  add('mon', 0x3f01_cfbd_fffd_ffffn, mon.inQuorum.names.length);
  for (const { type, features: bits, count } of mon.quorum.allFeatures()) add(entityTypeName(type), bits, count);
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
    signature: 'node ls name=type,type=CephChoices,strings=all|osd|mon|mds|mgr,req=false',
    help: 'show which daemons run on which host',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => structured(nodes(mon, args.optional('type') ?? 'all'), format, 'json'),
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
