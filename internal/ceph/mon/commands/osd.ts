import { fullLocation, leavesOf } from '../../crush/build.ts';
import { encodeCrushMap } from '../../crush/codec.ts';
import { releaseName } from '../../maps/constants.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { zeroUuid } from '../../maps/osdmap.ts';
import { encodeOsdMap } from '../../maps/osdmap-codec.ts';
import { Placement } from '../../maps/placement.ts';
import { pgText } from '../../wire/types.ts';
import { ENOENT, Refusal } from '../errno.ts';
import { addrsJson, legacyText } from '../format/addrs.ts';
import { dfJson, dfText } from '../format/df.ts';
import { generalText, type Json } from '../format/json.ts';
import { osdJson, osdMapJson, osdMapText, osdText } from '../format/osdmap.ts';
import { osdStatJson, osdStatText } from '../format/status.ts';
import { column, tableText } from '../format/table.ts';
import { osdTreeJson, osdTreeText, type TreeFilter } from '../format/tree.ts';
import { osdSetText, utimeText } from '../format/units.ts';
import { countMetadata, metadataJson } from './cluster.ts';
import type { Mon } from '../mon.ts';
import type { CommandContext } from './dispatch.ts';
import { existingOsd, existingPg, mapAt } from './lookup.ts';
import type { Arguments } from './signature.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

const epochArg = 'name=epoch,type=CephInt,range=0,req=false';
const statesArg = 'name=states,type=CephChoices,strings=up|down|in|out|destroyed,n=N,req=false';

function filterOf(args: Arguments): TreeFilter {
  return new Set(args.list('states') as ('up' | 'down' | 'in' | 'out' | 'destroyed')[]);
}

function nodeId(map: OsdMap, name: string): number {
  const id = map.crush.idOfName(name);
  if (id === undefined) throw new Refusal(ENOENT, `"${name}" does not exist`);
  return id;
}

/** PGs of each OSD that is in, and how evenly they are spread (`OSDMap::summarize_mapping_stats`, one map). */
function utilization(map: OsdMap): { json: Json; text: string } {
  const placement = new Placement(map);
  const counts = new Map<number, number>();
  let total = 0;
  for (const [id, pool] of map.pools) {
    // What there should be: copies without an OSD count, too.
    total += pool.pgNum * pool.size;
    for (let seed = 0; seed < pool.pgNum; seed++)
      for (const osd of placement.mapPg(id, seed).up) {
        if (!map.exists(osd)) continue;
        counts.set(osd, (counts.get(osd) ?? 0) + 1);
      }
  }
  const osds = map.osds().filter((osd) => map.isUp(osd) && map.isIn(osd));
  const n = osds.length;
  if (n === 0) return { json: { avg_pgs: 0, std_dev: 0, expected_baseline_std_dev: 0 }, text: 'no osds\n' };
  const average = total / n;
  let deviation = 0;
  let min = osds[0]!;
  let max = osds[0]!;
  for (const osd of osds) {
    const count = counts.get(osd) ?? 0;
    deviation += (average - count) ** 2;
    if (count < (counts.get(min) ?? 0)) min = osd;
    if (count > (counts.get(max) ?? 0)) max = osd;
  }
  const stddev = Math.fround(Math.sqrt(deviation / n));
  const edge = 1 / n;
  const expected = Math.fround(Math.sqrt(total * edge * (1 - edge)));
  const of = (osd: number): number => counts.get(osd) ?? 0;
  const ratio = (osd: number): string => generalText(Math.fround(of(osd) / average), 6);
  return {
    json: {
      avg_pgs: average,
      std_dev: stddev,
      expected_baseline_std_dev: expected,
      min_osd: min,
      min_osd_pgs: of(min),
      max_osd: max,
      max_osd_pgs: of(max),
    },
    text:
      `avg ${average}\nstddev ${generalText(stddev, 6)} (expected baseline ${generalText(expected, 6)})\n` +
      `min osd.${min} with ${of(min)} pgs (${ratio(min)} * mean)\nmax osd.${max} with ${of(max)} pgs (${ratio(max)} * mean)\n`,
  };
}

/** Read-only commands about OSDs. */
/** What the OSDs that are up said of themselves. */
function upMetadata({ state: { osdMetadata, osdmap } }: Mon): ReadonlyMap<string, string>[] {
  return [...osdMetadata].flatMap(([osd, metadata]) => (osdmap.isUp(osd) ? [metadata] : []));
}

export const osdCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'df name=detail,type=CephChoices,strings=detail,req=false',
    help: 'show the space of the cluster and its pools',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const detail = args.has('detail');
      return wantsJson(format)
        ? structured(dfJson(mon.state.osdmap, mon.digest, detail), format, 'json')
        : { output: dfText(mon.state.osdmap, mon.digest, detail) };
    },
  },
  {
    signature: 'osd stat',
    help: 'show the OSDs in one line',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) =>
      wantsJson(format)
        ? structured(osdStatJson(mon.state.osdmap), format)
        : { output: `${osdStatText(mon.state.osdmap, mon.clock.now())}\n` },
  },
  {
    signature: `osd dump ${epochArg}`,
    help: 'show the OSD map',
    module: 'osd',
    perm: 'r',
    handler: async ({ mon }, args, format) => {
      const map = await mapAt(mon, args.optionalNumber('epoch'));
      return wantsJson(format) ? structured(osdMapJson(map), format, 'json') : { output: osdMapText(map) };
    },
  },
  {
    signature: 'osd info name=id,type=CephOsdName,req=false',
    help: 'show what the map says of one or all OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const id = args.optional('id');
      const osds = id === undefined ? osdmap.osds() : [existingOsd(osdmap, id)];
      if (!wantsJson(format)) return { output: osds.map((osd) => `${osdText(osdmap, osd)}\n`).join('') };
      const list = osds.map((osd) => osdJson(osdmap, osd));
      return structured(id === undefined ? list : list[0]!, format, 'json');
    },
  },
  {
    signature: `osd tree ${epochArg} ${statesArg}`,
    help: 'show where OSDs are and how they are',
    module: 'osd',
    perm: 'r',
    handler: async ({ mon }, args, format) => {
      const map = await mapAt(mon, args.optionalNumber('epoch'));
      const filter = filterOf(args);
      return wantsJson(format)
        ? structured(osdTreeJson(map, filter), format, 'json')
        : { output: osdTreeText(map, filter) };
    },
  },
  {
    signature: `osd tree-from ${epochArg} name=bucket,type=CephString ${statesArg}`,
    help: 'show the OSDs below a bucket',
    module: 'osd',
    perm: 'r',
    handler: async ({ mon }, args, format) => {
      const map = await mapAt(mon, args.optionalNumber('epoch'));
      const root = nodeId(map, args.text('bucket'));
      const filter = filterOf(args);
      return wantsJson(format)
        ? structured(osdTreeJson(map, filter, root), format, 'json')
        : { output: osdTreeText(map, filter, root) };
    },
  },
  {
    signature: `osd ls ${epochArg}`,
    help: 'list the ids of the OSDs',
    module: 'osd',
    perm: 'r',
    handler: async ({ mon }, args, format) => {
      const map = await mapAt(mon, args.optionalNumber('epoch'));
      return wantsJson(format)
        ? structured(map.osds(), format, 'json')
        : {
            output: map
              .osds()
              .map((osd) => `${osd}\n`)
              .join(''),
          };
    },
  },
  {
    signature: `osd ls-tree ${epochArg} name=name,type=CephString,req=true`,
    help: 'list the ids of the OSDs below a bucket',
    module: 'osd',
    perm: 'r',
    handler: async ({ mon }, args, format) => {
      const map = await mapAt(mon, args.optionalNumber('epoch'));
      const osds = leavesOf(map.crush, nodeId(map, args.text('name'))).sort((a, b) => a - b);
      return wantsJson(format) ? structured(osds, format, 'json') : { output: osds.map((osd) => `${osd}\n`).join('') };
    },
  },
  {
    signature: `osd getmap ${epochArg}`,
    help: 'give the OSD map as binary',
    module: 'osd',
    perm: 'r',
    handler: async ({ mon }, args) => {
      const map = await mapAt(mon, args.optionalNumber('epoch'));
      return { status: `got osdmap epoch ${map.epoch}`, output: encodeOsdMap(map.copy()) };
    },
  },
  {
    signature: `osd getcrushmap ${epochArg}`,
    help: 'give the CRUSH map as binary',
    module: 'osd',
    perm: 'r',
    handler: async ({ mon }, args) => {
      const map = await mapAt(mon, args.optionalNumber('epoch'));
      return { status: String(map.crushVersion), output: encodeCrushMap(map.crush) };
    },
  },
  {
    signature: 'osd getmaxosd',
    help: 'show the highest number of OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { epoch, maxOsd } = mon.state.osdmap;
      return wantsJson(format)
        ? structured({ epoch, max_osd: maxOsd }, format)
        : { output: `max_osd = ${maxOsd} in epoch ${epoch}\n` };
    },
  },
  {
    signature: 'osd find name=id,type=CephOsdName',
    help: 'show where an OSD is',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap, osdMetadata } = mon.state;
      const osd = existingOsd(osdmap, args.text('id'));
      const metadata = osdMetadata.get(osd);
      const facts = ['hostname', 'pod_name', 'pod_namespace', 'container_hostname', 'container_name'] as const;
      const known = new Map<string, Json>();
      for (const name of facts) {
        const value = metadata?.get(name);
        if (value !== undefined) known.set(name === 'hostname' ? 'host' : name, value);
      }
      const place = fullLocation(osdmap.crush, osd).sort(([a], [b]) => (a < b ? -1 : 1));
      return structured(
        new Map<string, Json>([
          ['osd', osd],
          ['addrs', addrsJson(osdmap.clientAddrsOf(osd))],
          ['osd_fsid', osdmap.osdUuid[osd] ?? zeroUuid],
          ...known,
          ['crush_location', new Map<string, Json>(place)],
        ]),
        format,
      );
    },
  },
  {
    signature: 'osd metadata name=id,type=CephOsdName,req=false',
    help: 'show facts about one or all OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap, osdMetadata } = mon.state;
      const of = (osd: number): Json =>
        new Map<string, Json>([['id', osd], ...metadataJson(osdMetadata.get(osd) ?? new Map())]);
      const id = args.optional('id');
      if (id !== undefined) return structured(of(existingOsd(osdmap, id)), format);
      return structured(osdmap.osds().map(of), format);
    },
  },
  {
    signature: 'osd count-metadata name=property,type=CephString',
    help: 'count the values of a fact about OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => structured(countMetadata(upMetadata(mon), args.text('property')), format),
  },
  {
    signature: 'osd versions',
    help: 'count the versions of the OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(countMetadata(upMetadata(mon), 'ceph_version'), format),
  },
  {
    signature: 'osd numa-status',
    help: 'show the NUMA placement of OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const rows = [...mon.state.osdMetadata].map(([osd, metadata]) => ({ osd, host: metadata.get('hostname') ?? '' }));
      if (wantsJson(format)) return structured(rows, format);
      const columns = ['OSD', 'HOST', 'NETWORK', 'STORAGE', 'AFFINITY', 'CPUS'].map((name) =>
        column(name, 'left', name === 'HOST' || name === 'CPUS' ? 'left' : 'right'),
      );
      return {
        output: tableText(
          columns,
          rows.map(({ osd, host }) => [String(osd), host, '-', '-', '-', '-']),
        ),
      };
    },
  },
  {
    signature:
      'osd map name=pool,type=CephPoolname name=object,type=CephObjectname name=nspace,type=CephString,req=false',
    help: 'show which placement group and OSDs an object has',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const name = args.text('pool');
      const id = osdmap.poolId(name);
      if (id === undefined) throw new Refusal(ENOENT, `pool ${name} does not exist`);
      const nspace = args.optional('nspace') ?? '';
      const object = args.text('object');
      const full = nspace === '' ? object : `${nspace}/${object}`;
      const hash = mon.placement.hashOf(id, object, '', nspace);
      const seed = mon.placement.seedOf(id, hash);
      const { up, upPrimary, acting, actingPrimary } = mon.placement.mapPg(id, seed);
      const raw = pgText({ pool: id, seed: hash });
      const pgid = pgText({ pool: id, seed });
      if (wantsJson(format))
        return structured(
          {
            epoch: osdmap.epoch,
            pool: name,
            pool_id: id,
            objname: full,
            raw_pgid: raw,
            pgid,
            up: [...up],
            up_primary: upPrimary,
            acting: [...acting],
            acting_primary: actingPrimary,
          },
          format,
        );
      return {
        output: `osdmap e${osdmap.epoch} pool '${name}' (${id}) object '${full}' -> pg ${raw} (${pgid}) -> up (${osdSetText(up)}, p${upPrimary}) acting (${osdSetText(acting)}, p${actingPrimary})\n`,
      };
    },
  },
  {
    signature: 'pg map name=pgid,type=CephPgid',
    help: 'show which OSDs a placement group has',
    module: 'pg',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const pg = existingPg(mon.state.osdmap, args.text('pgid'), `'${args.text('pgid')}'`);
      const { up, acting } = mon.placement.mapPg(pg.pool, pg.seed);
      const { epoch } = mon.state.osdmap;
      const id = pgText(pg);
      return wantsJson(format)
        ? structured({ epoch, raw_pgid: id, pgid: id, up: [...up], acting: [...acting] }, format)
        : { output: `osdmap e${epoch} pg ${id} (${id}) -> up ${osdSetText(up)} acting ${osdSetText(acting)}\n` };
    },
  },
  {
    signature: 'osd utilization',
    help: 'show how evenly placement groups are spread',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { json, text } = utilization(mon.state.osdmap);
      return wantsJson(format) ? structured(json, format) : { output: text };
    },
  },
  {
    signature: 'osd last-stat-seq name=id,type=CephOsdName',
    help: 'show the number of the newest report of an OSD',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const osd = existingOsd(mon.state.osdmap, args.text('id'));
      const seq = mon.digest?.osds.get(osd)?.statSeq ?? 0n;
      return wantsJson(format) ? structured(seq, format) : { output: `${seq}\n` };
    },
  },
  {
    signature: 'osd get-require-min-compat-client',
    help: 'show the oldest client that is let in',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }) => ({ output: `${releaseName(mon.state.osdmap.requireMinCompatClient)}\n` }),
  },
  {
    signature: 'osd blocklist ls',
    help: 'list blocked clients',
    module: 'osd',
    perm: 'r',
    handler: (context, _args, format) => blocklist(context, format),
  },
  {
    signature: 'osd blacklist ls',
    help: 'the old name of osd blocklist ls',
    module: 'osd',
    perm: 'r',
    flags: 4,
    handler: (context, _args, format) => blocklist(context, format),
  },
];

function blocklist({ mon }: CommandContext, format: Parameters<CommandEntry<CommandContext>['handler']>[2]) {
  const { blocklist: entries } = mon.state.osdmap;
  const status = `listed ${entries.length} entries`;
  const rows = entries.map(({ addr, until }) => ({ addr: legacyText(addr), until: utimeText(until) }));
  if (wantsJson(format)) {
    // Two lists: addresses, then address ranges.
    const one = structured(rows, format).output as string;
    return { status, output: `${one.trimEnd()}[]` };
  }
  return { status, output: rows.map(({ addr, until }) => `${addr} ${until}\n`).join('') };
}
