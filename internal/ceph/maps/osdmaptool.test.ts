import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { type Random, seededRandom } from '../../base/random.ts';
import { addEmptyBucket, insertItem, moveBucket } from '../crush/build.ts';
import { adjustWeightSet, createDeviceClass, createWeightSet, setDeviceClass } from '../crush/classes.ts';
import { encodeCrushMap } from '../crush/codec.ts';
import { newCrushMap } from '../crush/default-map.ts';
import {
  BUCKET_LIST,
  BUCKET_STRAW,
  BUCKET_STRAW2,
  BUCKET_TREE,
  type CrushMap,
  DEFAULT_CHOOSE_ARGS,
  jewelTunables,
  WEIGHT_ONE,
} from '../crush/map.ts';
import { addSimpleRule } from '../crush/rules.ts';
import { OSD_EXISTS, OSD_UP } from './constants.ts';
import { OsdMap, zeroOsdInfo, zeroOsdXInfo } from './osdmap.ts';
import { decodeOsdMap, encodeOsdMap } from './osdmap-codec.ts';
import { PgMap } from './pg-map.ts';
import { Placement } from './placement.ts';
import { newPool, POOL_TYPE_ERASURE, POOL_TYPE_REPLICATED, type PgPool } from './pool.ts';

/**
 * Random maps, placed by us and by Debian's `osdmaptool --test-map-pgs-dump-all`: trees of several levels and bucket algorithms, device classes, weight sets, tunables, rules of
 * both modes, weights, OSDs that are down, out or gone, affinities, pg_temp, primary_temp, upmaps. `PLACEMENT_MAPS=1000 PLACEMENT_SEED=1` for a long run.
 */

const count = Number(process.env.PLACEMENT_MAPS ?? 25);
const firstSeed = Number(process.env.PLACEMENT_SEED ?? 1);
const directory = mkdtempSync(join(tmpdir(), 'placement-'));
afterAll(() => rmSync(directory, { recursive: true }));
const classes = ['ssd', 'hdd', 'nvme'];

function randomCrush(random: Random, osds: number): CrushMap {
  const below = (limit: number): number => random.uint32() % limit;
  const map = newCrushMap(['osd', 'host', 'rack'][below(3)]!);
  const legacy = below(4) === 0;
  const algorithms = legacy ? [BUCKET_LIST, BUCKET_TREE, BUCKET_STRAW, BUCKET_STRAW2] : [BUCKET_STRAW2];
  const addBucketOf = (name: string, type: string): number => {
    map.tunables.allowedBucketAlgs = 1 << algorithms[below(algorithms.length)]!;
    return addEmptyBucket(map, name, map.typeOfName(type)!);
  };
  const racks = 1 + below(4);
  const hosts = 1 + below(Math.max(1, Math.min(12, osds)));
  for (let rack = 0; rack < racks; rack++) moveBucket(map, addBucketOf(`rack${rack}`, 'rack'), { root: 'default' });
  for (let host = 0; host < hosts; host++)
    moveBucket(map, addBucketOf(`host${host}`, 'host'), { root: 'default', rack: `rack${below(racks)}` });
  for (let osd = 0; osd < osds; osd++) {
    const weight = below(10) === 0 ? 0 : Math.floor((0.2 + random.float() * 4) * WEIGHT_ONE);
    insertItem(map, osd, weight, `osd.${osd}`, { host: `host${below(hosts)}` });
  }
  for (const name of classes) createDeviceClass(map, name);
  for (let osd = 0; osd < osds; osd++) if (below(6) > 0) setDeviceClass(map, osd, classes[below(classes.length)]!);
  map.tunables = { ...jewelTunables, chooseTotalTries: 19 + below(60) };
  if (legacy) {
    map.tunables.chooseleafVaryR = below(3);
    map.tunables.chooseleafStable = below(2);
    map.tunables.chooseleafDescendOnce = below(2);
    map.tunables.chooseLocalTries = below(3);
  }
  if (!legacy && below(3) === 0) {
    const positions = 1 + below(3);
    createWeightSet(map, DEFAULT_CHOOSE_ARGS, positions);
    for (let osd = 0; osd < osds; osd += 1 + below(3))
      adjustWeightSet(
        map,
        DEFAULT_CHOOSE_ARGS,
        osd,
        Array.from({ length: positions }, () => Math.floor(random.float() * 4 * WEIGHT_ONE)),
      );
  }
  for (let rule = 0; rule < 3; rule++) {
    // Classes that devices under the root have.
    const shadows = map.classBuckets.get(map.idOfName('default')!);
    const present = [...(shadows?.keys() ?? [])].map((cls) => map.classNames.get(cls)!);
    const wanted = below(2) === 0 && present.length > 0 ? present[below(present.length)] : undefined;
    const erasure = below(2) === 0;
    addSimpleRule(map, {
      name: `rule${rule}`,
      root: 'default',
      failureDomain: ['osd', 'host', 'rack'][below(3)]!,
      mode: erasure ? 'indep' : 'firstn',
      type: erasure ? 3 : 1,
      ...(wanted === undefined ? {} : { deviceClass: wanted }),
    });
  }
  return map;
}

function randomMap(seed: number): OsdMap {
  const random = seededRandom(seed);
  const below = (limit: number): number => random.uint32() % limit;
  const osds = 1 + below(40);
  const map = new OsdMap();
  map.fsid = '11111111-2222-3333-4444-555555555555';
  map.epoch = 1 + below(1000);
  map.maxOsd = osds;
  map.crush = randomCrush(random, osds);
  map.crushBytes = encodeCrushMap(map.crush);
  map.osdState = new Uint32Array(osds).map(() => (below(20) === 0 ? 0 : OSD_EXISTS | (below(6) === 0 ? 0 : OSD_UP)));
  map.osdWeight = new Uint32Array(osds).map(() => [0x10000, 0x10000, 0x10000, 0, 0x8000 + below(0x8000)][below(5)]!);
  if (below(2) === 0) map.primaryAffinity = new Uint32Array(osds).map(() => [0x10000, 0, below(0x10000)][below(3)]!);
  const none = Array.from({ length: osds }, () => []);
  map.clientAddrs = map.clusterAddrs = map.hbBackAddrs = map.hbFrontAddrs = none;
  map.osdInfo = none.map(() => zeroOsdInfo);
  map.osdXInfo = none.map(() => zeroOsdXInfo);
  map.osdUuid = none.map(() => map.fsid);
  const pools = new Map<number, PgPool>();
  for (let pool = 1; pool <= 3; pool++) {
    const rule = below(map.crush.rules.length);
    const erasure = map.crush.rules[rule]!.type === 3;
    const pgNum = 1 + below(64);
    pools.set(
      pool,
      newPool({
        type: erasure ? POOL_TYPE_ERASURE : POOL_TYPE_REPLICATED,
        size: 1 + below(erasure ? 8 : 5),
        minSize: 1,
        crushRule: rule,
        pgNum,
        pgpNum: 1 + below(pgNum),
        ...(below(5) === 0 ? { flags: 0 } : {}),
      }),
    );
  }
  map.pools = pools;
  map.poolNames = new Map([...pools.keys()].map((id) => [id, `pool${id}`]));
  map.poolMax = 3;
  const some = (length: number): number[] => {
    const out = new Set<number>();
    for (let i = 0; i < length; i++) out.add(below(osds));
    return [...out];
  };
  map.pgTemp = new PgMap<readonly number[]>();
  map.primaryTemp = new PgMap<number>();
  map.pgUpmap = new PgMap<readonly number[]>();
  map.pgUpmapItems = new PgMap<readonly (readonly [number, number])[]>();
  for (const [id, pool] of pools)
    for (let pg = 0; pg < pool.pgNum; pg++) {
      if (below(8) === 0) map.pgTemp.set(id, pg, some(pool.size));
      if (below(16) === 0) map.primaryTemp.set(id, pg, below(osds));
      const kind = below(10);
      if (kind === 0) map.pgUpmap.set(id, pg, some(pool.size));
      else if (kind < 3) map.pgUpmapItems.set(id, pg, [[below(osds), below(osds)]]);
    }
  return map;
}

/** Lines `PG up primary acting primary`. */
function ours(map: OsdMap): string[] {
  const placement = new Placement(map);
  const out: string[] = [];
  for (const [id, pool] of map.pools)
    for (let pg = 0; pg < pool.pgNum; pg++) {
      const { up, upPrimary, acting, actingPrimary } = placement.mapPg(id, pg);
      out.push(`${id}.${pg.toString(16)} [${up.join()}] ${upPrimary} [${acting.join()}] ${actingPrimary}`);
    }
  return out;
}

async function theirs(file: string): Promise<string[]> {
  const child = Bun.spawn(['osdmaptool', file, '--test-map-pgs-dump-all'], { stdout: 'pipe', stderr: 'pipe' });
  const [text, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`osdmaptool: ${errors}`);
  const line = /^(\d+\.[0-9a-f]+) raw \(\[.*?\], p-?\d+\) up \((\[.*?\]), p(-?\d+)\) acting \((\[.*?\]), p(-?\d+)\)$/gm;
  return [...text.matchAll(line)].map(
    ([, pg, up, upPrimary, acting, primary]) => `${pg} ${up} ${upPrimary} ${acting} ${primary}`,
  );
}

test.skipIf(Bun.which('osdmaptool') === null)(
  `${count} random maps from seed ${firstSeed}: every PG is where osdmaptool puts it`,
  { timeout: 60_000 + count * 2000 },
  async () => {
    let pgs = 0;
    for (let seed = firstSeed; seed < firstSeed + count; seed++) {
      const bytes = encodeOsdMap(randomMap(seed));
      const file = join(directory, `map-${seed}`);
      writeFileSync(file, bytes);
      const mine = ours(decodeOsdMap(bytes));
      const [sorted, expected] = [mine, await theirs(file)].map((lines) => [...lines].sort());
      expect(sorted, `seed ${seed}`).toEqual(expected);
      pgs += mine.length;
      rmSync(file);
    }
    expect(pgs).toBeGreaterThan(count * 10);
  },
);
