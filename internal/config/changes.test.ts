import { expect, test } from 'vitest';
import { roleTable } from '../node/role-table.ts';
import { configChanges, keyChanges } from './changes.ts';
import { keyPaths } from './keys.ts';
import { effectiveConfig } from './load.ts';

const load = (text: string) => effectiveConfig(text, 'f', { hostname: 'n', ip: '10.0.0.1', freeBytes: 1e11 });

test('nothing changed', () => {
  expect(configChanges(load('roles: [server, agent]'), load('# the same\nroles: [server, agent]'))).toEqual({
    live: [],
    restart: [],
  });
});

test('what changes at once, and what waits for which roles; a default that follows another key counts as changed', () => {
  const changes = configChanges(
    load('logLevel: info\nnode: {labels: {a: b}}'),
    load('logLevel: debug\nwriteKubeconfigMode: "0644"\nnode: {labels: {a: c}}\ncluster: {serviceCIDR: 10.99.0.0/16}'),
  );
  expect(changes.live).toEqual(['logLevel', 'writeKubeconfigMode']);
  expect(changes.restart).toEqual([
    { path: 'node.labels', roles: ['agent'] },
    { path: 'cluster.serviceCIDR', roles: ['server', 'agent', 'containerd', 'edge'] },
    { path: 'cluster.dnsIP', roles: ['server', 'agent', 'edge'] },
  ]);
});

test('a key that is no longer set', () => {
  expect(configChanges(load('token: secret-of-ours'), load('# all default')).restart).toEqual([
    { path: 'token', roles: ['server'] },
  ]);
});

test('the tables have the same keys in the same order, and roles are those of the role table', () => {
  expect(Object.keys(keyChanges)).toEqual(keyPaths);
  const known = new Set(roleTable.map(({ role }) => role));
  for (const [path, change] of Object.entries(keyChanges))
    if (change !== 'live') for (const role of change) expect(known, path).toContain(role);
});
