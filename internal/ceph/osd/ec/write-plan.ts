import { assert } from '../../../base/errors.ts';
import type { TransactionOp } from '../../blockstore/api.ts';
import { scatter, scatterZeros, shardSize, stripeBytes } from '../../erasure/layout.ts';
import { scatterCrcs } from '../../erasure/stripe-crcs.ts';
import type { PoolCode } from '../map-view.ts';

/** What of a request becomes part of the object: bytes, or zeros. */
interface Patch {
  offset: number;
  length: number;
  data: readonly Uint8Array[] | undefined;
}

/** An object while a request's operations run over it. */
interface Draft {
  key: Uint8Array;
  /** The object whose old bytes show where nothing is patched: itself, or what it was made a clone of. */
  base: Uint8Array;
  /** How much of those counts. */
  baseSize: number;
  size: number;
  patches: Patch[];
  /** The shortest that it was cut to. */
  cut: number | undefined;
  resized: boolean;
}

/** Whole stripes that are written anew. */
interface Piece {
  draft: Draft;
  offset: number;
  length: number;
  /** Stretches of old stripes that are needed: `reads` of the plan. */
  from: number;
  to: number;
}

/** Whole stripes to be read before the write. */
export interface StripeRead {
  key: Uint8Array;
  offset: number;
  length: number;
}

/** Stripes are written in pieces of about this many bytes. */
const pieceBytes = 4 * 2 ** 20;

function keyName(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

/**
 * What a write of an object means for its shards. Stripes that it covers in part, and only those, are read first; `shards` then gives the operations for
 * each shard. `sizeOf`: of the object as it is in the store, 0 when it is not there.
 */
export class WritePlan {
  readonly reads: StripeRead[] = [];
  readonly #code: PoolCode;
  readonly #stripe: number;
  readonly #common: TransactionOp[] = [];
  readonly #drafts = new Map<string, Draft>();
  readonly #sizeOf: (key: Uint8Array) => number;
  readonly #pieces: Piece[] = [];

  constructor(code: PoolCode, ops: readonly TransactionOp[], sizeOf: (key: Uint8Array) => number) {
    this.#code = code;
    this.#stripe = stripeBytes(code.layout);
    this.#sizeOf = sizeOf;
    for (const op of ops) this.#take(op);
    for (const draft of this.#drafts.values()) this.#cutIntoPieces(draft);
  }

  #draft(key: Uint8Array): Draft {
    const name = keyName(key);
    let draft = this.#drafts.get(name);
    if (draft === undefined) {
      const size = this.#sizeOf(key);
      draft = { key, base: key, baseSize: size, size, patches: [], cut: undefined, resized: false };
      this.#drafts.set(name, draft);
    }
    return draft;
  }

  #take(op: TransactionOp): void {
    switch (op.op) {
      case 'write': {
        let length = 0;
        for (const piece of op.data) length += piece.length;
        this.#patch(this.#draft(op.key), { offset: op.offset, length, data: op.data });
        return;
      }
      case 'zero':
        this.#patch(this.#draft(op.key), { offset: op.offset, length: op.length, data: undefined });
        return;
      case 'truncate':
        this.#truncate(this.#draft(op.key), op.size);
        return;
      case 'remove': {
        const draft = this.#draft(op.key);
        Object.assign(draft, { base: op.key, baseSize: 0, size: 0, patches: [], cut: undefined, resized: false });
        break;
      }
      case 'clone': {
        const from = this.#drafts.get(keyName(op.from));
        assert(from === undefined || (from.patches.length === 0 && !from.resized), 'clone of an object that changes');
        const size = this.#sizeOf(op.from);
        const draft = this.#draft(op.to);
        Object.assign(draft, { base: op.from, baseSize: size, size, patches: [], cut: undefined, resized: false });
        break;
      }
      case 'touch':
      case 'set-alloc-hint':
      case 'set-xattrs':
      case 'remove-xattr':
      case 'clear-xattrs':
        break;
      default:
        throw new RangeError(`${op.op} has no meaning in an erasure-coded pool`);
    }
    this.#common.push(op);
  }

  #patch(draft: Draft, patch: Patch): void {
    if (patch.length === 0) this.#common.push({ op: 'touch', cid: '', key: draft.key });
    else draft.patches.push(patch);
    draft.size = Math.max(draft.size, patch.offset + patch.length);
  }

  #truncate(draft: Draft, size: number): void {
    if (size < draft.size) {
      draft.cut = Math.min(draft.cut ?? size, size);
      draft.baseSize = Math.min(draft.baseSize, size);
      draft.patches = draft.patches
        .filter(({ offset }) => offset < size)
        .map((patch) => ({ ...patch, length: Math.min(patch.length, size - patch.offset) }));
      // What is left of the last stripe behind the end has to be zeros.
      const rest = size % this.#stripe;
      if (rest > 0) draft.patches.push({ offset: size, length: this.#stripe - rest, data: undefined });
    }
    draft.size = size;
    draft.resized = true;
  }

  /** Patched stretches, merged and in order. */
  #patched(draft: Draft, aligned: boolean): [from: number, to: number][] {
    const s = aligned ? this.#stripe : 1;
    const all = draft.patches
      .map(({ offset, length }): [number, number] => [Math.floor(offset / s) * s, Math.ceil((offset + length) / s) * s])
      .sort(([a], [b]) => a - b);
    const merged: [number, number][] = [];
    for (const [from, to] of all) {
      const last = merged[merged.length - 1];
      if (last !== undefined && from <= last[1]) last[1] = Math.max(last[1], to);
      else merged.push([from, to]);
    }
    return merged;
  }

  #cutIntoPieces(draft: Draft): void {
    const stripe = this.#stripe;
    const step = Math.max(1, Math.floor(pieceBytes / stripe)) * stripe;
    const exact = this.#patched(draft, false);
    for (const [from, to] of this.#patched(draft, true))
      for (let offset = from; offset < to; offset += step) {
        const length = Math.min(step, to - offset);
        const first = this.reads.length;
        let covered = 0;
        for (let at = offset; at < offset + length; at += stripe) {
          const end = Math.min(at + stripe, draft.baseSize);
          while (covered < exact.length && exact[covered]![1] <= at) covered++;
          const within = exact[covered];
          if (at >= end || (within !== undefined && within[0] <= at && within[1] >= end)) continue;
          const last = this.reads.length > first ? this.reads[this.reads.length - 1] : undefined;
          if (last !== undefined && last.offset + last.length === at) last.length += stripe;
          else this.reads.push({ key: draft.base, offset: at, length: stripe });
        }
        this.#pieces.push({ draft, offset, length, from: first, to: this.reads.length });
      }
  }

  /**
   * Operations for each shard, given what `reads` asked for (each at least up to the object's end). `take` gives memory of any content for the shards'
   * chunks.
   */
  shards(old: readonly Uint8Array[], take: (length: number) => Uint8Array): TransactionOp[][] {
    const { code, layout } = this.#code;
    const cid = '';
    const out: TransactionOp[][] = Array.from({ length: code.chunks }, () => [...this.#common]);
    const all = (op: TransactionOp): void => {
      for (const ops of out) ops.push(op);
    };
    for (const { key, cut } of this.#drafts.values())
      if (cut !== undefined) all({ op: 'truncate', cid, key, size: shardSize(layout, cut) });
    for (const piece of this.#pieces) {
      const { key } = piece.draft;
      const offset = (piece.offset / this.#stripe) * layout.chunkBytes;
      const length = (piece.length / this.#stripe) * layout.chunkBytes;
      const data = this.#chunks(piece, old, () => take(length));
      if (data === undefined) {
        all({ op: 'zero', cid, key, offset, length });
        continue;
      }
      [...data, ...code.encode(data, take)].forEach((chunk, shard) => {
        out[shard]!.push({ op: 'write', cid, key, offset, data: [chunk] });
      });
    }
    for (const { key, size, resized } of this.#drafts.values())
      if (resized) all({ op: 'truncate', cid, key, size: shardSize(layout, size) });
    return out;
  }

  /** What the data shards hold of a piece as it is to be; undefined: all zeros. */
  #chunks(piece: Piece, old: readonly Uint8Array[], take: () => Uint8Array): Uint8Array[] | undefined {
    const { layout } = this.#code;
    const { draft, offset, length, from, to } = piece;
    const end = offset + length;
    const touching = draft.patches.filter((patch) => patch.offset < end && patch.offset + patch.length > offset);
    if (from === to && touching.every((patch) => patch.data === undefined)) return undefined;
    const chunks = Array.from({ length: layout.k }, take);
    const covered = touching.some((patch) => patch.offset <= offset && patch.offset + patch.length >= end);
    if (!covered) for (const chunk of chunks) chunk.fill(0);
    for (let i = from; i < to; i++) {
      const read = this.reads[i]!;
      const usable = Math.max(0, Math.min(read.length, draft.baseSize - read.offset));
      assert(
        old[i]!.length >= usable,
        () => `${old[i]!.length} bytes of an object's old stripes, ${usable} are needed`,
      );
      scatter(layout, chunks, read.offset - offset, old[i]!.subarray(0, usable));
    }
    for (const patch of touching) {
      const start = Math.max(patch.offset, offset);
      const stop = Math.min(patch.offset + patch.length, end);
      if (patch.data === undefined) {
        scatterZeros(layout, chunks, start - offset, stop - start);
        continue;
      }
      let at = patch.offset;
      for (const bytes of patch.data) {
        const a = Math.max(at, start);
        const b = Math.min(at + bytes.length, stop);
        if (a < b) {
          // All of it stays the same view: its checksums may be known.
          const part = b - a === bytes.length ? bytes : bytes.subarray(a - at, b - at);
          scatter(layout, chunks, a - offset, part);
          if (touching.length === 1) scatterCrcs(layout, chunks, part);
        }
        at += bytes.length;
      }
    }
    return chunks;
  }
}
