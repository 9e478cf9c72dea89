import { bytesEqual } from '../../base/bytes.ts';
import type { UTime } from '../wire/encoding.ts';
import type { ScrubObject } from '../wire/messages/osd_scrub.ts';
import { compareEVersion, type EVersion, type HObject, SNAP_HEAD } from '../wire/types.ts';
import type { Digests } from './digests.ts';
import {
  decodeObjectInfo,
  decodeSnapSet,
  infoXattr,
  type ObjectInfo,
  type SnapSet,
  snapsetXattr,
  userXattrPrefix,
} from './object-info.ts';
import { objectId } from './object-key.ts';

/** What is wrong with one copy of an object: bits of `err_t` (`src/include/rados/rados_types.hpp`). */
export const SHARD = {
  missing: 1 << 1,
  statError: 1 << 2,
  readError: 1 << 3,
  dataDigestMismatchInfo: 1 << 9,
  omapDigestMismatchInfo: 1 << 10,
  sizeMismatchInfo: 1 << 11,
  ecHashMismatch: 1 << 12,
  infoMissing: 1 << 14,
  infoCorrupted: 1 << 15,
  snapsetMissing: 1 << 16,
  snapsetCorrupted: 1 << 17,
  objectSizeInfoMismatch: 1 << 18,
} as const;
const shardDigests = SHARD.dataDigestMismatchInfo | SHARD.omapDigestMismatchInfo;
const shardDeep = SHARD.readError | SHARD.ecHashMismatch | shardDigests;

/** How copies of an object differ: bits of `obj_err_t`. */
export const OBJECT = {
  infoInconsistency: 1 << 1,
  dataDigestMismatch: 1 << 4,
  omapDigestMismatch: 1 << 5,
  sizeMismatch: 1 << 6,
  attrValueMismatch: 1 << 7,
  attrNameMismatch: 1 << 8,
  snapsetInconsistency: 1 << 9,
} as const;
const objectDeep = OBJECT.dataDigestMismatch | OBJECT.omapDigestMismatch;

/** What is wrong with an object's clones: bits of `inconsistent_snapset_t`. */
export const SNAPSET = {
  missing: 1 << 0,
  corrupted: 1 << 1,
  cloneMissing: 1 << 2,
  headless: 1 << 5,
  sizeMismatch: 1 << 6,
  infoMissing: 1 << 7,
  infoCorrupted: 1 << 8,
  extraClones: 1 << 9,
} as const;

/** One copy with what is wrong with it. */
export interface ShardVerdict {
  osd: number;
  errors: number;
  /** Undefined: it is missing. */
  object: ScrubObject | undefined;
  info: ObjectInfo | undefined;
  /** The copy whose object info all others were compared with. */
  selected: boolean;
}

/** An object whose copies are not all right and the same. */
export interface Inconsistency {
  oid: HObject;
  /** Bits of `OBJECT`. */
  errors: number;
  /** Bits of `SHARD` of all copies together. */
  shardErrors: number;
  userVersion: number;
  /** By number of OSD. */
  shards: ShardVerdict[];
}

/** What repair is to do with an object: give it to `bad` from one of `good`. */
export interface Mend {
  oid: HObject;
  version: EVersion;
  good: number[];
  bad: number[];
}

/** Clones of an object that are not those which its snapset names. */
export interface SnapInconsistency {
  /** The head. */
  oid: HObject;
  /** Bits of `SNAPSET`. */
  errors: number;
  /** Clones that should not be there, and ones that should. */
  extra: bigint[];
  missing: bigint[];
  snapset: SnapSet | undefined;
}

/** What an object's info should say of its digests, and does not. */
export interface DigestFix extends Digests {
  oid: HObject;
  version: EVersion;
  /** What it says is wrong, though all copies are the same: only a repair changes it. */
  wrong: boolean;
  mtime: UTime;
}

export interface ScrubFindings {
  shallowErrors: number;
  deepErrors: number;
  objects: Inconsistency[];
  snapsets: SnapInconsistency[];
  mends: Mend[];
  digests: DigestFix[];
  /** What the copies hold where they agree, or what was chosen: for the PG's sums. */
  kept: ScrubObject[];
}

/** What holds of the shards of an object. */
export interface ShardRules {
  /** Length of each shard's copy of an object of this size. */
  sizeOf(size: number): number;
  /** Members whose data do not go with those of the others, by checksums of all; undefined: which cannot be told. */
  wrong(digests: ReadonlyMap<number, number>): number[] | undefined;
}

/**
 * Compares what the copies of a PG hold of a stretch (`be_compare_scrubmaps`). `maps`: by OSD; `primary` is one of them. Objects for which `skip` is true
 * are left out: they changed while the copies were read. `shards`: of an erasure-coded PG, whose copies are members' shards.
 */
export function compareMaps(
  maps: ReadonlyMap<number, readonly ScrubObject[]>,
  primary: number,
  skip: (oid: HObject) => boolean = () => false,
  shards?: ShardRules,
): ScrubFindings {
  const osds = [...maps.keys()].sort((a, b) => a - b);
  const byId = new Map<string, { oid: HObject; copies: Map<number, ScrubObject> }>();
  for (const [osd, objects] of maps)
    for (const object of objects) {
      const id = objectId(object.oid);
      let entry = byId.get(id);
      if (entry === undefined) {
        entry = { oid: object.oid, copies: new Map() };
        byId.set(id, entry);
      }
      entry.copies.set(osd, object);
    }
  const findings: ScrubFindings = {
    shallowErrors: 0,
    deepErrors: 0,
    objects: [],
    snapsets: [],
    mends: [],
    digests: [],
    kept: [],
  };
  const chosen: ShardVerdict[] = [];
  const unknown = new Set<string>();
  for (const [id, { oid, copies }] of byId) {
    if (skip(oid)) {
      unknown.add(objectId({ ...oid, snap: SNAP_HEAD }));
      continue;
    }
    const auth = compareObject(oid, osds, copies, primary, findings, shards);
    if (auth === undefined) unknown.add(id);
    else {
      chosen.push(auth);
      findings.kept.push(auth.object!);
    }
  }
  checkClones(chosen, unknown, findings, shards?.sizeOf);
  return findings;
}

function judge(osd: number, object: ScrubObject | undefined, sizeOf: (size: number) => number): ShardVerdict {
  const verdict: ShardVerdict = { osd, errors: 0, object, info: undefined, selected: false };
  if (object === undefined) {
    verdict.errors = SHARD.missing;
    return verdict;
  }
  if (object.statError) {
    verdict.errors = SHARD.statError;
    return verdict;
  }
  if (object.readError) verdict.errors |= SHARD.readError;
  const snapset = object.xattrs.get(snapsetXattr);
  if (object.oid.snap === SNAP_HEAD && snapset !== undefined && decoded(() => decodeSnapSet(snapset)) === undefined)
    verdict.errors |= SHARD.snapsetCorrupted;
  const bytes = object.xattrs.get(infoXattr);
  if (bytes === undefined) {
    verdict.errors |= SHARD.infoMissing;
    return verdict;
  }
  verdict.info = decoded(() => decodeObjectInfo(bytes));
  if (verdict.info === undefined) verdict.errors |= SHARD.infoCorrupted;
  else if (sizeOf(verdict.info.size) !== object.size) verdict.errors |= SHARD.objectSizeInfoMismatch;
  return verdict;
}

function decoded<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch {
    return undefined;
  }
}

/** Bits of `SHARD`: whether a copy is what the object's info says of its digests. */
function againstInfo({ dataDigest, omapDigest }: Digests, info: Digests): number {
  const differs = (a: number | undefined, b: number | undefined): boolean =>
    a !== undefined && b !== undefined && a !== b;
  return (
    (differs(dataDigest, info.dataDigest) ? SHARD.dataDigestMismatchInfo : 0) |
    (differs(omapDigest, info.omapDigest) ? SHARD.omapDigestMismatchInfo : 0)
  );
}

/**
 * The copy that is right (`be_select_auth_object`): of those without fault and of the newest version one that is what its info says of its digests, of these
 * what most agree on, else the primary's.
 */
function selectAuth(shards: readonly ShardVerdict[], primary: number, sharded: boolean): ShardVerdict | undefined {
  const seen = sharded ? ~OBJECT.dataDigestMismatch : ~0;
  const sound = shards.filter((s) => s.errors === 0);
  let newest: EVersion | undefined;
  for (const { info } of sound)
    if (newest === undefined || compareEVersion(info!.version, newest) > 0) newest = info!.version;
  const groups: ShardVerdict[][] = [];
  for (const shard of sound) {
    if (compareEVersion(shard.info!.version, newest!) !== 0) continue;
    const group = groups.find(([first]) => same(first!.object!, shard.object!, seen));
    if (group === undefined) groups.push([shard]);
    else group.push(shard);
  }
  const recorded = ([first]: ShardVerdict[]): number =>
    !sharded && againstInfo(first!.object!, first!.info!) === 0 ? 1 : 0;
  const led = (group: ShardVerdict[]): number => (group.some((s) => s.osd === primary) ? 1 : 0);
  groups.sort((a, b) => recorded(b) - recorded(a) || b.length - a.length || led(b) - led(a));
  const best = groups[0];
  return best?.find((s) => s.osd === primary) ?? best?.[0];
}

/** Whether they are the same in the bits of `OBJECT` that are `seen`. */
function same(a: ScrubObject, b: ScrubObject, seen: number): boolean {
  return a.xattrs.has(snapsetXattr) === b.xattrs.has(snapsetXattr) && (difference(a, b) & seen) === 0;
}

/** Bits of `OBJECT` in which a copy differs from the one that is taken for right. */
function difference(auth: ScrubObject, other: ScrubObject): number {
  let errors = 0;
  const digests = (a: number | undefined, b: number | undefined): boolean =>
    a !== undefined && b !== undefined && a !== b;
  if (digests(auth.dataDigest, other.dataDigest)) errors |= OBJECT.dataDigestMismatch;
  if (digests(auth.omapDigest, other.omapDigest)) errors |= OBJECT.omapDigestMismatch;
  if (auth.size !== other.size) errors |= OBJECT.sizeMismatch;
  if (differ(auth.xattrs.get(infoXattr), other.xattrs.get(infoXattr))) errors |= OBJECT.infoInconsistency;
  if (differ(auth.xattrs.get(snapsetXattr), other.xattrs.get(snapsetXattr))) errors |= OBJECT.snapsetInconsistency;
  for (const [name, value] of auth.xattrs) {
    if (!name.startsWith(userXattrPrefix)) continue;
    const theirs = other.xattrs.get(name);
    if (theirs === undefined) errors |= OBJECT.attrNameMismatch;
    else if (!bytesEqual(theirs, value)) errors |= OBJECT.attrValueMismatch;
  }
  for (const name of other.xattrs.keys())
    if (name.startsWith(userXattrPrefix) && !auth.xattrs.has(name)) errors |= OBJECT.attrNameMismatch;
  return errors;
}

/** What is missing on one side is told of that side. */
function differ(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && !bytesEqual(a, b);
}

/** Counts and notes what is wrong with an object; the copy that was taken for right, if there is one. */
function compareObject(
  oid: HObject,
  osds: readonly number[],
  copies: ReadonlyMap<number, ScrubObject>,
  primary: number,
  findings: ScrubFindings,
  rules: ShardRules | undefined,
): ShardVerdict | undefined {
  const sizeOf = rules?.sizeOf ?? ((size: number): number => size);
  const shards = osds.map((osd) => judge(osd, copies.get(osd), sizeOf));
  const auth = selectAuth(shards, primary, rules !== undefined);
  const found: Inconsistency = { oid, errors: 0, shardErrors: 0, userVersion: auth?.info?.userVersion ?? 0, shards };
  const good: number[] = [];
  const bad: number[] = [];
  if (rules !== undefined && auth !== undefined) {
    const sound = shards.filter((s) => s.errors === 0 && compareEVersion(s.info!.version, auth.info!.version) === 0);
    const digests = new Map<number, number>();
    for (const { osd, object } of sound) if (object!.dataDigest !== undefined) digests.set(osd, object!.dataDigest);
    const wrong = rules.wrong(digests);
    if (wrong === undefined) found.errors |= OBJECT.dataDigestMismatch;
    for (const verdict of shards) if (wrong?.includes(verdict.osd)) verdict.errors |= SHARD.ecHashMismatch;
  }
  if (auth !== undefined) auth.selected = true;
  for (const verdict of shards) {
    const { object } = verdict;
    let differs = 0;
    // Each shard has data of its own.
    if (auth !== undefined && object !== undefined && rules === undefined)
      verdict.errors |= againstInfo(object, auth.info!);
    // Of one of which nothing is known there is nothing to compare.
    if (auth !== undefined && object !== undefined && !object.statError) {
      differs = difference(auth.object!, object);
      // Each shard has data of its own.
      if (rules !== undefined) differs &= ~OBJECT.dataDigestMismatch;
      // Told of the copy already.
      if ((verdict.errors & SHARD.infoCorrupted) !== 0) differs &= ~OBJECT.infoInconsistency;
      if ((verdict.errors & SHARD.snapsetCorrupted) !== 0) differs &= ~OBJECT.snapsetInconsistency;
      if (object.size !== sizeOf(auth.info!.size)) verdict.errors |= SHARD.sizeMismatchInfo;
      const has = (which: ScrubObject): boolean => which.xattrs.has(snapsetXattr);
      if (oid.snap === SNAP_HEAD && has(auth.object!) && !has(object)) verdict.errors |= SHARD.snapsetMissing;
      if (oid.snap === SNAP_HEAD && !has(auth.object!) && has(object)) differs |= OBJECT.snapsetInconsistency;
      found.errors |= differs;
    }
    found.shardErrors |= verdict.errors;
    if ((verdict.errors & shardDeep) !== 0) findings.deepErrors++;
    else if (verdict.errors !== 0) findings.shallowErrors++;
    if (verdict.errors !== 0 || differs !== 0) bad.push(verdict.osd);
    else good.push(verdict.osd);
  }
  if ((found.errors & objectDeep) !== 0) findings.deepErrors++;
  else if (found.errors !== 0) findings.shallowErrors++;
  if (found.errors !== 0 || found.shardErrors !== 0) findings.objects.push(found);
  if (auth === undefined) return undefined;
  const { version, mtime } = auth.info!;
  if (bad.length > 0 && good.length > 0) findings.mends.push({ oid, version, good, bad });
  if (rules === undefined) {
    const { dataDigest, omapDigest } = auth.object!;
    const fix = { oid, version, mtime, dataDigest, omapDigest };
    // All are the same, and only not what the info says of their data.
    const wrong =
      shards.length > 1 && shards.every((s) => s.errors === SHARD.dataDigestMismatchInfo) && found.errors === 0;
    if (wrong) findings.digests.push({ ...fix, wrong });
    else if (bad.length === 0 && lacks(auth.info!, fix)) findings.digests.push({ ...fix, wrong });
  }
  return auth;
}

/** Whether a digest that was found is not in the info. */
function lacks(info: Digests, { dataDigest, omapDigest }: Digests): boolean {
  return (
    (info.dataDigest === undefined && dataDigest !== undefined) ||
    (info.omapDigest === undefined && omapDigest !== undefined)
  );
}

/** Heads against their clones (`scrub_snapshot_metadata`). Objects in `unknown`, and clones of such heads, are not judged. */
function checkClones(
  chosen: readonly ShardVerdict[],
  unknown: ReadonlySet<string>,
  findings: ScrubFindings,
  shard: (size: number) => number = (size) => size,
): void {
  const heads = new Map<string, { head: ShardVerdict | undefined; oid: HObject; clones: Map<bigint, ShardVerdict> }>();
  for (const verdict of chosen) {
    const { oid } = verdict.object!;
    const headOid = oid.snap === SNAP_HEAD ? oid : { ...oid, snap: SNAP_HEAD };
    const id = objectId(headOid);
    let family = heads.get(id);
    if (family === undefined) {
      family = { head: undefined, oid: headOid, clones: new Map() };
      heads.set(id, family);
    }
    if (oid.snap === SNAP_HEAD) family.head = verdict;
    else family.clones.set(oid.snap, verdict);
  }
  for (const [id, { head, oid, clones }] of heads) {
    if (unknown.has(id)) continue;
    const found: SnapInconsistency = { oid, errors: 0, extra: [], missing: [], snapset: undefined };
    if (head === undefined) found.errors |= SNAPSET.headless;
    else {
      const bytes = head.object!.xattrs.get(snapsetXattr);
      found.snapset = bytes === undefined ? { seq: 0n, clones: [] } : decodeSnapSet(bytes);
      if (bytes === undefined && clones.size > 0) found.errors |= SNAPSET.missing;
    }
    const expected = new Map((found.snapset?.clones ?? []).map((clone) => [clone.id, clone]));
    for (const [snap, clone] of expected) {
      const present = clones.get(snap);
      if (present === undefined) {
        if (!unknown.has(objectId({ ...oid, snap }))) found.missing.push(snap);
      } else if (present.object!.size !== shard(clone.size)) {
        found.errors |= SNAPSET.sizeMismatch;
        findings.shallowErrors++;
      }
    }
    for (const snap of clones.keys()) if (!expected.has(snap)) found.extra.push(snap);
    if (found.missing.length > 0) found.errors |= SNAPSET.cloneMissing;
    if (found.extra.length > 0 && head !== undefined) found.errors |= SNAPSET.extraClones;
    if (head === undefined) found.snapset = undefined;
    findings.shallowErrors += found.missing.length + found.extra.length;
    if (found.errors !== 0) findings.snapsets.push(found);
  }
}
