import { expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import type { AtRest } from './encryption/at-rest.ts';
import { startTestServer } from './testing.ts';
import { WatchHub } from './watch-hub.ts';

const plain = {
  take() {},
  open() {
    throw new Error('nothing is encrypted here');
  },
} as unknown as AtRest;

test('watch hub: who starts before the window and hears of nothing still makes progress', async () => {
  const server = await startTestServer();
  try {
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'quiet' } };
    const made = await server.call('POST', '/api/v1/namespaces/default/configmaps', object);
    const after = Number(made.body.metadata.resourceVersion);
    const others = async (word: string): Promise<void> => {
      for (let i = 0; i < 5; i++)
        await server.call('POST', '/api/v1/namespaces', { metadata: { name: `${word}${i}` } });
    };
    await others('before');
    // It knows of nothing before now.
    const hub = new WatchHub(server.store, systemClock, silentLogger, plain, 0);
    const told: unknown[] = [];
    const subscription = hub.subscribe('/registry/core/configmaps/', '', after, {
      onChanges: (changes) => told.push(...changes),
      onEnd: (error) => told.push(error),
    });
    await others('after');
    const now = server.store.revision;
    expect(now).toBeGreaterThan(after + 9);
    await expect.poll(() => subscription.progress(), { timeout: 10_000 }).toBeGreaterThanOrEqual(now);
    expect(told).toEqual([]);

    // What comes next is told, and counts as told only then.
    await server.call('POST', '/api/v1/namespaces/default/configmaps', { ...object, metadata: { name: 'next' } });
    await expect.poll(() => told.length, { timeout: 10_000 }).toBe(1);
    subscription.close();
    hub.close();
  } finally {
    await server.close();
  }
});
