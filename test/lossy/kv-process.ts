/**
 * A process that opens the key-value store, checks what it finds against what was acknowledged, then writes until it is killed. Usage:
 * `kv-process.ts DIRECTORY SEED FIRST`; on standard input `acknowledged KEY NUMBER` and `seen REVISION`, then `go`; on standard output `checked`
 * or `wrong WHY`, then `ack KEY NUMBER` after each durable write and `seen REVISION` after each write of any kind.
 */
import { createInterface } from 'node:readline';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { seededRandom } from '../../internal/base/random.ts';
import { systemClock } from '../../internal/base/system.ts';
import { openStore } from '../../internal/store/store.ts';

const [directory, seedText, firstText] = process.argv.slice(2) as [string, string, string];
const random = seededRandom(Number(seedText));
const acknowledged = new Map<string, number>();
let seen = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [what, name, number] = line.split(' ');
  if (what === 'acknowledged') acknowledged.set(name!, Number(number));
  if (what === 'seen') seen = Number(name);
  if (what === 'go') break;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const store = await openStore({
  dir: directory,
  disk: systemDisk,
  clock: systemClock,
  random,
  log: silentLogger,
  segmentBytes: 128 << 10,
  checkpointBytes: 256 << 10,
  flushAfterMs: 30,
  cacheBytes: 64 << 10,
});

function wrong(why: string): never {
  process.stdout.write(`wrong ${why}\n`);
  process.exit(0);
}

const { kvs, count } = await store.range({ key: encoder.encode('d/'), rangeEnd: encoder.encode('d0') });
if (kvs.length !== count) wrong(`range gives ${kvs.length} of ${count} keys`);
const found = new Map(kvs.map((kv) => [decoder.decode(kv.key).slice(2), kv]));
for (const [key, number] of acknowledged) {
  const kv = found.get(key);
  if (kv === undefined) wrong(`key ${key} of write ${number} is gone`);
  const [text, filler] = decoder.decode(kv!.value).split(' ');
  if (Number(text) < number) wrong(`key ${key} has write ${text}, ${number} was acknowledged`);
  if (filler!.length !== Number(text) % 1000) wrong(`key ${key} has a damaged value`);
  const one = await store.range({ key: encoder.encode(`d/${key}`) });
  if (one.kvs[0]?.modRevision !== kv!.modRevision) wrong(`key ${key} reads differently alone and in a range`);
}
// A revision that somebody saw, also of a write that was lost, must not come again.
if (store.revision < seen) wrong(`the revision is ${store.revision}, ${seen} was seen`);
process.stdout.write('checked\n');

let next = Number(firstText);
async function writer(): Promise<void> {
  for (;;) {
    const key = String(random.uint32() % 300);
    const number = next++;
    const volatile = random.uint32() % 3 === 0;
    const value = encoder.encode(`${number} ${'x'.repeat(number % 1000)}`);
    if (volatile) {
      const { revision } = await store.put({ key: encoder.encode(`v/${key}`), value }, 'volatile');
      process.stdout.write(`seen ${revision}\n`);
      continue;
    }
    const { revision } = await store.txn({
      compare: [],
      success: [{ op: 'put', request: { key: encoder.encode(`d/${key}`), value } }],
      failure: [],
    });
    process.stdout.write(`ack ${key} ${number}\nseen ${revision}\n`);
    if (number % 500 === 0 && revision > store.compactRevision + 200) await store.compact(revision - 100);
  }
}
await Promise.all(Array.from({ length: 8 }, writer));
