import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  fuzzCount,
  fuzzSeed,
  memoryGrowthMiB,
  memoryUse,
  mutate,
  plausible,
  plausibleEncoding,
} from '../../base/fuzz.testing.ts';
import { type Logger, silentLogger } from '../../base/log.ts';
import { type Random, seededRandom } from '../../base/random.ts';
import { MOSDOp } from '../wire/messages/osd_client.ts';
import { OP, OP_FLAG_FAILOK, OP_MODE_CACHE, OsdOp } from '../wire/messages/osd_op.ts';
import { haveRecorded, recordedMessages } from '../wire/recorded.testing.ts';
import { helloMethods } from './cls/hello.ts';
import { lockMethods } from './cls/lock.ts';
import { logMethods } from './cls/log.ts';
import { numopsMethods } from './cls/numops.ts';
import { rbdMethods } from './cls/rbd.ts';
import { refcountMethods } from './cls/refcount.ts';
import { versionMethods } from './cls/version.ts';
import { callTarget } from './ops/classify.ts';
import { TestClient } from './sim/single.testing.ts';
import { SimCluster } from './sim/world.testing.ts';

const timeout = 7_200_000;

/** Every method of every class, as a request names it. */
const methods = Object.entries({
  hello: helloMethods,
  lock: lockMethods,
  log: logMethods,
  numops: numopsMethods,
  rbd: rbdMethods,
  refcount: refcountMethods,
  version: versionMethods,
}).flatMap(([name, of]) => Object.keys(of).map((method): [string, string] => [name, method]));

/** Inputs of class methods as rbd sent them to a real OSD. */
const recordedCalls = haveRecorded
  ? ['09a-rbd-create', '09b-rbd-info', '09c-rbd-snap', '09d-rbd-clone', '09e-rbd-write', '09f-rbd-rm']
      .flatMap(recordedMessages)
      .filter(({ type }) => type === MOSDOp.type)
      .flatMap((message) => message.decode(MOSDOp).ops)
      .filter(({ op }) => op === OP.CALL)
      .map((op) => callTarget(op)!)
  : [];

// What waits for others is none of one op: COPY_FROM has the tests of its own.
const codes = Object.values(OP).filter(
  (code) => (code & OP_MODE_CACHE) === 0 && code !== OP.NOTIFY && code !== OP.CALL,
);

/** An op of any kind with a union and an input that say something, more or less. */
function anyOp(random: Random): OsdOp {
  const input = (): Uint8Array => {
    const bytes = random.uint32() % 2 === 0 ? plausibleEncoding(random) : plausible(random, random.uint32() % 100);
    return random.uint32() % 4 === 0 ? mutate(random, bytes) : bytes;
  };
  const flags = random.uint32() % 2 === 0 ? OP_FLAG_FAILOK : 0;
  const data = input();
  return OsdOp.make(codes[random.uint32() % codes.length]!, [data], flags, (union) => {
    const bytes = plausible(random, 28);
    // Lengths that are right now and then.
    const lengthAt = [0, 4, 8, 16][random.uint32() % 4]!;
    new DataView(bytes.buffer).setUint32(lengthAt, data.length, true);
    if (random.uint32() % 3 === 0) bytes.set(mutate(random, bytes));
    for (const [i, byte] of bytes.entries()) union.setUint8(i, byte);
  });
}

function anyCall(random: Random): OsdOp {
  const known = recordedCalls[random.uint32() % Math.max(1, recordedCalls.length)];
  const [name, method] = methods[random.uint32() % methods.length]!;
  const call = (...[className, methodName, input]: [string, string, Uint8Array]): OsdOp => {
    const op = OsdOp.call(className, methodName, input);
    const joined = new Uint8Array(Buffer.concat([...op.data]));
    op.data = [joined];
    return op;
  };
  if (known !== undefined && random.uint32() % 2 === 0)
    return call(known.name, known.method, random.uint32() % 4 === 0 ? known.input : mutate(random, known.input));
  const bytes = plausibleEncoding(random);
  return call(name, method, random.uint32() % 4 === 0 ? mutate(random, bytes) : bytes);
}

describe('fuzz: whatever ops ask for, the OSD answers and goes on', () => {
  const memoryAtStart = memoryUse();
  afterAll(() => expect(memoryGrowthMiB(memoryAtStart)).toBeLessThan(300));

  /** Told when an op's code throws, which is a defect. */
  const defects: string[] = [];
  const log: Logger = {
    ...silentLogger,
    error: (message, fields) => {
      const { error } = fields ?? {};
      defects.push(`${message}: ${error instanceof Error ? error.stack : JSON.stringify(fields)}`);
    },
    with: () => log,
  };
  let cluster: SimCluster;
  let client: TestClient;
  beforeAll(async () => {
    cluster = await start();
    client = new TestClient(cluster);
  });
  async function start(): Promise<SimCluster> {
    const made = new SimCluster({ seed: 1, osds: 1, size: 1, minSize: 1, pgNum: 1, log });
    made.start(0);
    await made.scheduler.run(20_000, () => made.allClean());
    return made;
  }

  async function fuzz(random: Random, any: (random: Random) => OsdOp, text: (op: OsdOp) => string): Promise<void> {
    let [good, refused] = [0, 0];
    for (let i = 0; i < fuzzCount; i++) {
      const oid = `object-${random.uint32() % 8}`;
      if (i % 50 === 0) await client.exec(oid, [OsdOp.make(OP.DELETE)]);
      const ops = Array.from({ length: 1 + (random.uint32() % 3) }, () => any(random));
      const { result } = await client.exec(oid, ops);
      if (result >= 0) good++;
      else refused++;
      expect(defects, `input ${i} of seed ${fuzzSeed}: ${ops.map(text).join('; ')}`).toEqual([]);
    }
    expect(good).toBeGreaterThan(fuzzCount / 100);
    expect(refused).toBeGreaterThan(fuzzCount / 100);
  }
  const hex = (op: OsdOp): string => `${op.name} ${Buffer.from(op.input).toString('hex')}`;

  test('ops on data, xattrs, omap, watches and snapshots, and listings', { timeout }, () =>
    fuzz(seededRandom(fuzzSeed), anyOp, hex),
  );

  test('methods of object classes', { timeout }, () => fuzz(seededRandom(fuzzSeed + 1), anyCall, hex));
});
