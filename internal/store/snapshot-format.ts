import { Reader, Writer } from 'protobufjs/minimal.js';
import { DecodeError, emptyBytes, utf8, utf8Text } from '../base/bytes.ts';
import { type Alarm, alarmTypes } from './api.ts';
import { BoltReader, type ReadAt } from './bolt/reader.ts';
import { BoltWriter } from './bolt/writer.ts';
import { keyText } from './keys.ts';
import { longBits, readKeyValue, safeNumber, signedBigint, storedVersion } from './mvccpb.ts';
import type { LeaseRow, Meta, Version } from './rows.ts';

/**
 * A snapshot holds what etcd's does, so that each can restore the other's: a bbolt file with etcd's buckets, followed by the SHA-256 of it (32 bytes).
 * `key` has every version (`storedVersion`), `lease` and `alarm` protobuf messages, `meta` the compacted revision. The bucket `appliance` has what
 * etcd has no place for; etcd does not look at it.
 */

export const checksumBytes = 32;

/** State of one moment. */
export interface Dump {
  meta: Meta;
  leases: readonly LeaseRow[];
  alarms: readonly Alarm[];
  versions(): Iterable<Version>;
}

/** Version of the bucket `appliance`. */
const formatVersion = 1;

/** Writes everything but the checksum; as BoltWriter, with the first 8 KiB as result. */
export function writeDump(dump: Dump, emit: (bytes: Uint8Array) => void): Uint8Array {
  const bolt = new BoltWriter(emit);
  const bucket = (name: string, entries: Iterable<readonly [Uint8Array, Uint8Array]>): void => {
    const { put, end } = bolt.bucket(utf8(name));
    for (const [key, value] of entries) put(key, value);
    end();
  };
  const { meta } = dump;
  // In byte order of their names, as a B+ tree has them.
  bucket('alarm', sorted(dump.alarms.map((alarm) => [alarmBytes(alarm), emptyBytes])));
  bucket('appliance', [
    [utf8('format'), utf8(String(formatVersion))],
    [utf8('revision'), utf8(String(meta.revision))],
  ]);
  for (const name of ['auth', 'authRoles', 'authUsers', 'cluster']) bucket(name, []);
  bucket('key', keyEntries(dump.versions()));
  bucket('lease', sorted(dump.leases.map((lease) => [bigEndian(lease.id), leaseBytes(lease)])));
  for (const name of ['members', 'members_removed']) bucket(name, []);
  const compacted = storedVersion({ ...noVersion, modRevision: meta.compactRevision, version: 1 }, 0).key;
  bucket('meta', [
    [utf8('consistent_index'), bigEndian(BigInt(meta.appliedIndex))],
    ...(meta.compactRevision > 0
      ? ([
          [utf8('finishedCompactRev'), compacted],
          [utf8('scheduledCompactRev'), compacted],
        ] as const)
      : []),
  ]);
  return bolt.finish();
}

const noVersion = { key: emptyBytes, value: emptyBytes, createRevision: 0, modRevision: 0, version: 0, lease: 0n };

function* keyEntries(versions: Iterable<Version>): Generator<[Uint8Array, Uint8Array]> {
  for (const { kv, sub } of versions) {
    const { key, value } = storedVersion(kv, sub);
    yield [key, value];
  }
}

function sorted(entries: [Uint8Array, Uint8Array][]): [Uint8Array, Uint8Array][] {
  return entries.sort(([a], [b]) => Buffer.compare(a, b));
}

function bigEndian(value: bigint): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt.asUintN(64, value));
  return out;
}

/** `leasepb.Lease`: ID, TTL, RemainingTTL. */
function leaseBytes({ id, ttlSeconds, remainingSeconds }: LeaseRow): Uint8Array {
  const w = Writer.create()
    .uint32(8)
    .int64(longBits(id) as never)
    .uint32(16)
    .int64(ttlSeconds);
  if (remainingSeconds > 0) w.uint32(24).int64(remainingSeconds);
  return w.finish();
}

/** `etcdserverpb.AlarmMember`: memberID, alarm. */
function alarmBytes({ memberId, type }: Alarm): Uint8Array {
  return Writer.create()
    .uint32(8)
    .uint64(longBits(memberId) as never)
    .uint32(16)
    .int32(alarmTypes.indexOf(type) + 1)
    .finish();
}

/** Reads the bbolt part of a snapshot, ours or etcd's. DecodeError when it is damaged. `versions` may be called once. */
export function readDump(read: ReadAt): Dump {
  const bolt = new BoltReader(read);
  const buckets = bolt.buckets();
  const entries = (name: string) => {
    const found = buckets.get(name);
    return found === undefined ? [] : bolt.entries(found);
  };
  if (!buckets.has('key')) throw new DecodeError('no bucket "key": it is not a snapshot of etcd or of the appliance');
  const small = (name: string): Map<string, Uint8Array> =>
    new Map([...entries(name)].map(({ key, value }) => [utf8Text(key), value.slice()]));
  const own = small('appliance');
  const number = (name: string): number => {
    const text = own.get(name);
    if (text === undefined) return 0;
    const value = Number(utf8Text(text));
    if (!Number.isSafeInteger(value) || value < 0) throw new DecodeError(`"${name}" is not a number`);
    return value;
  };
  if (number('format') > formatVersion)
    throw new DecodeError(`the snapshot has format ${number('format')}, this version reads ${formatVersion}`);
  const compacted = small('meta').get('finishedCompactRev');
  const compactRevision = compacted === undefined ? 0 : revisionOf(compacted).revision;
  return {
    meta: {
      appliedIndex: 0,
      appliedTerm: 0,
      reserved: 0,
      compactRevision,
      revision: Math.max(1, number('revision'), compactRevision),
    },
    leases: [...entries('lease')].map(({ value }) => readLease(value)),
    alarms: [...entries('alarm')].map(({ key }) => readAlarm(key)),
    *versions() {
      let before = 0;
      for (const { key, value } of entries('key')) {
        const { revision, sub, deleted } = revisionOf(key);
        if (revision < before) throw new DecodeError('bolt: revisions are not in order');
        before = revision;
        const kv = readKeyValue(Reader.create(value), value.length);
        const own = { ...kv, key: kv.key.slice(), value: kv.value.slice() };
        if (!deleted && (kv.modRevision !== revision || kv.version < 1))
          throw new DecodeError(`the version at revision ${revision} contradicts itself`);
        yield { key: keyText(own.key), sub, kv: deleted ? { ...noVersion, key: own.key, modRevision: revision } : own };
      }
    },
  };
}

function revisionOf(key: Uint8Array): { revision: number; sub: number; deleted: boolean } {
  const deleted = key.length === 18 && key[17] === 0x74;
  if ((key.length !== 17 && !deleted) || key[8] !== 0x5f) throw new DecodeError('a revision that is not one');
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  const revision = Number(view.getBigUint64(0));
  const sub = Number(view.getBigUint64(9));
  if (revision < 1 || revision > maxRevision || sub > maxSub)
    throw new DecodeError(`revision ${revision}/${sub} is out of bounds`);
  return { revision, sub, deleted };
}

/** What the database holds. */
const maxRevision = 2 ** 42 - 1;
const maxSub = 2 ** 20 - 1;

function fields(bytes: Uint8Array): Map<number, unknown> {
  const r = Reader.create(bytes);
  const out = new Map<number, unknown>();
  while (r.pos < r.len) {
    const tag = r.uint32();
    if ((tag & 7) === 0) out.set(tag >>> 3, r.int64());
    else r.skipType(tag & 7);
  }
  return out;
}

function readLease(value: Uint8Array): LeaseRow {
  const found = fields(value);
  return {
    id: signedBigint(found.get(1) ?? 0),
    ttlSeconds: Math.max(1, safeNumber(found.get(2) ?? 0)),
    remainingSeconds: Math.max(0, safeNumber(found.get(3) ?? 0)),
  };
}

function readAlarm(key: Uint8Array): Alarm {
  const found = fields(key);
  const type = alarmTypes[safeNumber(found.get(2) ?? 0) - 1];
  if (type === undefined) throw new DecodeError('an alarm of unknown type');
  return { memberId: BigInt.asUintN(64, signedBigint(found.get(1) ?? 0)), type };
}
