/** A server whose member has not got the newest changes yet: what a client has seen elsewhere it waits for, and it never answers with what was before. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { admin } from '../../../internal/kube/apiserver/testing.ts';
import { type Any, eventually } from '../api/harness.ts';
import { call, type Server, type Servers, startServers } from './members.ts';

let servers: Servers;
let ahead: Server;
let behind: Server;
let release = (): void => undefined;
let round = 0;
let path = '';

beforeAll(async () => {
  servers = await startServers();
});
afterAll(() => servers.close());
beforeEach(async () => {
  const all = [...servers.running.values()];
  ahead = all.find(({ store }) => store.cluster.leaderId === store.cluster.memberId)!;
  behind = all.find((one) => one !== ahead)!;
  const namespace = `round-${round++}`;
  await call(ahead, 'POST', '/api/v1/namespaces', { metadata: { name: namespace } });
  path = `/api/v1/namespaces/${namespace}/configmaps`;
  await make('before');
  await eventually('all have it', async () => behind.store.revision === ahead.store.revision);
  release = servers.hold(behind);
});
afterEach(async () => {
  release();
  await eventually('all are at one revision', async () => behind.store.revision === ahead.store.revision);
});

/** Makes an object on the server that is ahead; gives its resourceVersion. */
const make = async (name: string): Promise<string> =>
  (await call(ahead, 'POST', path, { metadata: { name } })).metadata.resourceVersion;
const namesOf = (list: Any): string[] => list.items.map((one: Any) => one.metadata.name);

/** Asks the server that is behind; sees that it does not answer before it has caught up. */
async function waits<T>(ask: () => Promise<T>): Promise<T> {
  let answered = false;
  const answer = ask().finally(() => {
    answered = true;
  });
  answer.catch(() => undefined);
  await Bun.sleep(300);
  expect(answered).toBe(false);
  expect(behind.store.revision).toBeLessThan(ahead.store.revision);
  release();
  return answer;
}

/** A watch's events until one satisfies `last`. */
async function watch(query: string, last: (event: Any) => boolean): Promise<Any[]> {
  const cut = new AbortController();
  const request = new Request(`http://api${path}?watch=1&${query}`, { signal: cut.signal });
  const response = await behind.api.fetch(request, { identity: admin });
  expect(response.status).toBe(200);
  const reader = response.body!.getReader();
  const events: Any[] = [];
  let text = '';
  while (!events.some(last)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`the watch ended after ${JSON.stringify(events)}`);
    text += Buffer.from(value).toString();
    const lines = text.split('\n');
    text = lines.pop()!;
    for (const line of lines) if (line !== '') events.push(JSON.parse(line));
  }
  await reader.cancel();
  return events;
}

test.each(['', '&resourceVersionMatch=NotOlderThan', '&limit=10'])('a list at a revision%s', async (match) => {
  const seen = await make('seen');
  const list = await waits(() => call(behind, 'GET', `${path}?resourceVersion=${seen}${match}`));
  expect(Number(list.metadata.resourceVersion)).toBeGreaterThanOrEqual(Number(seen));
  expect(namesOf(list)).toEqual(expect.arrayContaining(['before', 'seen']));
});

test('a list of exactly a revision', async () => {
  const seen = await make('seen');
  await make('too-late');
  const list = await waits(() => call(behind, 'GET', `${path}?resourceVersion=${seen}&resourceVersionMatch=Exact`));
  expect(list.metadata.resourceVersion).toBe(seen);
  expect(namesOf(list).filter((name) => !name.startsWith('kube-'))).toEqual(['before', 'seen']);
});

test('a list of now, and an object of a revision', async () => {
  const seen = await make('seen');
  const [list, one] = await waits(() =>
    Promise.all([call(behind, 'GET', path), call(behind, 'GET', `${path}/seen?resourceVersion=${seen}`)]),
  );
  expect(namesOf(list)).toContain('seen');
  expect(one.metadata.resourceVersion).toBe(seen);
});

test('a watch from a revision that is not there yet tells of what came after it, and of nothing before', async () => {
  const seen = await make('seen');
  const next = await make('next');
  const events = await waits(() => watch(`resourceVersion=${seen}`, ({ object }) => object.metadata.name === 'next'));
  expect(events.map(({ type, object }) => [type, object.metadata.name, object.metadata.resourceVersion])).toEqual([
    ['ADDED', 'next', next],
  ]);
});

test('initial events of a watch are not older than what was asked for', async () => {
  const seen = await make('seen');
  const query = `sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=${seen}`;
  const events = await waits(() => watch(query, ({ type }) => type === 'BOOKMARK'));
  const bookmark = events.pop();
  expect(bookmark.object.metadata.annotations).toEqual({ 'k8s.io/initial-events-end': 'true' });
  expect(Number(bookmark.object.metadata.resourceVersion)).toBeGreaterThanOrEqual(Number(seen));
  expect(events.every(({ type }) => type === 'ADDED')).toBe(true);
  expect(events.map(({ object }) => object.metadata.name)).toEqual(expect.arrayContaining(['before', 'seen']));
});

test('a list in parts goes on where another server began it; once its history is gone it is Expired, everywhere', async () => {
  for (let i = 0; i < 5; i++) await make(`part-${i}`);
  const first = await call(ahead, 'GET', `${path}?limit=3`);
  const token = encodeURIComponent(first.metadata.continue);
  await make('part-late');
  const second = await waits(() => call(behind, 'GET', `${path}?limit=3&continue=${token}`));
  expect(second.metadata.resourceVersion).toBe(first.metadata.resourceVersion);
  const names = [...namesOf(first), ...namesOf(second)];
  expect(names).toEqual([...new Set(names)].sort());

  release = servers.hold(behind);
  await make('after-the-hold');
  await ahead.store.compact(ahead.store.revision);
  const expired = await waits(async () => {
    // Before it hears of the compaction it still has the history.
    let refusal = '';
    await eventually('the history is gone here, too', async () => {
      refusal = await call(behind, 'GET', `${path}?limit=3&continue=${token}`).then(
        () => '',
        (error: Error) => error.message,
      );
      return refusal !== '';
    });
    return JSON.parse(refusal.slice(refusal.indexOf('{')));
  });
  expect(expired).toMatchObject({ code: 410, reason: 'Expired', metadata: { continue: expect.stringMatching(/./) } });
  const onward = await call(behind, 'GET', `${path}?continue=${encodeURIComponent(expired.metadata.continue)}`);
  expect(namesOf(onward)).toContain('part-late');
  expect(Number(onward.metadata.resourceVersion)).toBeGreaterThan(Number(first.metadata.resourceVersion));
});

test('who does not catch up says so: the client may ask elsewhere', async () => {
  const seen = await make('seen');
  const refusal = await call(behind, 'GET', `${path}?resourceVersion=${seen}`).catch((error: Error) => error.message);
  expect(refusal).toContain('504');
  expect(refusal).toContain('ResourceVersionTooLarge');
});
