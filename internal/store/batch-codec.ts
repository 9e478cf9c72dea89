import { ByteReader, ByteWriter } from '../base/bytes.ts';
import { keyBytes, keyText } from './keys.ts';
import { type Alarm, alarmTypes } from './api.ts';
import type { Batch, LeaseRow, Version } from './rows.ts';

/** One buffer that can be handed to another thread without copying every row. Never written to disk: no version. */
export function encodeBatch(batch: Batch): Uint8Array {
  const w = new ByteWriter(64 << 10);
  const { meta } = batch;
  w.u64(meta.appliedIndex).u64(meta.appliedTerm).u64(meta.revision).u64(meta.compactRevision).u64(meta.reserved);
  w.u32(batch.versions.length);
  for (const { key, kv, sub } of batch.versions) {
    w.u32(key.length).bytes(keyBytes(key)).u32(sub);
    w.u64(kv.createRevision).u64(kv.modRevision).u64(kv.version).u64b(kv.lease);
    w.u32(kv.value.length).bytes(kv.value);
  }
  w.u32(batch.leases.length);
  for (const { id, ttlSeconds, remainingSeconds } of batch.leases) w.u64b(id).u64(ttlSeconds).u64(remainingSeconds);
  w.u8(batch.alarms === undefined ? 0 : 1);
  if (batch.alarms !== undefined) {
    w.u32(batch.alarms.length);
    for (const { memberId, type } of batch.alarms) w.u64b(memberId).u8(alarmTypes.indexOf(type));
  }
  w.u8(batch.membership === undefined ? 0 : 1);
  if (batch.membership !== undefined) w.u32(batch.membership.length).bytes(batch.membership);
  return w.finish();
}

/** Values are views of `bytes`. */
export function decodeBatch(bytes: Uint8Array): Batch {
  const r = new ByteReader(bytes);
  const meta = {
    appliedIndex: r.u64(),
    appliedTerm: r.u64(),
    revision: r.u64(),
    compactRevision: r.u64(),
    reserved: r.u64(),
  };
  const versions: Version[] = [];
  for (let n = r.u32(); n > 0; n--) {
    const key = r.bytes(r.u32());
    const sub = r.u32();
    const createRevision = r.u64();
    const modRevision = r.u64();
    const version = r.u64();
    const lease = BigInt.asIntN(64, r.u64b());
    const value = r.bytes(r.u32());
    versions.push({ key: keyText(key), sub, kv: { key, value, createRevision, modRevision, version, lease } });
  }
  const leases: LeaseRow[] = [];
  for (let n = r.u32(); n > 0; n--)
    leases.push({ id: BigInt.asIntN(64, r.u64b()), ttlSeconds: r.u64(), remainingSeconds: r.u64() });
  const alarms: Alarm[] | undefined = r.u8() === 0 ? undefined : [];
  if (alarms !== undefined)
    for (let n = r.u32(); n > 0; n--) alarms.push({ memberId: r.u64b(), type: alarmTypes[r.u8()]! });
  const membership = r.u8() === 0 ? undefined : r.bytes(r.u32());
  return { meta, versions, leases, ...(alarms && { alarms }), ...(membership && { membership }) };
}
