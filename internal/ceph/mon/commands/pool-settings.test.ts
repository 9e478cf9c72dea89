import { expect, test } from 'vitest';
import { OsdMap } from '../../maps/osdmap.ts';
import { newPool, POOL_EIO, POOL_TYPE_ERASURE } from '../../maps/pool.ts';
import { mergedPool } from '../osd/pools.ts';
import { getSetting, type SettingContext, setSetting } from './pool-settings.ts';

test('eio: set, shown, taken back; shown nowhere before', () => {
  const map = new OsdMap();
  const context = { map, id: 1, name: 'p' } as SettingContext;
  const plain = newPool({ type: 1, size: 3, minSize: 2, crushRule: 0 });
  const failing = setSetting(plain, 'eio', 'true', context);
  expect(failing.flags & POOL_EIO).not.toBe(0);
  expect(getSetting(failing, 'p', 'eio', map).text).toBe('true');
  expect(setSetting(failing, 'eio', '0', context).flags & POOL_EIO).toBe(0);
  expect(() => getSetting(plain, 'p', 'eio', map)).toThrow("option 'eio' is not set on pool 'p'");
  expect(() => setSetting(plain, 'eio', 'maybe', context)).toThrow('expecting value');
});

test('pg_num and pgp_num are wishes; the mgr sets the numbers themselves', () => {
  const map = new OsdMap();
  const limits = { maxPgNum: 65536, maxPgsPerOsd: 250 };
  const context = { map, id: 1, name: 'p', limits, epoch: 77 } as SettingContext;
  const pool = newPool({ size: 3, pgNum: 8, pgpNum: 8 });
  const wanted = setSetting(pool, 'pg_num', '32', context);
  const shards = setSetting({ ...pool, type: POOL_TYPE_ERASURE }, 'pg_num', '32', context);
  expect(shards).toEqual({ ...wanted, type: POOL_TYPE_ERASURE });
  expect(wanted).toMatchObject({ pgNum: 8, pgNumTarget: 32, pgpNum: 8, pgpNumTarget: 32, pgNumPending: 8 });
  const split = setSetting(wanted, 'pg_num_actual', '32', context);
  expect(split).toMatchObject({ pgNum: 32, pgNumPending: 32, pgpNum: 8, lastForceOpResendPreluminous: 77 });
  const placed = setSetting(split, 'pgp_num_actual', '20', context);
  expect(placed.pgpNum).toBe(20);
  const fewer = setSetting(placed, 'pg_num', '8', context);
  expect(fewer).toMatchObject({ pgNum: 32, pgNumTarget: 8, pgpNumTarget: 8 });
  const pending = setSetting(fewer, 'pg_num_actual', '31', context);
  expect(pending).toMatchObject({ pgNum: 32, pgNumPending: 31, lastForceOpResendPrenautilus: 77 });

  expect(() => setSetting(fewer, 'pg_num_actual', '30', context)).toThrow('only single pg decrease');
  expect(() => setSetting(split, 'pg_num', '0', context)).toThrow('specified pg_num must > 0');
  expect(() => setSetting(split, 'pg_num', '100000', context)).toThrow("'pg_num' must be greater than 0");
  expect(() => setSetting(pool, 'pgp_num', '9', context)).toThrow('specified pgp_num 9 > pg_num 8');
  expect(() => setSetting(pool, 'pgp_num_actual', '9', context)).toThrow('specified pgp_num 9 > pg_num 8');
  const kept = setSetting(pool, 'nopgchange', '1', context);
  expect(() => setSetting(kept, 'pg_num', '16', context)).toThrow('pg_num change is disabled');
  const least = setSetting(pool, 'pg_num_min', '4', context);
  expect(() => setSetting(least, 'pg_num', '2', context)).toThrow('specified pg_num 2 < pg_num_min 4');
});

test('a merge is carried out when it is the turn of that PG, and called off when it cannot be', () => {
  const pool = newPool({ size: 3, pgNum: 12, pgpNum: 8, pgNumPending: 11 });
  const report = {
    ...{ fsid: '', osdId: 0, epoch: 5, source: { pool: 1, seed: 11 }, ready: true },
    ...{ sourceVersion: { epoch: 3, version: 4 }, targetVersion: { epoch: 5, version: 6 } },
    ...{ lastEpochStarted: 7, lastEpochClean: 8 },
  };
  const merged = mergedPool(pool, report, 9)!;
  expect(merged).toMatchObject({ pgNum: 11, pgNumPending: 11 });
  expect(merged.mergeMeta).toMatchObject({ sourcePg: { pool: 1, seed: 11 }, readyEpoch: 9 });
  expect(mergedPool(merged, report, 10)).toBeUndefined();
  expect(mergedPool({ ...pool, pgNumPending: 12 }, report, 9)).toBeUndefined();
  expect(mergedPool(pool, { ...report, ready: false }, 9)).toMatchObject({ pgNum: 12, pgNumPending: 12 });
});

test('compression: what works is taken, the rest refused in upstream’s words, and taken back', () => {
  const map = new OsdMap();
  const context = { map, id: 1, name: 'p' } as SettingContext;
  const plain = newPool({});
  const set = (variable: string, value: string, pool = plain) =>
    setSetting(pool, `compression_${variable}`, value, context);
  const shown = (variable: string, value: string): string =>
    getSetting(set(variable, value), 'p', `compression_${variable}`, map).text;
  for (const mode of ['none', 'passive', 'aggressive', 'force']) expect(shown('mode', mode)).toBe(mode);
  for (const algorithm of ['none', 'snappy', 'zlib', 'zstd', 'lz4'])
    expect(shown('algorithm', algorithm)).toBe(algorithm);
  expect(shown('required_ratio', '.7')).toBe('0.7');
  expect(shown('required_ratio', '1')).toBe('1');
  expect(shown('max_blob_size', '65536')).toBe('65536');
  expect(shown('min_blob_size', '8192')).toBe('8192');
  const refused: [string, string, string][] = [
    ['mode', 'sometimes', "unrecognized compression mode 'sometimes'"],
    ['mode', '', "unrecognized compression mode ''"],
    ['algorithm', 'brotli', "unrecognized compression_algorithm 'brotli'"],
    ['algorithm', 'LZ4', "unrecognized compression_algorithm 'LZ4'"],
    ['required_ratio', '1.1', "compression_required_ratio is out of range (0-1): '1.1'"],
    ['required_ratio', '-.5', "compression_required_ratio is out of range (0-1): '-.5'"],
    ['required_ratio', 'x', "error parsing float value 'x': strict_strtod: expected double, got: 'x'"],
    ['required_ratio', '.5x', "error parsing float value '.5x': strict_strtod: garbage at end of string. got: '.5x'"],
    ['max_blob_size', '64K', "error parsing int value '64K': Expected option value to be integer, got '64K'"],
    ['min_blob_size', 'x', "error parsing int value 'x': Expected option value to be integer, got 'x'"],
  ];
  for (const [variable, value, text] of refused) expect(() => set(variable, value), value).toThrow(text);
  for (const [variable, value, back] of [
    ['mode', 'force', 'unset'],
    ['algorithm', 'lz4', 'unset'],
    ['required_ratio', '0.5', '0'],
    ['max_blob_size', '65536', '0'],
    ['min_blob_size', '8192', '0'],
  ] as const) {
    const gone = set(variable, back, set(variable, value));
    expect(gone.options.size).toBe(0);
    expect(() => getSetting(gone, 'p', `compression_${variable}`, map)).toThrow(
      `option 'compression_${variable}' is not set on pool 'p'`,
    );
  }
});
