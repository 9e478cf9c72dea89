import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import type { KubeObject } from './api.ts';
import { createKubeClient, resourcePath, type Transport } from './client.ts';
import { Informer } from './informer.ts';
import { createWorkQueue } from './workqueue.ts';

const pods = { group: '', version: 'v1', resource: 'pods' };
const pod = (name: string, resourceVersion: string, uid = name): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'n', uid, resourceVersion },
});
const client = (transport: Transport) => createKubeClient({ transport, baseUrl: 'https://api', userAgent: 'test' });
const list = (version: string, ...items: KubeObject[]) =>
  Response.json({ apiVersion: 'v1', kind: 'PodList', metadata: { resourceVersion: version }, items });
const lines = (...events: object[]) => new Response(events.map((event) => `${JSON.stringify(event)}\n`).join(''));

describe('client', () => {
  test('paths', () => {
    expect(resourcePath(pods, 'n', 'p', 'status')).toBe('/api/v1/namespaces/n/pods/p/status');
    expect(resourcePath({ group: 'apps', version: 'v1', resource: 'deployments' })).toBe('/apis/apps/v1/deployments');
  });

  test('a Status answer is thrown as it is; another one is told with code and text', async () => {
    const status = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      reason: 'NotFound',
      code: 404,
      message: 'pods "p" not found',
    };
    await expect(client(async () => Response.json(status, { status: 404 })).get(pods, 'p', 'n')).rejects.toMatchObject({
      code: 'NotFound',
      message: 'pods "p" not found',
    });
    await expect(
      client(async () => new Response('starting', { status: 503 })).get(pods, 'p', 'n'),
    ).rejects.toMatchObject({ code: 'ServiceUnavailable' });
  });

  test('a watch yields events that arrive in pieces, and throws the error event', async () => {
    const text = `${JSON.stringify({ type: 'ADDED', object: pod('é', '1') })}\n${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', reason: 'Expired', code: 410, status: 'Failure', metadata: {} } })}\n`;
    const bytes = Buffer.from(text);
    const transport: Transport = async () =>
      new Response(
        new ReadableStream({
          start: (controller) => {
            for (let i = 0; i < bytes.length; i += 7) controller.enqueue(bytes.subarray(i, i + 7));
            controller.close();
          },
        }),
      );
    const seen: string[] = [];
    await expect(async () => {
      for await (const { type, object } of client(transport).watch(pods, {}))
        seen.push(`${type} ${object.metadata.name}`);
    }).rejects.toMatchObject({ code: 'Expired' });
    expect(seen).toEqual(['ADDED é']);
  });
});

describe('informer', () => {
  test('lists, follows, resumes after a lost watch, and lists anew after 410 telling the difference', async () => {
    const requests: string[] = [];
    const answers: Record<string, Response[]> = {
      list: [list('5', pod('a', '1'), pod('b', '2')), list('20', pod('b', '12'), pod('c', '15'))],
      watch: [
        lines(
          { type: 'MODIFIED', object: pod('a', '6') },
          { type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } },
        ),
        lines({
          type: 'ERROR',
          object: { kind: 'Status', reason: 'Expired', code: 410, status: 'Failure', metadata: {} },
        }),
      ],
    };
    const stop = new AbortController();
    const transport: Transport = async (request) => {
      const { searchParams } = new URL(request.url);
      const kind = searchParams.has('watch') ? 'watch' : 'list';
      requests.push(kind === 'watch' ? `watch ${searchParams.get('resourceVersion')}` : 'list');
      const answer = answers[kind]!.shift();
      if (!answer) {
        stop.abort();
        return new Response('');
      }
      return answer;
    };
    const informer = new Informer({ client: client(transport), resource: pods, clock: systemClock, log: silentLogger });
    informer.index('uid', (object) => [object.metadata.uid!]);
    const heard: string[] = [];
    informer.handle({
      onAdd: (object) => heard.push(`+${object.metadata.name}`),
      onUpdate: (object) => heard.push(`~${object.metadata.name}`),
      onDelete: (object) => heard.push(`-${object.metadata.name}`),
    });
    await informer.run(stop.signal);
    expect(requests).toEqual(['list', 'watch 5', 'watch 9', 'list', 'watch 20']);
    expect(heard).toEqual(['+a', '+b', '~a', '~b', '+c', '-a']);
    expect(informer.by('uid', 'c').map((object) => object.metadata.name)).toEqual(['c']);
    expect(informer.by('uid', 'a')).toEqual([]);
  });
});

describe('work queue', () => {
  test('one key is never reconciled twice at once, is done again when it changed meanwhile, and retried when it failed', async () => {
    let running = 0;
    let calls = 0;
    const done = Promise.withResolvers<void>();
    const queue = createWorkQueue({
      name: 'test',
      clock: systemClock,
      log: silentLogger,
      reconcile: async () => {
        expect(++running).toBe(1);
        calls++;
        if (calls === 1) queue.add('a');
        await Bun.sleep(1);
        running--;
        if (calls === 2) throw new Error('once');
        if (calls === 3) done.resolve();
      },
    });
    queue.add('a');
    queue.add('a');
    await done.promise;
    await Bun.sleep(5);
    expect(calls).toBe(3);
    expect(queue.length).toBe(0);
  });
});
