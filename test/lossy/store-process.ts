/**
 * A block store under load, as a process that can be killed: `bun store-process.ts <dir> <seed> <first> [faults as JSON]` checks what is
 * there against what it is told on standard input (`acknowledged <object> <number>` lines), says `checked`, then writes until it is killed and says
 * `ack <object> <number>` for each transaction that is on disk. Ends with code 3 when something acknowledged is missing or wrong.
 */
import { faultyDisk, type PlantedFaults } from '../../internal/base/disk-faults.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { seededRandom } from '../../internal/base/random.ts';
import { systemClock } from '../../internal/base/system.ts';
import { openBlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';

const [dir, seed, first, faults] = process.argv.slice(2) as [string, string, string, string | undefined];
const disk = faults === undefined ? systemDisk : faultyDisk(systemDisk, plant(JSON.parse(faults)));
const cid = '1.0';
const objects = 40;
const key = (n: number): Uint8Array => new Uint8Array([0x6f, n]);

function plant(text: Omit<PlantedFaults, 'only'> & { only?: string }): PlantedFaults {
  const { only, ...rest } = text;
  return only === undefined ? rest : { ...rest, only: new RegExp(only) };
}

/** Content that says which write it is: small ones, unaligned ones and ones of many blocks. */
function content(number: number): Uint8Array {
  const random = seededRandom(number);
  const length = [100, 4096, 5000, 20_000, 300_000][random.uint32() % 5]!;
  const out = new Uint8Array(length);
  const bytes = random.bytes(64);
  for (let i = 0; i < length; i++) out[i] = bytes[i & 63]! ^ (i >> 8);
  return out;
}

function wrong(text: string): never {
  process.stdout.write(`wrong ${text}\n`);
  process.exit(3);
}

const store = await openBlockStore({
  disk,
  dir,
  clock: systemClock,
  log: silentLogger,
  openIndex: openSqliteIndex,
  capacityBytes: 64 * 1024 * 1024,
  memoryBudget: 2 * 1024 * 1024,
  journalSegmentBytes: 1024 * 1024,
  hostReserveBytes: 0,
}).catch((error: unknown) => wrong(`open: ${error instanceof Error ? error.message : String(error)}`));

const acknowledged = new Map<number, number>();
for await (const line of console) {
  const [what, object, number] = line.split(' ');
  if (what === 'go') break;
  acknowledged.set(Number(object), Number(number));
}
for (let n = 0; n < objects; n++) {
  const must = acknowledged.get(n) ?? 0;
  const found = store.xattr(cid, key(n), 'number');
  const number = found === undefined ? 0 : Number(Buffer.from(found).toString());
  if (number < must) wrong(`object ${n} is at ${number}, ${must} was acknowledged`);
  if (number === 0) continue;
  const want = content(number);
  const got = await store.read(cid, key(n), 0, 1e9).catch((error: Error) => wrong(`object ${n}: ${error.message}`));
  if (got === undefined || Buffer.compare(got, want) !== 0) wrong(`object ${n}: content is not that of ${number}`);
  const entry = store.omapGet(cid, key(n), ['number']).get('number');
  if (entry === undefined || Number(Buffer.from(entry).toString()) !== number)
    wrong(`object ${n}: omap is not of ${number}`);
}
process.stdout.write('checked\n');

if (!store.collections().includes(cid)) await store.queue({ ops: [{ op: 'create-collection', cid }] });
const random = seededRandom(Number(seed));
let next = Number(first);
async function writer(): Promise<void> {
  for (;;) {
    const number = next++;
    const n = random.uint32() % objects;
    const data = content(number);
    const text = new Uint8Array(Buffer.from(String(number)));
    await store.queue({
      ops: [
        { op: 'write', cid, key: key(n), offset: 0, data: [data] },
        { op: 'truncate', cid, key: key(n), size: data.length },
        { op: 'set-xattrs', cid, key: key(n), xattrs: new Map([['number', text]]) },
        {
          op: 'omap-set',
          cid,
          key: key(n),
          entries: new Map([
            ['number', text],
            [`k${number % 7}`, text],
          ]),
        },
      ],
    });
    process.stdout.write(`ack ${n} ${number}\n`);
  }
}
await Promise.all(Array.from({ length: 8 }, writer));
