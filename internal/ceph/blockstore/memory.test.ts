import { expect, test } from 'vitest';
import { objectStoreContract } from './contract.ts';
import { memoryStore } from './memory.ts';

objectStoreContract('memory store', { make: async (capacityBytes) => memoryStore({ capacityBytes }) });

test('memory store: a crash forgets what was not committed', async () => {
  const store = memoryStore({ commit: 'manual' });
  const key = new Uint8Array([1]);
  void store.queue({ ops: [{ op: 'create-collection', cid: 'c' }] });
  void store.queue({ ops: [{ op: 'touch', cid: 'c', key }] });
  void store.queue({ ops: [{ op: 'remove', cid: 'c', key }] });
  expect(store.stat('c', key)).toBeUndefined();
  store.commit(2);
  expect(store.uncommitted).toBe(1);
  expect(store.crash().stat('c', key)).toEqual({ size: 0 });
});
