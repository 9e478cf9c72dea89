/** A real etcd as the store: the contract that our own store keeps, and what happens when it goes away. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../internal/base/bytes.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock } from '../../internal/base/system.ts';
import { startTestServer } from '../../internal/kube/apiserver/testing.ts';
import type { Store } from '../../internal/store/api.ts';
import { storeContract } from '../../internal/store/contract.testing.ts';
import { openExternalEtcd } from '../../internal/store/external/external-client.ts';
import { makeCertificates, type RealEtcd, startEtcd } from './etcd-peer.ts';

const directory = mkdtempSync(join(tmpdir(), 'external-etcd-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let made = 0;

async function openEtcd(): Promise<{ etcd: RealEtcd; connect(): Promise<Store> }> {
  const certificates = await makeCertificates(directory);
  const etcd = await startEtcd(join(directory, `data-${made++}`), certificates);
  const file = (name: string): string => join(directory, name);
  return {
    etcd,
    connect: () =>
      openExternalEtcd({
        // The first address is nobody's: the second one has to be found.
        endpoints: `etcd://127.0.0.1:1,127.0.0.1:${etcd.port}`,
        tls: { caFile: file('ca.crt'), certFile: file('client.crt'), keyFile: file('client.key') },
        clock: systemClock,
        log: silentLogger,
      }),
  };
}

storeContract('Debian’s etcd', async () => {
  const { etcd, connect } = await openEtcd();
  const store = await connect();
  return {
    store,
    close: async () => {
      await store.close();
      await etcd.close();
    },
  };
});

describe('a real etcd as the store', () => {
  let peer: Awaited<ReturnType<typeof openEtcd>>;
  beforeAll(async () => {
    peer = await openEtcd();
  }, 60_000);
  afterAll(() => peer.etcd.close());

  test('it restarts: watches go on where they were, nothing is told twice, and writes work again', async () => {
    const store = await peer.connect();
    const told: string[] = [];
    store.watch(
      { key: utf8('k/'), rangeEnd: utf8('k0'), startRevision: store.revision + 1 },
      {
        onEvents: (events) => told.push(...events.map(({ kv }) => utf8Text(kv.value))),
        onEnd: () => told.push('ended'),
      },
    );
    const put = async (value: string) => {
      for (let attempt = 0; ; attempt++) {
        try {
          return await store.put({ key: utf8('k/1'), value: utf8(value) });
        } catch (error) {
          if (attempt > 60) throw error;
          await Bun.sleep(500);
        }
      }
    };
    await put('before');
    await peer.etcd.restart();
    await put('after');
    for (let i = 0; i < 400 && told.length < 2; i++) await Bun.sleep(50);
    expect(told).toEqual(['before', 'after']);
    await store.close();
    expect(told.at(-1)).toBe('ended');
  });

  test('the API server runs on it: objects, lists, watches; a second one on the same etcd sees them', async () => {
    const [first, second] = await Promise.all([peer.connect(), peer.connect()]);
    const one = await startTestServer({ store: first });
    const two = await startTestServer({ store: second });
    try {
      const made = await one.call('POST', '/api/v1/namespaces/default/configmaps', {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name: 'shared' },
        data: { a: '1' },
      });
      expect(made.status).toBe(201);
      const seen = await two.call('GET', '/api/v1/namespaces/default/configmaps/shared');
      expect([seen.status, (seen.body as { data?: unknown }).data]).toEqual([200, { a: '1' }]);
      const changed = await two.call(
        'PATCH',
        '/api/v1/namespaces/default/configmaps/shared',
        { data: { a: '2' } },
        { headers: { 'content-type': 'application/merge-patch+json' } },
      );
      expect(changed.status).toBe(200);
      const list = await one.call('GET', '/api/v1/namespaces/default/configmaps');
      const items = (list.body as { items: { metadata: { name: string }; data?: { a?: string } }[] }).items;
      expect(items.find(({ metadata }) => metadata.name === 'shared')?.data?.a).toBe('2');
    } finally {
      await one.close();
      await two.close();
    }
  });
});
