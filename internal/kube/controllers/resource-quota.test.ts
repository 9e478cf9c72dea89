import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { builtinKinds } from '../api/builtin.ts';
import { adminClient, startTestServer, type TestServer } from '../apiserver/testing.ts';
import type { JsonObject } from '../machinery/json.ts';
import { runControllers } from './context.ts';
import { resourceQuotaController } from './resource-quota.ts';
import { countedKinds, quotaStatus } from './resource-quota-plan.ts';

const pod = (name: string, cpu: string, phase?: string): JsonObject => ({
  metadata: { name, namespace: 'q' },
  spec: { containers: [{ name: 'c', image: 'i', resources: { requests: { cpu } } }] },
  ...(phase === undefined ? {} : { status: { phase } }),
});

describe('resource quota: what is used', () => {
  test('sums over kinds, without what has ended; a name that nothing is counted for has no use', () => {
    const hard = {
      pods: '10',
      'requests.cpu': '2',
      'count/deployments.apps': '5',
      secrets: '3',
      'example.com/none': '1',
    };
    const kinds = countedKinds(builtinKinds, hard);
    expect(kinds.map(({ plural }) => plural).sort()).toEqual(['deployments', 'pods', 'secrets']);
    const of = (plural: string) => kinds.find((kind) => kind.plural === plural)!;
    const existing = [
      { kind: of('pods'), objects: [pod('a', '250m'), pod('b', '1'), pod('c', '4', 'Succeeded')] },
      { kind: of('deployments'), objects: [{ metadata: { name: 'd' } }] },
      { kind: of('secrets'), objects: [] },
    ];
    expect(quotaStatus({ spec: { hard } }, existing)).toEqual({
      hard,
      used: { pods: '2', 'requests.cpu': '1250m', 'count/deployments.apps': '1', secrets: '0' },
    });
  });
});

describe('resource quota controller over an API server', () => {
  let server: TestServer;
  let controllers: { stop(): Promise<void> };
  const path = '/api/v1/namespaces/q';
  beforeAll(async () => {
    server = await startTestServer();
    await server.call('POST', '/api/v1/namespaces', { metadata: { name: 'q' } });
    await server.call('POST', `${path}/serviceaccounts`, { metadata: { name: 'default' } });
    controllers = runControllers([resourceQuotaController], {
      client: adminClient(server),
      kinds: builtinKinds,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      host: 'test',
    });
  });
  afterAll(async () => {
    await controllers.stop();
    await server.close();
  });

  async function used(expected: Record<string, string>): Promise<void> {
    let found: unknown;
    for (let i = 0; i < 1000; i++) {
      found = (await server.call('GET', `${path}/resourcequotas/q`)).body.status?.used;
      if (JSON.stringify(found) === JSON.stringify(expected)) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(found).toEqual(expected);
  }

  test('a new quota counts what is there; what is deleted or has ended is given back', async () => {
    await server.call('POST', `${path}/pods`, pod('before', '100m'));
    await server.call('POST', `${path}/resourcequotas`, {
      metadata: { name: 'q' },
      spec: { hard: { pods: '2', 'requests.cpu': '1', services: '1' } },
    });
    await used({ pods: '1', 'requests.cpu': '100m', services: '0' });
    expect((await server.call('POST', `${path}/pods`, pod('second', '200m'))).status).toBe(201);
    await server.call('POST', `${path}/services`, { metadata: { name: 's' }, spec: { ports: [{ port: 80 }] } });
    await used({ pods: '2', 'requests.cpu': '300m', services: '1' });
    expect((await server.call('POST', `${path}/pods`, pod('third', '1m'))).status).toBe(403);
    await server.call(
      'PATCH',
      `${path}/pods/second/status`,
      { status: { phase: 'Succeeded' } },
      {
        headers: { 'content-type': 'application/merge-patch+json' },
      },
    );
    await used({ pods: '1', 'requests.cpu': '100m', services: '1' });
    await server.call('DELETE', `${path}/services/s`);
    await server.call('DELETE', `${path}/pods/before?gracePeriodSeconds=0`);
    await used({ pods: '0', 'requests.cpu': '0', services: '0' });
  });

  test('a changed quota has a changed status', async () => {
    await server.call(
      'PATCH',
      `${path}/resourcequotas/q`,
      { spec: { hard: { services: null, 'count/pods': '9' } } },
      {
        headers: { 'content-type': 'application/merge-patch+json' },
      },
    );
    await used({ 'count/pods': '1', pods: '0', 'requests.cpu': '0' });
    expect((await server.call('GET', `${path}/resourcequotas/q`)).body.status.hard).toEqual({
      'count/pods': '9',
      pods: '2',
      'requests.cpu': '1',
    });
  });
});
