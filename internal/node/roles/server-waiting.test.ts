import { expect, test } from 'vitest';
import type { Cluster, Member } from '../../store/api.ts';
import { waitingText } from './server-waiting-system.ts';

const member = (id: bigint, learner = false): Member => ({
  id,
  name: `pi-${id}`,
  peerUrls: [],
  clientUrls: [],
  learner,
});
const cluster = (memberId: bigint, members: Member[]) => ({ memberId, members: () => members }) as unknown as Cluster;
const three = [member(1n), member(2n), member(3n)];

test.each<[string, Cluster, Record<string, string>, string]>([
  [
    'the others are off',
    cluster(1n, three),
    { 2: '10.0.0.2:2380: connection refused', 3: '10.0.0.3:2380: connection refused' },
    'waits for a majority of the servers: 1 of 3 here; missing pi-2 (10.0.0.2:2380: connection refused), pi-3 (10.0.0.3:2380: connection refused)',
  ],
  ['two of three are here', cluster(1n, three), { 3: 'off' }, 'waits for an election: 2 of 3 servers are here'],
  [
    'a second server, whose first one is off',
    cluster(2n, [member(1n), member(2n, true)]),
    { 1: 'off' },
    'waits for a majority of the servers: 0 of 1 here; missing pi-1 (off)',
  ],
  [
    'it has joined and nobody called',
    cluster(9n, []),
    {},
    'waits for the servers that it joined: none has called yet; they keep its place for 60 minutes, after that join again',
  ],
])('what a server waits for: %s', (_what, of, problems, text) => {
  expect(waitingText(of, { problem: (id) => problems[String(id)] })).toBe(text);
});
