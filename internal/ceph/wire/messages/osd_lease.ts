/**
 * Read leases between the OSDs of a PG (`doc/dev/osd_internals/stale_read.rst`), in upstream's encodings (`src/messages/MOSDPGLease.h`, `pg_lease_t`). Times are
 * milliseconds of a monotonic clock that counts from the start of its own process, so that another OSD must know how far its clock is from the sender's.
 */
import type { Decoder, Encoder } from '../encoding.ts';
import { frontCodec, type MessageCodec } from '../message.ts';
import {
  decodeEVersion,
  decodeShardPg,
  type EVersion,
  encodeEVersion,
  encodeShardPg,
  eversionZero,
  NO_SHARD,
} from '../types.ts';
import type { PgMessage } from './osd_osd.ts';

export const MSG_OSD_PG_LEASE = 133;
export const MSG_OSD_PG_LEASE_ACK = 134;

const nsPerMs = 1e6;
const nsPerSec = 1e9;

/** A span of time (`ceph::signedspan`): seconds and nanoseconds, both with the sign. */
export function encodeSpan(e: Encoder, ms: number): void {
  const sec = Math.trunc(ms / 1000);
  const nsec = Math.max(1 - nsPerSec, Math.min(nsPerSec - 1, Math.round((ms - sec * 1000) * nsPerMs)));
  e.s32(sec).s32(nsec);
}

export function decodeSpan(d: Decoder): number {
  return d.s32() * 1000 + d.s32() / nsPerMs;
}

/** `pg_lease_t`: what the primary grants. Moments are of the primary's clock; 0: none yet. */
export interface PgLease {
  /** Until then the PG may be read: all acting OSDs have taken note of an upper bound that is no earlier. */
  readableUntilMs: number;
  /** No acting OSD is readable after this moment; the receiver acknowledges that it knows. */
  readableUntilUbMs: number;
  /** How long leases last: for a receiver that knows nothing of the sender's clock. */
  intervalMs: number;
}

export function encodePgLease(e: Encoder, lease: PgLease): void {
  e.struct(1, 1, () => {
    encodeSpan(e, lease.readableUntilMs);
    encodeSpan(e, lease.readableUntilUbMs);
    encodeSpan(e, lease.intervalMs);
  });
}

export function decodePgLease(d: Decoder): PgLease {
  return d.struct('pg_lease_t', 1, () => ({
    readableUntilMs: decodeSpan(d),
    readableUntilUbMs: decodeSpan(d),
    intervalMs: decodeSpan(d),
  }));
}

/** `pg_lease_ack_t`: the upper bound that was taken note of, on the primary's clock. */
export function encodePgLeaseAck(e: Encoder, readableUntilUbMs: number): void {
  e.struct(1, 1, () => encodeSpan(e, readableUntilUbMs));
}

export function decodePgLeaseAck(d: Decoder): number {
  return d.struct('pg_lease_ack_t', 1, () => decodeSpan(d));
}

/** From the primary of an active PG to its acting OSDs. */
export interface MOSDPGLease extends PgMessage {
  lease: PgLease;
  /** As in MOSDRepOp. Our own, behind what upstream reads. */
  committedTo: EVersion;
}

/** The answer. */
export interface MOSDPGLeaseAck extends PgMessage {
  readableUntilUbMs: number;
}

function encodeLeaseHead(e: Encoder, m: PgMessage): void {
  e.u32(m.epoch);
  encodeShardPg(e, { ...m.pg, shard: m.pg.shard ?? NO_SHARD });
}

/** The sender's shard: our own, behind what upstream reads. An OSD may hold several shards of a PG. */
function encodeSender(e: Encoder, m: PgMessage): void {
  if (m.pg.shard !== undefined) e.s8(m.fromShard ?? 0);
}

function decodeSender(d: Decoder, head: PgMessage): { fromShard?: number } {
  return head.pg.shard === undefined ? {} : { fromShard: d.remaining > 0 ? d.s8() : 0 };
}

/** Upstream says nothing of the interval: the epoch tells as well whether the receiver's began after it. */
function decodeLeaseHead(d: Decoder): PgMessage {
  const epoch = d.u32();
  const { pool, seed, shard } = decodeShardPg(d);
  return { pg: shard === NO_SHARD ? { pool, seed } : { pool, seed, shard }, epoch, interval: epoch };
}

export const MOSDPGLease: MessageCodec<MOSDPGLease> = frontCodec<MOSDPGLease>(
  { type: MSG_OSD_PG_LEASE, name: 'MOSDPGLease', version: 1, compat: 1 },
  (e, m) => {
    encodeLeaseHead(e, m);
    encodePgLease(e, m.lease);
    encodeSender(e, m);
    encodeEVersion(e, m.committedTo);
  },
  (d) => {
    const head = decodeLeaseHead(d);
    const lease = decodePgLease(d);
    const sender = decodeSender(d, head);
    return { ...head, ...sender, lease, committedTo: d.remaining > 0 ? decodeEVersion(d) : eversionZero };
  },
);

export const MOSDPGLeaseAck: MessageCodec<MOSDPGLeaseAck> = frontCodec<MOSDPGLeaseAck>(
  { type: MSG_OSD_PG_LEASE_ACK, name: 'MOSDPGLeaseAck', version: 1, compat: 1 },
  (e, m) => {
    encodeLeaseHead(e, m);
    encodePgLeaseAck(e, m.readableUntilUbMs);
    encodeSender(e, m);
  },
  (d) => {
    const head = decodeLeaseHead(d);
    const readableUntilUbMs = decodePgLeaseAck(d);
    return { ...head, ...decodeSender(d, head), readableUntilUbMs };
  },
);
