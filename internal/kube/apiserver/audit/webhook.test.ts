import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../../base/log.ts';
import { ManualClock } from '../../../store/testing.ts';
import { allSinks } from './sinks.ts';
import { AuditWebhook } from './webhook-client.ts';
import { parseWebhookConfig } from './webhook-config.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

describe('where events are sent to', () => {
  const parse = (text: string): ReturnType<typeof parseWebhookConfig> =>
    parseWebhookConfig(text, (path) => {
      if (path === '/none') throw new Error('it is not there');
      return `text of ${path}\n`;
    });
  const context = 'contexts: [{name: x, context: {cluster: b, user: u}}]\ncurrent-context: x\n';

  test('by the current context, with certificates in the file or beside it', () => {
    const clusters =
      'clusters: [{name: a, cluster: {server: "https://a"}}, {name: b, cluster: {server: "https://b/audit", certificate-authority: /ca, tls-server-name: b.local}}]\n';
    const users = `users: [{name: u, user: {client-certificate-data: ${base64('CERT')}, client-key-data: ${base64('KEY')}}}]\n`;
    expect(parse(clusters + users + context)).toEqual({
      url: 'https://b/audit',
      authorization: undefined,
      tls: { ca: 'text of /ca\n', cert: 'CERT', key: 'KEY', serverName: 'b.local' },
    });
  });

  test('without contexts the first cluster and user; tokens, names, no proof of the server', () => {
    const of = (user: string): string | undefined =>
      parse(`clusters: [{name: a, cluster: {server: "http://a:1"}}]\nusers: [{name: u, user: ${user}}]`).authorization;
    expect(of('{token: secret}')).toBe('Bearer secret');
    expect(of('{tokenFile: /token}')).toBe('Bearer text of /token');
    expect(of('{username: me, password: pw}')).toBe(`Basic ${base64('me:pw')}`);
    expect(of('{}')).toBeUndefined();
    const insecure = 'clusters: [{cluster: {server: "https://a", insecure-skip-tls-verify: true}}]';
    expect(parse(insecure).tls).toEqual({ rejectUnauthorized: false });
  });

  test.each<[string, string, string]>([
    ['no YAML', '{', 'audit.webhookConfigFile: '],
    ['a text', 'hello', 'it is no map'],
    ['no server', 'clusters: []', 'the cluster\'s server is "", expected a URL'],
    ['a context that is not there', 'current-context: other', 'there is no context "other"'],
    [
      'a file that is not there',
      'clusters: [{cluster: {server: "https://a", certificate-authority: /none}}]',
      'certificate-authority: it is not there',
    ],
    [
      'half a client certificate',
      'clusters: [{cluster: {server: "https://a"}}]\nusers: [{user: {client-key: /key}}]',
      'a client certificate needs its key',
    ],
  ])('%s is told', (_scenario, text, why) => {
    expect(() => parse(text)).toThrow(why);
  });
});

describe('sending', () => {
  let server: ReturnType<typeof Bun.serve>;
  let received: { kind: string; items: { n: number }[] }[] = [];
  let answers: number[] = [];
  let authorization: string | null = null;
  beforeAll(() => {
    server = Bun.serve({
      port: 0,
      async fetch(request) {
        authorization = request.headers.get('authorization');
        const status = answers.shift() ?? 200;
        if (status === 200) received.push((await request.json()) as (typeof received)[0]);
        return new Response('', { status });
      },
    });
  });
  afterAll(() => server.stop(true));
  const begin = (): { webhook: AuditWebhook; clock: ManualClock } => {
    received = [];
    answers = [];
    const clock = new ManualClock();
    const target = { url: `http://localhost:${server.port}/`, authorization: 'Bearer t', tls: {} };
    return { webhook: new AuditWebhook(target, clock, silentLogger), clock };
  };
  const write = (webhook: AuditWebhook, count: number): void => {
    for (let n = 0; n < count; n++) webhook.write(JSON.stringify({ n }));
  };

  test('400 at once, the rest after 30 s, in order', async () => {
    const { webhook, clock } = begin();
    write(webhook, 401);
    await expect.poll(() => received.length).toBe(1);
    expect(received[0]).toMatchObject({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1' });
    expect(received[0]!.items.map(({ n }) => n)).toEqual(Array.from({ length: 400 }, (_, n) => n));
    expect(authorization).toBe('Bearer t');
    await expect.poll(() => clock.waiting).toBe(1);
    clock.advance(30_000);
    await expect.poll(() => received.length).toBe(2);
    expect(received[1]!.items).toEqual([{ n: 400 }]);
    await webhook.close();
    expect(webhook.counts()).toEqual({
      apiserver_audit_webhook_event_total: 401,
      apiserver_audit_webhook_error_total: 0,
    });
  });

  test('what fails is tried again, and given up after the fifth time', async () => {
    const { webhook, clock } = begin();
    answers = [503, 500];
    write(webhook, 400);
    for (const [left, waitMs] of [
      [1, 10_000],
      [0, 15_000],
    ] as const) {
      await expect.poll(() => [answers.length, clock.waiting]).toEqual([left, 1]);
      clock.advance(waitMs);
    }
    await expect.poll(() => webhook.sent).toBe(400);
    answers = [500, 500, 500, 500, 500];
    write(webhook, 400);
    for (let left = 4; left > 0; left--) {
      await expect.poll(() => [answers.length, clock.waiting]).toEqual([left, 1]);
      clock.advance(60_000);
    }
    await expect.poll(() => webhook.dropped).toBe(400);
    expect(received).toHaveLength(1);
    await webhook.close();
  });

  test('what waits is sent at the end; beyond the buffer events are counted as lost', async () => {
    const { webhook } = begin();
    write(webhook, 3);
    await webhook.close();
    expect(received.map(({ items }) => items.length)).toEqual([3]);
    write(webhook, 1);
    expect(webhook.dropped).toBe(1);
    const full = begin().webhook;
    write(full, 10_500);
    expect(full.dropped).toBeGreaterThan(0);
    await full.close();
    expect(full.sent + full.dropped).toBe(10_500);
    expect(received.flatMap(({ items }) => items)).toHaveLength(full.sent);
  });

  test('two places get the same', () => {
    const lines: string[][] = [[], []];
    const both = allSinks(
      lines.map((list, i) => ({ write: (line) => void list.push(line), counts: () => ({ [`c${i}`]: i }) })),
    );
    both.write('x');
    expect(lines).toEqual([['x'], ['x']]);
    expect(both.counts?.()).toEqual({ c0: 0, c1: 1 });
  });
});
