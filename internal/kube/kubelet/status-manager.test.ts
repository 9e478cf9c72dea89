import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import type { PodCondition, PodStatus } from '../api/types.ts';
import { type Pod, podsRef } from './pod-types.ts';
import { StatusManager } from './status-manager-client.ts';
import { FakeClient } from './testing/fake-client.ts';

const ready = (status: string): PodCondition => ({ type: 'Ready', status });
const own: PodStatus = { phase: 'Running', conditions: [ready('True')] };

/** A status manager whose watch has seen what `see` was last given; counts its writes. */
async function setUp(): Promise<{ manager: StatusManager; client: FakeClient; see(pod: Pod): void; writes(): number }> {
  const client = new FakeClient();
  let writes = 0;
  const update = client.update.bind(client);
  client.update = (...args) => {
    writes++;
    return update(...args);
  };
  let seen = await client.create<Pod>(podsRef, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'n', uid: 'u' },
    spec: { containers: [] },
  } as unknown as Pod);
  const manager = new StatusManager(client, systemClock, silentLogger, () => seen);
  manager.report(seen, own);
  return { manager, client, see: (pod) => (seen = pod), writes: () => writes };
}

const get = (client: FakeClient): Promise<Pod> => client.get<Pod>(podsRef, 'p', 'n');
const readyOf = async (client: FakeClient): Promise<string | undefined> =>
  (await get(client)).status?.conditions?.find(({ type }) => type === 'Ready')?.status;
/** As the node lifecycle controller does when the node seems to be away. */
const tellNotReady = async (client: FakeClient): Promise<Pod> => {
  const pod = await get(client);
  return client.update(podsRef, { ...pod, status: { ...pod.status, conditions: [ready('False')] } } as Pod, {
    subresource: 'status',
  });
};

describe('status manager', () => {
  test('a condition of ours that somebody else changed is set right at the next report', async () => {
    const { manager, client, see } = await setUp();
    await expect.poll(() => readyOf(client)).toBe('True');
    const changed = await tellNotReady(client);
    see(changed);
    manager.report(changed, own);
    await expect.poll(() => readyOf(client)).toBe('True');
  });

  test('the change is noticed also when the watch tells of it while our own write is on its way', async () => {
    const { manager, client, see } = await setUp();
    await expect.poll(() => readyOf(client)).toBe('True');
    const { update } = client;
    const newer = { ...own, message: 'new' };
    const meddled = Promise.withResolvers<string | undefined>();
    client.update = async (...args) => {
      const answer = await update(...args);
      client.update = update;
      const changed = await tellNotReady(client);
      see(changed);
      manager.report(changed, newer);
      meddled.resolve(await readyOf(client));
      return answer;
    };
    manager.report(await get(client), newer);
    expect(await meddled.promise).toBe('False');
    await expect.poll(() => readyOf(client)).toBe('True');
  });

  test('a condition that is only there for a while goes with it, one of somebody else stays', async () => {
    const { manager, client, see } = await setUp();
    const pending: PodCondition = { type: 'PodResizePending', status: 'True', reason: 'Deferred' };
    manager.report(await get(client), { ...own, conditions: [ready('True'), pending] });
    await expect.poll(async () => (await get(client)).status?.conditions?.length).toBe(2);
    const pod = await get(client);
    const foreign: PodCondition = { type: 'example.com/Gate', status: 'True' };
    const gated = { ...pod, status: { ...pod.status, conditions: [...pod.status!.conditions!, foreign] } } as Pod;
    see(await client.update(podsRef, gated, { subresource: 'status' }));
    manager.report(gated, own);
    const types = async (): Promise<string[] | undefined> =>
      (await get(client)).status?.conditions?.map(({ type }) => type);
    await expect.poll(types).toEqual(['Ready', 'example.com/Gate']);
  });

  test('a repeated report, and a watch that is behind our own write, cost no request', async () => {
    const { manager, client, see, writes } = await setUp();
    const before = await get(client);
    await expect.poll(() => readyOf(client)).toBe('True');
    expect(writes()).toBe(1);
    manager.report(before, own);
    see(await get(client));
    manager.report(await get(client), own);
    await Bun.sleep(20);
    expect(writes()).toBe(1);
  });
});
