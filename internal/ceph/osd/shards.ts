import { ITEM_NONE } from '../crush/map.ts';
import type { MessageCodec } from '../wire/message.ts';
import type { UTime } from '../wire/encoding.ts';
import type { PgMessage } from '../wire/messages/osd_osd.ts';
import { type EntityAddr, type EntityAddrVec, type IntervalSet, type PgId, pgText } from '../wire/types.ts';
import type { MapView, Placement, PoolView } from './map-view.ts';
import type { PgEnv } from './pg-env.ts';

/**
 * Who holds a copy of a PG: the number of its OSD; in an erasure-coded pool, where an OSD may hold several shards, that with the shard. The code of a PG
 * only compares these numbers; its environment and its maps (below) turn them into OSDs.
 */
export type Member = number;

/** Numbers of OSDs are below this. */
const shardStep = 2 ** 24;

/** The place of a shard that nobody holds. */
export const noMember: Member = ITEM_NONE;

export function memberOf(osd: number, shard: number): Member {
  return osd === ITEM_NONE || osd < 0 ? osd : osd + (shard + 1) * shardStep;
}

/** Also of `noMember` and -1, which stay. */
export function osdOf(member: Member): number {
  return member === ITEM_NONE || member < 0 ? member : member % shardStep;
}

/** Undefined in a replicated pool. */
export function shardOf(member: Member): number | undefined {
  return member < shardStep || member === ITEM_NONE ? undefined : Math.floor(member / shardStep) - 1;
}

/** `3`, of a shard `3(0)`. */
export function memberText(member: Member): string {
  const shard = shardOf(member);
  return shard === undefined ? String(member) : `${osdOf(member)}(${shard})`;
}

/** How many places of an acting set are taken. */
export function placed(members: readonly Member[]): number {
  let count = 0;
  for (const member of members) if (member !== noMember) count++;
  return count;
}

/** A map as the shards of erasure-coded PGs see it: OSDs of PGs are members, place i of a PG is shard i. */
class ShardView implements MapView {
  readonly #map: MapView;

  constructor(map: MapView) {
    this.#map = map;
  }

  get epoch(): number {
    return this.#map.epoch;
  }
  pool(id: number): PoolView | undefined {
    return this.#map.pool(id);
  }
  pools(): Iterable<number> {
    return this.#map.pools();
  }
  place(pg: PgId): Placement {
    const { up, upPrimary, acting, actingPrimary } = this.#map.place(pg);
    const primary = (list: readonly number[], osd: number): Member =>
      osd < 0 ? osd : memberOf(osd, Math.max(0, list.indexOf(osd)));
    return {
      up: up.map(memberOf),
      upPrimary: primary(up, upPrimary),
      acting: acting.map(memberOf),
      actingPrimary: primary(acting, actingPrimary),
    };
  }
  changesPlacement(pool: number): boolean {
    return this.#map.changesPlacement(pool);
  }
  hashOf(pool: number, name: string, key: string, nspace: string): number | undefined {
    return this.#map.hashOf(pool, name, key, nspace);
  }
  pgOfHash(pool: number, hash: number): PgId {
    return this.#map.pgOfHash(pool, hash);
  }
  exists(member: Member): boolean {
    return this.#map.exists(osdOf(member));
  }
  isUp(member: Member): boolean {
    return member !== noMember && this.#map.isUp(osdOf(member));
  }
  upFrom(member: Member): number {
    return member === noMember ? 0 : this.#map.upFrom(osdOf(member));
  }
  upThru(member: Member): number {
    return this.#map.upThru(osdOf(member));
  }
  downAt(member: Member): number {
    return this.#map.downAt(osdOf(member));
  }
  lostAt(member: Member): number {
    return this.#map.lostAt(osdOf(member));
  }
  isDead(member: Member): boolean {
    return this.#map.isDead(osdOf(member));
  }
  storeUuid(member: Member): string | undefined {
    return this.#map.storeUuid(osdOf(member));
  }
  clientAddrs(member: Member): EntityAddrVec {
    return this.#map.clientAddrs(osdOf(member));
  }
  clusterAddrs(member: Member): EntityAddrVec {
    return this.#map.clusterAddrs(osdOf(member));
  }
  heartbeatAddrs(member: Member): EntityAddrVec {
    return this.#map.heartbeatAddrs(osdOf(member));
  }
  heartbeatFrontAddrs(member: Member): EntityAddrVec {
    return this.#map.heartbeatFrontAddrs(osdOf(member));
  }
  osds(): Iterable<number> {
    return this.#map.osds();
  }
  hasFlag(flag: number): boolean {
    return this.#map.hasFlag(flag);
  }
  isBlocklisted(addr: EntityAddr): boolean {
    return this.#map.isBlocklisted(addr);
  }
  blocklist(): { addr: EntityAddr; until: UTime }[] {
    return this.#map.blocklist();
  }
  isSnapRemoved(pool: number, snap: bigint): boolean {
    return this.#map.isSnapRemoved(pool, snap);
  }
  removedSnaps(pool: number): IntervalSet {
    return this.#map.removedSnaps(pool);
  }
  fullness(member: Member): number {
    return this.#map.fullness(osdOf(member));
  }
  get backfillfullRatio(): number {
    return this.#map.backfillfullRatio;
  }
  get nearfullRatio(): number {
    return this.#map.nearfullRatio;
  }
  get fullRatio(): number {
    return this.#map.fullRatio;
  }
  get releases(): { osd: number; minCompatClient: number } {
    return this.#map.releases;
  }
}

const views = new WeakMap<MapView, MapView>();

/** The map as this PG, or shard of one, sees it. */
export function viewFor(map: MapView, pg: PgId): MapView {
  if (pg.shard === undefined || pg.shard < 0) return map;
  let view = views.get(map);
  if (view === undefined) {
    view = new ShardView(map);
    views.set(map, view);
  }
  return view;
}

/** The environment of this PG, or shard of one: it knows itself and others as members. */
export function envFor(env: PgEnv, pg: PgId): PgEnv {
  const { shard } = pg;
  if (shard === undefined || shard < 0) return env;
  return {
    ...env,
    whoami: memberOf(env.whoami, shard),
    send<T>(member: Member, codec: MessageCodec<T>, body: T, sent?: () => void): void {
      const { pool, seed } = (body as PgMessage).pg;
      const pg = { pool, seed, shard: shardOf(member) ?? 0 };
      env.send(osdOf(member), codec, { ...body, pg, fromShard: shard }, sent);
    },
    bulk: (member, send) => env.bulk(osdOf(member), send),
    clockDelta: (member) => env.clockDelta(osdOf(member)),
    wantPgTemp: ({ pool, seed }, members) => env.wantPgTemp({ pool, seed }, members.map(osdOf)),
  };
}

/** Who sent a message about a PG. */
export function senderOf(osd: number, m: PgMessage): Member {
  return m.pg.shard === undefined ? osd : memberOf(osd, m.fromShard ?? 0);
}

/** The PG of this name here; of an erasure-coded PG as a whole the shard that leads it, if that is here. */
export function findPg<T extends { core: { id: PgId; isPrimary: boolean } }>(
  pgs: ReadonlyMap<string, T>,
  id: PgId,
): T | undefined {
  const found = pgs.get(pgText(id));
  if (found !== undefined) return found;
  for (const pg of pgs.values())
    if (pg.core.id.pool === id.pool && pg.core.id.seed === id.seed && pg.core.isPrimary) return pg;
  return undefined;
}

/** The shard of an erasure-coded PG that leads it, or the PG itself. */
export function leadingPg(map: MapView, pg: PgId): PgId {
  if (map.pool(pg.pool)?.erasure !== true) return pg;
  const { acting, actingPrimary } = map.place(pg);
  return { pool: pg.pool, seed: pg.seed, shard: Math.max(0, acting.indexOf(actingPrimary)) };
}
