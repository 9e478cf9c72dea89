import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Database } from './database-system.ts';
import { keyRange, keyText } from './keys.ts';
import { bytes } from './testing.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'keys-only-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** What this thread has read with system calls, in bytes (proc(5)). */
const readBytes = (): number => Number(/^rchar: (\d+)/m.exec(readFileSync('/proc/thread-self/io', 'utf8'))![1]);

test('a range of keys alone has them in order, now and at an earlier revision, and leaves large values on the disk', () => {
  const database = new Database(join(directory, 'state.db'), { cacheBytes: 1 << 18 });
  const count = 100;
  const value = new Uint8Array(64 << 10).fill(7);
  const meta = { appliedIndex: 1, appliedTerm: 1, revision: count + 1, compactRevision: 0, reserved: 0 };
  const versions = Array.from({ length: count }, (_, i) => {
    const key = bytes(`k${String(i).padStart(3, '0')}`);
    const kv = { key, value, createRevision: i + 2, modRevision: i + 2, version: 1, lease: 0n };
    return { key: keyText(key), kv, sub: 0 };
  });
  database.write({ meta, versions, leases: [] });
  const range = keyRange({ key: bytes('k'), rangeEnd: bytes('l') });
  for (const read of [
    (keysOnly: boolean) => database.live(range, 0, keysOnly),
    (keysOnly: boolean) => database.liveAt(range, count, 0, keysOnly),
  ]) {
    const before = readBytes();
    const keys = read(true);
    const between = readBytes();
    const whole = read(false);
    const after = readBytes();
    expect(keys).toEqual(whole.map((kv) => ({ ...kv, value: new Uint8Array() })));
    expect(whole.every((kv) => kv.value.length === value.length)).toBe(true);
    expect(after - between).toBeGreaterThan((count - 1) * value.length);
    expect(between - before).toBeLessThan((after - between) / 8);
  }
  database.close();
});
