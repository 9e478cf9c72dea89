import { DecodeError } from '../../base/bytes.ts';
import { bytesFromText, type Decoder, type Encoder } from './encoding.ts';

/** Entity types (`src/include/msgr.h`), also the bits of a set of services in cephx. */
export const ENTITY_MON = 1;
export const ENTITY_MDS = 2;
export const ENTITY_OSD = 4;
export const ENTITY_CLIENT = 8;
export const ENTITY_MGR = 0x10;
export const ENTITY_AUTH = 0x20;

const entityTypeNames = new Map([
  [ENTITY_MON, 'mon'],
  [ENTITY_MDS, 'mds'],
  [ENTITY_OSD, 'osd'],
  [ENTITY_CLIENT, 'client'],
  [ENTITY_MGR, 'mgr'],
  [ENTITY_AUTH, 'auth'],
]);

export function entityTypeName(type: number): string {
  return entityTypeNames.get(type) ?? `type${type}`;
}

export function entityTypeOf(name: string): number | undefined {
  for (const [type, text] of entityTypeNames) if (text === name) return type;
  return undefined;
}

/** `entity_name_t`: a running peer, `osd.2`, `client.4123` (`num` is the global id of a client). */
export interface EntityNum {
  type: number;
  num: number;
}

export function encodeEntityNum(e: Encoder, name: EntityNum): void {
  e.u8(name.type).s64(name.num);
}
export function decodeEntityNum(d: Decoder): EntityNum {
  return { type: d.u8(), num: d.s64() };
}
export function entityNumText(name: EntityNum): string {
  return `${entityTypeName(name.type)}.${name.num < 0 ? '?' : name.num}`;
}

/** `EntityName` of the auth system: `client.admin`. */
export interface EntityName {
  type: number;
  id: string;
}

export function encodeEntityName(e: Encoder, name: EntityName): void {
  e.u32(name.type).string(name.id);
}
export function decodeEntityName(d: Decoder): EntityName {
  return { type: d.u32(), id: d.string() };
}
export function entityNameText(name: EntityName): string {
  return `${entityTypeName(name.type)}.${name.id}`;
}
/** `client.admin`, `osd.0`, `mon.`; undefined when it is none. */
export function parseEntityName(text: string): EntityName | undefined {
  const dot = text.indexOf('.');
  if (dot < 0) return undefined;
  const type = entityTypeOf(text.slice(0, dot));
  return type === undefined ? undefined : { type, id: text.slice(dot + 1) };
}

export const ADDR_NONE = 0;
export const ADDR_LEGACY = 1;
export const ADDR_MSGR2 = 2;
export const ADDR_ANY = 3;
export const ADDR_CIDR = 4;

export const AF_INET = 2;
export const AF_INET6 = 10;

/** `entity_addr_t`. `family` 0 is the blank address. */
export interface EntityAddr {
  type: number;
  nonce: number;
  family: number;
  /** `127.0.0.1`, `::1`; empty when blank. */
  ip: string;
  port: number;
}

export type EntityAddrVec = readonly EntityAddr[];

export const blankAddr: EntityAddr = Object.freeze({ type: ADDR_NONE, nonce: 0, family: 0, ip: '', port: 0 });

export function addrV2(ip: string, port: number, nonce = 0): EntityAddr {
  return { type: ADDR_MSGR2, nonce, family: ip.includes(':') ? AF_INET6 : AF_INET, ip, port };
}

export function sameAddr(a: EntityAddr, b: EntityAddr): boolean {
  return a.type === b.type && a.nonce === b.nonce && a.family === b.family && a.port === b.port && a.ip === b.ip;
}
export function sameAddrs(a: EntityAddrVec, b: EntityAddrVec): boolean {
  return a.length === b.length && a.every((addr, i) => sameAddr(addr, b[i]!));
}

/** 4 or 16 bytes. Throws RangeError. */
export function ipBytes(addr: EntityAddr): Uint8Array {
  if (addr.family === AF_INET) {
    const parts = addr.ip.split('.').map(Number);
    if (parts.length !== 4 || parts.some((p) => !(p >= 0 && p <= 255)))
      throw new RangeError(`not an IPv4 address: ${addr.ip}`);
    return Uint8Array.from(parts);
  }
  const [head = '', tail] = addr.ip.split('%')[0]!.split('::') as [string, string?];
  const words = (text: string): number[] =>
    text === ''
      ? []
      : text.split(':').flatMap((w) => {
          if (!w.includes('.')) return [Number.parseInt(w, 16)];
          const p = w.split('.').map(Number);
          return [(p[0]! << 8) | p[1]!, (p[2]! << 8) | p[3]!];
        });
  const first = words(head);
  const last = tail === undefined ? [] : words(tail);
  const gap = 8 - first.length - last.length;
  if (gap < 0 || (tail === undefined && gap !== 0)) throw new RangeError(`not an IPv6 address: ${addr.ip}`);
  const all = [...first, ...new Array<number>(gap).fill(0), ...last];
  return Uint8Array.from(all.flatMap((w) => [w >> 8, w & 255]));
}

function ipText(family: number, b: Uint8Array): string {
  if (family === AF_INET) return `${b[0]}.${b[1]}.${b[2]}.${b[3]}`;
  const words: number[] = [];
  for (let i = 0; i < 16; i += 2) words.push((b[i]! << 8) | b[i + 1]!);
  let best = { at: -1, length: 1 };
  for (let i = 0; i < 8; ) {
    let n = i;
    while (n < 8 && words[n] === 0) n++;
    if (n - i > best.length) best = { at: i, length: n - i };
    i = n + 1;
  }
  const text = (part: number[]): string => part.map((w) => w.toString(16)).join(':');
  if (best.at < 0) return text(words);
  return `${text(words.slice(0, best.at))}::${text(words.slice(best.at + best.length))}`;
}

/** The modern form (MSG_ADDR2), the only one we write. */
export function encodeAddr(e: Encoder, addr: EntityAddr): void {
  e.u8(1);
  const at = e.open(1, 1);
  e.u32(addr.type).u32(addr.nonce);
  const port = ((addr.port & 0xff) << 8) | (addr.port >> 8);
  if (addr.family === AF_INET) e.u32(16).u16(AF_INET).u16(port).bytes(ipBytes(addr)).zeros(8);
  else if (addr.family === AF_INET6) e.u32(28).u16(AF_INET6).u16(port).u32(0).bytes(ipBytes(addr)).u32(0);
  else e.u32(28).zeros(28);
  e.close(at);
}

function decodeSockaddr(d: Decoder, type: number, nonce: number, length: number, bigEndianFamily: boolean): EntityAddr {
  const end = d.at + length;
  if (length > d.remaining) throw new DecodeError(`sockaddr of ${length} bytes, has ${d.remaining}`);
  let family = 0;
  let ip = '';
  let port = 0;
  if (length >= 2) {
    const raw = d.u16();
    family = bigEndianFamily ? ((raw & 0xff) << 8) | (raw >> 8) : raw;
    if (family === AF_INET && length >= 8) {
      port = (d.u8() << 8) | d.u8();
      ip = ipText(AF_INET, d.bytes(4));
    } else if (family === AF_INET6 && length >= 24) {
      port = (d.u8() << 8) | d.u8();
      d.skip(4);
      ip = ipText(AF_INET6, d.bytes(16));
    } else if (family !== 0) throw new DecodeError(`address family ${family} in ${length} bytes`);
  }
  d.at = end;
  return { type, nonce, family, ip, port };
}

function decodeAddrAfterMarker(d: Decoder, marker: number): EntityAddr {
  if (marker === 0) {
    d.skip(3);
    const nonce = d.u32();
    const addr = decodeSockaddr(d, ADDR_LEGACY, nonce, 128, true);
    return addr.family === 0 ? { ...addr, type: ADDR_NONE } : addr;
  }
  if (marker !== 1) throw new DecodeError(`entity_addr_t: marker ${marker}`);
  const opened = d.open('entity_addr_t', 1);
  const type = d.u32();
  const nonce = d.u32();
  const length = d.u32();
  const addr = decodeSockaddr(d, type, nonce, length, false);
  d.close(opened);
  return addr;
}

export function decodeAddr(d: Decoder): EntityAddr {
  return decodeAddrAfterMarker(d, d.u8());
}

export function encodeAddrVec(e: Encoder, addrs: EntityAddrVec): void {
  e.u8(2).u32(addrs.length);
  for (const addr of addrs) encodeAddr(e, addr);
}
export function decodeAddrVec(d: Decoder): EntityAddr[] {
  const marker = d.u8();
  if (marker !== 2) return [decodeAddrAfterMarker(d, marker)];
  return d.list(decodeAddr, 8);
}

/** `v2:10.0.0.1:6800/123`, `v1:[::1]:6789/0`; `-` when blank, as Ceph prints it. */
export function addrText(addr: EntityAddr): string {
  if (addr.type === ADDR_NONE && addr.family === 0) return '-';
  const prefix =
    addr.type === ADDR_MSGR2 ? 'v2:' : addr.type === ADDR_LEGACY ? 'v1:' : addr.type === ADDR_ANY ? 'any:' : '';
  return `${prefix}${addrHostPort(addr)}/${addr.nonce}`;
}
/** Without type and nonce: `10.0.0.1:6800`. */
export function addrHostPort(addr: EntityAddr): string {
  const host = addr.family === AF_INET6 ? `[${addr.ip}]` : addr.family === 0 ? '' : addr.ip;
  return `${host}:${addr.port}`;
}
/** `[v2:10.0.0.1:6800/123,v1:10.0.0.1:6801/123]`; a single address stands without brackets, as Ceph prints it. */
export function addrVecText(addrs: EntityAddrVec): string {
  if (addrs.length === 1) return addrText(addrs[0]!);
  return `[${addrs.map(addrText).join(',')}]`;
}
/** Reads what `addrText` prints; type `v2` when none is given. Port and nonce may be missing. */
export function parseAddr(text: string): EntityAddr | undefined {
  if (text === '-') return blankAddr;
  const match = /^(?:(v1|v2|any):)?(?:\[([0-9a-fA-F:.]+)\]|(\d+\.\d+\.\d+\.\d+))(?::(\d{1,5}))?(?:\/(\d{1,10}))?$/.exec(
    text,
  );
  if (match === null) return undefined;
  const type = match[1] === 'v1' ? ADDR_LEGACY : match[1] === 'any' ? ADDR_ANY : ADDR_MSGR2;
  const family = match[2] === undefined ? AF_INET : AF_INET6;
  const addr = { type, nonce: Number(match[5] ?? 0), family, ip: match[2] ?? match[3]!, port: Number(match[4] ?? 0) };
  if (addr.port > 65535 || addr.nonce > 0xffff_ffff) return undefined;
  try {
    addr.ip = ipText(family, ipBytes(addr));
    return addr;
  } catch {
    return undefined;
  }
}

/** `snapid_t` values with a meaning (`src/include/rados.h`). */
export const SNAP_HEAD = 0xffff_ffff_ffff_fffen;
export const SNAP_DIR = 0xffff_ffff_ffff_ffffn;
export const SNAP_MAX = 0xffff_ffff_ffff_fffdn;

/** Pool of an `hobject_t` that sorts before all others. */
export const POOL_MIN = -(2 ** 63);

/** `hobject_t`: an object and where it sorts in its PG. */
export interface HObject {
  key: string;
  name: string;
  snap: bigint;
  hash: number;
  max: boolean;
  nspace: string;
  pool: number;
}

export const hobjectMin: HObject = Object.freeze({
  key: '',
  name: '',
  snap: 0n,
  hash: 0,
  max: false,
  nspace: '',
  pool: POOL_MIN,
});
export const hobjectMax: HObject = Object.freeze({
  key: '',
  name: '',
  snap: 0n,
  hash: 0,
  max: true,
  nspace: '',
  pool: POOL_MIN,
});

export function encodeHObject(e: Encoder, o: HObject): void {
  const at = e.open(4, 3);
  e.string(o.key).string(o.name).u64b(o.snap).u32(o.hash).bool(o.max).string(o.nspace).s64(o.pool);
  e.close(at);
}
export function decodeHObject(d: Decoder): HObject {
  const opened = d.open('hobject_t', 4);
  const o: HObject = {
    key: d.string(),
    name: d.string(),
    snap: d.u64b(),
    hash: d.u32(),
    max: d.bool(),
    nspace: d.string(),
    pool: d.pool(),
  };
  if (o.pool === -1 && o.snap === 0n && o.hash === 0 && !o.max && o.name === '') o.pool = POOL_MIN;
  d.close(opened);
  return o;
}

export function reverseBits32(x: number): number {
  x = ((x >>> 1) & 0x55555555) | ((x & 0x55555555) << 1);
  x = ((x >>> 2) & 0x33333333) | ((x & 0x33333333) << 2);
  x = ((x >>> 4) & 0x0f0f0f0f) | ((x & 0x0f0f0f0f) << 4);
  x = ((x >>> 8) & 0x00ff00ff) | ((x & 0x00ff00ff) << 8);
  return ((x >>> 16) | (x << 16)) >>> 0;
}

function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  return Buffer.compare(bytesFromText(a), bytesFromText(b));
}

/** The "bitwise" order in which PGs list (`src/common/hobject.cc`). */
export function compareHObject(a: HObject, b: HObject): number {
  if (a.max !== b.max) return a.max ? 1 : -1;
  if (a.pool !== b.pool) return a.pool < b.pool ? -1 : 1;
  if (a.hash !== b.hash) return reverseBits32(a.hash) < reverseBits32(b.hash) ? -1 : 1;
  return (
    compareBytes(a.nspace, b.nspace) ||
    compareBytes(a.key === '' ? a.name : a.key, b.key === '' ? b.name : b.key) ||
    compareBytes(a.name, b.name) ||
    (a.snap === b.snap ? 0 : a.snap < b.snap ? -1 : 1)
  );
}

/** `pg_t`. */
export interface PgId {
  pool: number;
  seed: number;
  /** Which shard of an erasure-coded PG; undefined or negative: the PG as a whole. */
  shard?: number;
}

export function encodePg(e: Encoder, pg: PgId): void {
  e.u8(1).u64(pg.pool).u32(pg.seed).s32(-1);
}
export function decodePg(d: Decoder): PgId {
  const version = d.u8();
  if (version !== 1) throw new DecodeError(`pg_t: version ${version}`);
  const pg = { pool: d.s64(), seed: d.u32() };
  d.skip(4);
  return pg;
}
/** `1.2f`, of a shard `1.2fs0`. */
export function pgText(pg: PgId): string {
  const text = `${pg.pool}.${pg.seed.toString(16)}`;
  return pg.shard === undefined || pg.shard < 0 ? text : `${text}s${pg.shard}`;
}
export function parsePg(text: string): PgId | undefined {
  const match = /^(\d+)\.([0-9a-f]{1,8})(?:s(\d{1,3}))?$/.exec(text);
  if (match === null) return undefined;
  const pg = { pool: Number(match[1]), seed: Number.parseInt(match[2]!, 16) };
  return match[3] === undefined ? pg : { ...pg, shard: Number(match[3]) };
}
export function comparePg(a: PgId, b: PgId): number {
  return a.pool - b.pool || a.seed - b.seed;
}

/** `spg_t`; shard -1 in replicated pools. */
export interface ShardPgId extends PgId {
  shard: number;
}

export const NO_SHARD = -1;

export function encodeShardPg(e: Encoder, pg: ShardPgId): void {
  const at = e.open(1, 1);
  encodePg(e, pg);
  e.s8(pg.shard);
  e.close(at);
}
export function decodeShardPg(d: Decoder): ShardPgId {
  const opened = d.open('spg_t', 1);
  const pg = decodePg(d);
  const shard = d.s8();
  d.close(opened);
  return { pool: pg.pool, seed: pg.seed, shard };
}

/** `object_locator_t`. */
export interface ObjectLocator {
  pool: number;
  key: string;
  nspace: string;
  /** -1 when the object's name decides. */
  hash: number;
}

export function encodeLocator(e: Encoder, l: ObjectLocator): void {
  const at = e.open(6, l.hash === -1 ? 3 : 6);
  e.s64(l.pool).s32(-1).string(l.key).string(l.nspace).s64(l.hash);
  e.close(at);
}
export function decodeLocator(d: Decoder): ObjectLocator {
  const opened = d.open('object_locator_t', 6);
  const pool = d.pool();
  d.skip(4);
  const key = d.string();
  const nspace = opened.version >= 5 ? d.string() : '';
  const hash = opened.version >= 6 ? d.s64() : -1;
  d.close(opened);
  return { pool, key, nspace, hash };
}

/** `osd_reqid_t`: identity of a client's request, for duplicate detection. */
export interface RequestId {
  name: EntityNum;
  tid: number;
  inc: number;
}

export function encodeRequestId(e: Encoder, id: RequestId): void {
  const at = e.open(2, 2);
  encodeEntityNum(e, id.name);
  e.u64(id.tid).s32(id.inc);
  e.close(at);
}
export function decodeRequestId(d: Decoder): RequestId {
  const opened = d.open('osd_reqid_t', 2);
  const id = { name: decodeEntityNum(d), tid: d.u64(), inc: d.s32() };
  d.close(opened);
  return id;
}
/** `client.4123.0:17`. */
export function requestIdText(id: RequestId): string {
  return `${entityNumText(id.name)}.${id.inc}:${id.tid}`;
}

/** `eversion_t`. On the wire the version comes first. */
export interface EVersion {
  epoch: number;
  version: number;
}

export const eversionZero: EVersion = Object.freeze({ epoch: 0, version: 0 });

export function encodeEVersion(e: Encoder, v: EVersion): void {
  e.u64(v.version).u32(v.epoch);
}
export function decodeEVersion(d: Decoder): EVersion {
  const version = d.u64();
  return { version, epoch: d.u32() };
}
export function compareEVersion(a: EVersion, b: EVersion): number {
  return a.epoch - b.epoch || a.version - b.version;
}
/** `12'345`. */
export function eversionText(v: EVersion): string {
  return `${v.epoch}'${v.version}`;
}

/** `SnapContext`: `snaps` newest first. */
export interface SnapContext {
  seq: bigint;
  snaps: readonly bigint[];
}

export const noSnaps: SnapContext = Object.freeze({ seq: 0n, snaps: [] });

/** `interval_set<snapid_t>`: [start, length] pairs, ascending, not touching. */
export type IntervalSet = readonly (readonly [start: bigint, length: bigint])[];

export function encodeIntervalSet(e: Encoder, set: IntervalSet): void {
  e.list(set, (x, [start, length]) => x.u64b(start).u64b(length));
}
export function decodeIntervalSet(d: Decoder): [bigint, bigint][] {
  return d.list((x): [bigint, bigint] => [x.u64b(), x.u64b()], 16);
}
