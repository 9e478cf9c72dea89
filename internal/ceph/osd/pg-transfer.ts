import { AppError } from '../../base/errors.ts';
import { sizeWords } from '../../base/words.ts';
import type { CollectionId, ObjectKey, ObjectStore, TransactionOp } from '../blockstore/api.ts';
import { objectsOf } from '../blockstore/check-data.ts';
import { ChecksumError, keyText } from '../blockstore/errors.ts';
import { compareEVersion, type EVersion, eversionText, eversionZero, type PgId, pgText } from '../wire/types.ts';
import {
  type ArchiveBegin,
  type ArchivePart,
  ArchiveWriter,
  archivePieceBytes,
  type ReadBytes,
  readArchive,
} from './pg-archive.ts';
import { allocHintOf } from './object-copy.ts';
import { decodeObjectInfo, infoXattr } from './object-info.ts';
import { isContentKey, isObjectKey, metaKey, objectOfKey } from './object-key.ts';
import { completeUpTo, type PgMeta } from './pg-meta.ts';
import { loadPg } from './store-check.ts';

/** Copies a PG out of the store of an OSD that does not run, and into another one's: objects, log and history, so that the cluster can use it. */

const pageEntries = 1024;
const removedAtOnce = 128;
/** Collections with these names are no PGs: an OSD leaves them alone. */
const importPrefix = 'import.';
const replacedPrefix = 'replaced.';
/** A disk is not filled beyond this share: its OSD would not serve what was brought. */
const fullShare = 0.95;

export interface ExportOptions {
  readonly fsid: string;
  readonly osd: number;
  readonly nowMs: number;
  /** By the newest map that the PG was taken through. */
  readonly pgNum: number;
  /** Writes the next bytes of the file. */
  readonly write: (pieces: readonly Uint8Array[]) => Promise<void>;
  /** Called with bytes that were written since the last call. */
  readonly progress: (bytes: number) => void;
  /** Leaves objects out that cannot be read as they were written, and notes in the copy that it lacks them. */
  readonly skipDamaged: boolean;
}

export interface Exported {
  readonly begin: ArchiveBegin;
  readonly objects: number;
  readonly dataBytes: number;
  /** Objects that were left out. */
  readonly skipped: readonly ObjectKey[];
}

/** Writes a copy of a PG. Errors: PG when it is not here, CHECKSUM for a damaged object (unless those are skipped). */
export async function exportPg(store: ObjectStore, pg: PgId, options: ExportOptions): Promise<Exported> {
  const cid = pgText(pg);
  const meta = loadPg(store, cid);
  if (meta === undefined) throw noPg(store, cid);
  const keys = [...objectsOf(store, cid)].filter(isContentKey);
  const writer = new ArchiveWriter();
  let planned = 0;
  for (const key of keys)
    if (store.stat(cid, key)?.damaged === undefined)
      for (const { length } of store.extents(cid, key, 0, Number.MAX_SAFE_INTEGER)) planned += length;
  const begin: ArchiveBegin = {
    pg,
    fsid: options.fsid,
    osd: options.osd,
    createdMs: options.nowMs,
    epoch: meta.epoch,
    pgNum: options.pgNum,
    lastUpdate: meta.info.lastUpdate,
    objects: keys.length,
    dataBytes: planned,
  };
  await options.write(writer.begin(begin));
  const skipped: ObjectKey[] = [];
  let dataBytes = 0;
  for (const key of keys) {
    if (options.skipDamaged && (await isDamaged(store, cid, key))) {
      noteMissing(store, meta, key);
      skipped.push(key);
      continue;
    }
    const { size } = store.stat(cid, key)!;
    await options.write(writer.object(key, size, store.xattrs(cid, key), store.omapHeader(cid, key)));
    for (const { offset, length } of store.extents(cid, key, 0, size))
      for (let at = offset; at < offset + length; at += archivePieceBytes) {
        const data = await readPiece(store, cid, key, at, Math.min(archivePieceBytes, offset + length - at));
        await options.write(writer.data(at, data));
        dataBytes += data.length;
        options.progress(data.length);
      }
    for (const entries of pairs(store, cid, key)) await options.write(writer.omap(entries));
  }
  const changed = skipped.length > 0 ? changedRows(meta) : undefined;
  for (const entries of pairs(store, cid, metaKey)) {
    if (changed !== undefined) for (const name of changed.keys()) entries.delete(name);
    if (entries.size > 0) await options.write(writer.rows(entries));
  }
  if (changed !== undefined) await options.write(writer.rows(changed));
  await options.write(writer.end());
  return { begin, objects: keys.length - skipped.length, dataBytes, skipped };
}

function noPg(store: ObjectStore, cid: CollectionId): AppError {
  const here = store.collections().filter((other) => loadsAs(store, other));
  return new AppError('PG', `there is no PG ${cid} on this disk`, {
    hint:
      here.length === 0
        ? 'it holds no PG'
        : `it holds ${here.slice(0, 20).join(', ')}${here.length > 20 ? ` and ${here.length - 20} more` : ''}`,
  });
}

function loadsAs(store: ObjectStore, cid: CollectionId): boolean {
  try {
    return loadPg(store, cid) !== undefined;
  } catch {
    return false;
  }
}

async function readPiece(
  store: ObjectStore,
  cid: CollectionId,
  key: ObjectKey,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  try {
    return (await store.read(cid, key, offset, length, true))!;
  } catch (error) {
    if (!(error instanceof ChecksumError)) throw error;
    throw new AppError('CHECKSUM', error.message, {
      hint: '`appliance osd repair` has it fetched from another copy; without one, `--skip-damaged` exports everything else',
      cause: error,
    });
  }
}

async function isDamaged(store: ObjectStore, cid: CollectionId, key: ObjectKey): Promise<boolean> {
  if (store.stat(cid, key)?.damaged) return true;
  for (const { offset, length } of store.extents(cid, key, 0, Number.MAX_SAFE_INTEGER))
    for (let at = offset; at < offset + length; at += archivePieceBytes)
      try {
        await store.read(cid, key, at, Math.min(archivePieceBytes, offset + length - at), true);
      } catch (error) {
        if (error instanceof ChecksumError) return true;
        throw error;
      }
  return false;
}

function noteMissing(store: ObjectStore, meta: PgMeta, key: ObjectKey): void {
  if (!isObjectKey(key))
    throw new AppError('CHECKSUM', `what PG ${meta.cid} keeps to take a write back is damaged: ${keyText(key)}`, {
      hint: 'the other shards have the object',
    });
  const oid = objectOfKey(key, meta.pg.pool);
  const bytes = store.stat(meta.cid, key)?.damaged ? undefined : store.xattr(meta.cid, key, infoXattr);
  const version: EVersion | undefined = meta.log.latest(oid)?.version ?? (bytes && decodeObjectInfo(bytes).version);
  if (version === undefined)
    throw new AppError('PG', `object ${keyText(key)} of PG ${meta.cid} is damaged and has no version`);
  meta.missing.set(oid, version, eversionZero);
}

/** Rows that differ from those on disk since something was noted as missing. */
function changedRows(meta: PgMeta): Map<string, Uint8Array> {
  meta.info.lastComplete = completeUpTo(meta.log, meta.missing, meta.info.lastUpdate);
  meta.touchFast();
  const rows = new Map<string, Uint8Array>();
  for (const op of meta.writeOps())
    if (op.op === 'omap-set') for (const [name, value] of op.entries) rows.set(name, value);
  return rows;
}

/** The key-value pairs of an object, some at a time. */
function* pairs(store: ObjectStore, cid: CollectionId, key: ObjectKey): Generator<Map<string, Uint8Array>> {
  let after: string | undefined;
  let out = new Map<string, Uint8Array>();
  let bytes = 0;
  for (;;) {
    const page = store.omapList(cid, key, { limit: pageEntries, ...(after === undefined ? {} : { after }) });
    for (const [name, value] of page.entries) {
      out.set(name, value);
      bytes += name.length + value.length;
      after = name;
      if (bytes < archivePieceBytes) continue;
      yield out;
      out = new Map();
      bytes = 0;
    }
    if (!page.more || page.entries.length === 0) break;
  }
  if (out.size > 0) yield out;
}

/** The store that a copy goes into. */
export interface ImportTarget {
  readonly store: ObjectStore;
  readonly fsid: string;
  readonly osd: number;
  /** The maps that it has. */
  readonly maps: {
    readonly oldest: number;
    readonly newest: number;
    pgNum(epoch: number, pool: number): number | undefined;
  };
}

export interface ImportOptions {
  /** Gives the file's bytes from its beginning on, each time it is called. */
  readonly open: () => ReadBytes;
  /** Puts the copy in the place of one that is here and is not newer. */
  readonly replace: boolean;
  readonly checked: (bytes: number) => void;
  readonly written: (bytes: number) => void;
}

export interface Imported {
  readonly begin: ArchiveBegin;
  readonly objects: number;
  readonly dataBytes: number;
  /** The newest write of the copy that was here before. */
  readonly replaced: EVersion | undefined;
}

/**
 * Brings a PG in. The whole file is verified first; what is written then is no PG before it is all there, so that an import that was interrupted leaves nothing that the OSD would take for
 * one. Errors: ARCHIVE, VERSION, FOREIGN_DISK, PG, ENOSPC.
 */
export async function importPg(target: ImportTarget, options: ImportOptions): Promise<Imported> {
  const begin = await verified(options);
  const { store } = target;
  const cid = pgText(begin.pg);
  const replaced = refuseUnfit(target, begin, options.replace);
  const aside = `${importPrefix}${cid}`;
  const old = `${replacedPrefix}${cid}`;
  await removeUnfinished(store);
  await store.queue({ ops: [{ op: 'create-collection', cid: aside }] });
  let objects = 0;
  let dataBytes = 0;
  let key = metaKey;
  for await (const part of readArchive(options.open())) {
    if (part.part === 'object') {
      key = part.key;
      objects++;
    } else if (part.part === 'data') {
      dataBytes += part.data.length;
      options.written(part.data.length);
    }
    const ops = opsOf(part, aside, key);
    if (ops.length > 0) await store.queue({ ops });
  }
  const range = { first: metaKey, end: Uint8Array.of(0xff) };
  if (store.collections().includes(cid)) {
    await store.queue({
      ops: [
        { op: 'create-collection', cid: old },
        { op: 'move-range', cid, to: old, ...range },
      ],
    });
    await store.queue({ ops: [{ op: 'move-range', cid: aside, to: cid, ...range }] });
  } else
    await store.queue({
      ops: [
        { op: 'create-collection', cid },
        { op: 'move-range', cid: aside, to: cid, ...range },
      ],
    });
  await removeUnfinished(store);
  return { begin, objects, dataBytes, replaced };
}

async function verified(options: ImportOptions): Promise<ArchiveBegin> {
  let begin: ArchiveBegin | undefined;
  for await (const part of readArchive(options.open())) {
    if (part.part === 'begin') begin = part.begin;
    else if (part.part === 'data') options.checked(part.data.length);
    else if (part.part === 'object' && !isContentKey(part.key))
      throw new AppError('ARCHIVE', `the copy has something that is no object: ${keyText(part.key)}`);
  }
  return begin!;
}

/** Errors for what must not come into this store; gives the newest write of the copy that it replaces. */
function refuseUnfit(
  { store, fsid, osd, maps }: ImportTarget,
  begin: ArchiveBegin,
  replace: boolean,
): EVersion | undefined {
  const cid = pgText(begin.pg);
  const pool = `pool ${begin.pg.pool}`;
  if (begin.fsid !== fsid)
    throw new AppError('FOREIGN_DISK', `the copy is of cluster ${begin.fsid}, osd.${osd} of cluster ${fsid}`, {
      hint: 'a PG has its place in its own cluster only',
    });
  if (maps.newest < begin.epoch)
    throw new AppError(
      'PG',
      `osd.${osd} knows the cluster up to epoch ${maps.newest}, the copy of PG ${cid} is of epoch ${begin.epoch}`,
      {
        hint: `start osd.${osd} for a moment, so that it gets newer maps, and stop it again`,
      },
    );
  const now = maps.pgNum(maps.newest, begin.pg.pool);
  if (now === undefined)
    throw new AppError('PG', `${pool} is not there any more: the copy of PG ${cid} has no place`, {
      hint: 'a pool that was deleted does not come back, and a new one of that name has another number',
    });
  // Maps from the copy's epoch on tell the OSD what became of the PG; without them it must not have become another one.
  if (maps.oldest > begin.epoch && now !== begin.pgNum)
    throw new AppError(
      'PG',
      `${pool} had ${begin.pgNum} PGs and has ${now}, and osd.${osd} does not know of that time any more`,
      {
        hint: 'import it into an OSD that has the maps since then',
      },
    );
  let existing: PgMeta | undefined;
  try {
    existing = loadPg(store, cid);
  } catch {
    if (!replace)
      throw new AppError('PG', `osd.${osd} has a copy of PG ${cid} already, which cannot be read`, {
        hint: '`--replace --yes` puts this one in its place',
      });
  }
  if (existing !== undefined && !existing.empty) {
    const have = existing.info.lastUpdate;
    if (compareEVersion(have, begin.lastUpdate) > 0)
      throw new AppError(
        'PG',
        `osd.${osd} has a newer copy of PG ${cid}: up to ${eversionText(have)}, this one is up to ${eversionText(begin.lastUpdate)}`,
        {
          hint: 'nothing is gained by the older one; it is not taken',
        },
      );
    if (!replace)
      throw new AppError(
        'PG',
        `osd.${osd} has a copy of PG ${cid} already, up to ${eversionText(have)}; this one is up to ${eversionText(begin.lastUpdate)}`,
        {
          hint: '`--replace --yes` puts this one in its place',
        },
      );
  }
  const { totalBytes, availableBytes } = store.statfs();
  const room = availableBytes - totalBytes * (1 - fullShare);
  if (begin.dataBytes > room)
    throw new AppError(
      'ENOSPC',
      `the copy of PG ${cid} has ${sizeWords(begin.dataBytes)}, osd.${osd} has room for ${sizeWords(Math.max(0, room))}`,
      {
        hint: 'import it into a disk with more room',
      },
    );
  return existing === undefined || existing.empty ? undefined : existing.info.lastUpdate;
}

function opsOf(part: ArchivePart, cid: CollectionId, key: ObjectKey): TransactionOp[] {
  switch (part.part) {
    case 'object': {
      const ops: TransactionOp[] = [{ op: 'touch', cid, key }];
      if (part.size > 0) ops.push({ op: 'truncate', cid, key, size: part.size });
      if (part.xattrs.size > 0) ops.push({ op: 'set-xattrs', cid, key, xattrs: part.xattrs });
      const flags = allocHintOf(part.xattrs);
      if (flags !== 0) ops.push({ op: 'set-alloc-hint', cid, key, flags });
      if (part.omapHeader.length > 0) ops.push({ op: 'omap-set-header', cid, key, header: part.omapHeader });
      return ops;
    }
    case 'data':
      return part.data.length === 0 ? [] : [{ op: 'write', cid, key, offset: part.offset, data: [part.data] }];
    case 'omap':
      return [{ op: 'omap-set', cid, key, entries: part.entries }];
    case 'rows':
      return [{ op: 'omap-set', cid, key: metaKey, entries: part.entries }];
    default:
      return [];
  }
}

/** Collections that imports which did not end have left. */
export function unfinishedIn(store: ObjectStore): CollectionId[] {
  return store.collections().filter((cid) => cid.startsWith(importPrefix) || cid.startsWith(replacedPrefix));
}

export async function removeUnfinished(store: ObjectStore): Promise<void> {
  for (const cid of unfinishedIn(store)) await removeCollection(store, cid);
}

/** Removes a collection with everything in it, some objects at a time; nothing when it is not there. */
async function removeCollection(store: ObjectStore, cid: CollectionId): Promise<void> {
  if (!store.collections().includes(cid)) return;
  for (;;) {
    const keys = store.list(cid, new Uint8Array(0), removedAtOnce);
    if (keys.length === 0) break;
    await store.queue({ ops: keys.map((key) => ({ op: 'remove', cid, key })) });
  }
  await store.queue({ ops: [{ op: 'remove-collection', cid }] });
}
