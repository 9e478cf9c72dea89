import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import { ChecksumError } from '../blockstore/errors.ts';
import { type MemoryStore, memoryStore } from '../blockstore/memory.ts';
import { haveRecorded, recordedLines } from '../crush/recorded.testing.ts';
import { type AskMaps, MapKeeper, metaCollection } from './map-keeper.ts';

const identity = { fsid: '00000000-0000-0000-0000-000000000001', osdId: 0 };
const epochs = 40;

describe.skipIf(!haveRecorded)('maps of an OSD', () => {
  const recorded = haveRecorded
    ? recordedLines<{ kind: string; epoch: number; hex: string }>('maps/osdmap-w1/all-epochs.jsonl.gz')
    : [];
  const of = (kind: string): Map<number, Uint8Array> =>
    new Map(
      recorded
        .filter((line) => line.kind === kind && line.epoch <= epochs)
        .map(({ epoch, hex }) => [epoch, new Uint8Array(Buffer.from(hex, 'hex'))]),
    );
  const increments = of('inc');
  const fulls = of('full');
  const first = Math.min(...fulls.keys());

  /** A store with all maps, and one whose disk gives other bytes for some of them until they are written anew. */
  async function filled(...damaged: [kind: number, epoch: number][]): Promise<{ store: MemoryStore; open: Open }> {
    const store = memoryStore();
    const commit = (ops: TransactionOp[]): void => void store.queue({ ops });
    const none: AskMaps = () => expect.unreachable('nothing is damaged');
    const keeper = await MapKeeper.open(store, silentLogger, identity, commit, none);
    keeper.take({
      fsid: identity.fsid,
      full: new Map([[first, fulls.get(first)!]]),
      incrementals: increments,
      oldest: first,
      newest: epochs,
    });
    expect(keeper.newest).toBe(epochs);
    const bad = new Set(damaged.map(([kind, epoch]) => `${kind} ${epoch}`));
    const name = (key: Uint8Array): string => `${key[0]} ${new DataView(key.buffer, key.byteOffset).getUint32(1)}`;
    const { read, queue } = store;
    store.read = async (cid, key, ...rest) => {
      if (bad.has(name(key))) throw new ChecksumError('test', cid, key, 0, 'block 1');
      return read.call(store, cid, key, ...rest);
    };
    store.queue = async (transaction) => {
      for (const op of transaction.ops) if (op.op === 'remove') bad.delete(name(op.key));
      return queue.call(store, transaction);
    };
    return { store, open: (fetch) => MapKeeper.open(store, silentLogger, identity, commit, fetch) };
  }
  type Open = (fetch: AskMaps) => Promise<MapKeeper>;

  test('what the disk has damaged comes from the mons, once', async () => {
    const { open } = await filled([2, first + 3], [2, epochs], [1, first]);
    const asked: number[][] = [];
    const fetch: AskMaps = async ({ fullFirst, fullLast, incFirst, incLast }) => {
      asked.push([fullFirst, fullLast, incFirst, incLast]);
      return { full: new Map(fulls), incrementals: new Map(increments) };
    };
    const again = await open(fetch);
    expect(asked).toEqual([
      [first, first, 0, 0],
      [0, 0, first + 3, first + 3],
      [0, 0, epochs, epochs],
    ]);
    expect([again.oldest, again.newest]).toEqual([first, epochs]);
    for (let epoch = first; epoch <= epochs; epoch++) expect(again.get(epoch)?.epoch).toBe(epoch);
    await open(() => expect.unreachable('they were written anew'));
  });

  test('what the mons no longer have ends the start, and changes nothing', async () => {
    const { store, open } = await filled([2, first + 3]);
    const changes = store.queue;
    store.queue = () => expect.unreachable('nothing is written');
    await expect(open(async () => ({ full: new Map(), incrementals: new Map() }))).rejects.toMatchObject({
      code: 'MAP_DAMAGED',
    });
    store.queue = changes;
  });
});

test('a store with PGs and without the row of maps is no new one', async () => {
  const store = memoryStore();
  const commit = (ops: TransactionOp[]): void => void store.queue({ ops });
  await MapKeeper.open(store, silentLogger, identity, commit);
  await store.queue({ ops: [{ op: 'create-collection', cid: '1.0' }] });
  await store.queue({ ops: [{ op: 'omap-clear', cid: metaCollection, key: Uint8Array.of(0) }] });
  const changes = (): never => expect.unreachable('nothing is written');
  await expect(MapKeeper.open(store, silentLogger, identity, changes)).rejects.toMatchObject({
    code: 'STORE_DAMAGED',
    message: 'osd.0: its store has 1 PGs (1.0), but not the row that says which maps it knows',
  });
});
