import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { issueCertificate, makeAuthority } from '../pki/certificates.ts';
import { nodeLeaf } from '../pki/leaves.ts';
import { nodePaths } from './paths.ts';
import { evaluate } from './load.ts';
import { joinedCluster, keepName, loadConfig, misnamedConfig } from './machine-system.ts';

let directory = '';
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'config-')));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

test('directories are named as the mount table names them, also before they exist', () => {
  mkdirSync(join(directory, 'real'));
  symlinkSync('real', join(directory, 'link'));
  const file = join(directory, 'appliance.yaml');
  writeFileSync(file, `dataDir: ${directory}/link/./data\nrunDir: ${directory}/link/a/../run\n`);
  const config = loadConfig({ file, flags: {} });
  expect(config.dataDir).toBe(`${directory}/real/data`);
  expect(config.runDir).toBe(`${directory}/real/run`);
});

test.each(['embedded', 'ceph', 'external'] as const)(
  'a machine that joined has the storage engine of its cluster: %s',
  (engine) => {
    const joined = {
      format: 1,
      node: 'pi-2',
      roles: ['agent'],
      caHash: 'x',
      cluster: loadConfig({ file: '/dev/null', flags: {} }).cluster,
      ports: { dns: 10_053 },
      ceph: { fsid: 'f', monHosts: ['[v2:192.0.2.1:3300]'], ...(engine === 'embedded' ? {} : { engine }) },
    };
    const { identity } = nodePaths(`${directory}/data`, '');
    mkdirSync(identity, { recursive: true });
    writeFileSync(`${identity}/cluster.json`, JSON.stringify(joined));
    expect(joinedCluster(`${directory}/data`)).toEqual(joined);
    const { storage } = loadConfig({ file: '/dev/null', flags: { 'data-dir': [`${directory}/data`] } });
    expect(storage.engine).toBe(engine);
  },
);

test('a file beside the usual one, under a name that is not read, is a mistake as long as that is not there', () => {
  const file = join(directory, 'appliance.yaml');
  expect(misnamedConfig(file)).toBeUndefined();
  const other = join(directory, 'appliance.yml');
  writeFileSync(other, 'dataDir: /a\n');
  expect(misnamedConfig(file)).toBe(other);
  const { problems } = evaluate([{ kind: 'unread', file: other, instead: file }], {
    hostname: 'a',
    ip: '192.0.2.1',
    freeBytes: 0,
  });
  expect(problems).toEqual([
    {
      origin: { from: 'file', file: other, line: 1, column: 1 },
      path: '',
      message: `expected the name ${file}: a file of this name is not read; rename it, or name it with --config`,
    },
  ]);
  writeFileSync(file, 'dataDir: /b\n');
  expect(misnamedConfig(file)).toBeUndefined();
});

describe('the name of a node that has started once', () => {
  const load = (flags: Record<string, string[]> = {}): ReturnType<typeof loadConfig> =>
    loadConfig({ file: '/dev/null', flags: { 'data-dir': [`${directory}/data`], ...flags } });

  test('stays when the host name changes', () => {
    keepName({ ...load({ 'node-name': ['first'] }) });
    expect(load().node.name).toBe('first');
    expect(load({ 'node-name': ['first'] }).node.name).toBe('first');
  });

  test('another one is refused', () => {
    expect(load({ 'node-name': ['other'] }).node.name).toBe('other');
    keepName({ ...load({ 'node-name': ['first'] }) });
    expect(() => load({ 'node-name': ['other'] })).toThrow('--node-name: node.name: expected first');
  });

  test('is learned from the certificate in a data directory without a record, and not from what a join left', async () => {
    const ca = await makeAuthority('ca', 0, new Uint8Array([1]));
    const { identity, pki } = nodePaths(`${directory}/data`, '');
    mkdirSync(identity, { recursive: true });
    mkdirSync(pki);
    const leaf = await issueCertificate(ca, nodeLeaf('kubelet', 'first', []).request, 0, new Uint8Array([2]));
    writeFileSync(`${identity}/kubelet.crt`, leaf.cert);
    expect(load({ 'node-name': ['other'] }).node.name).toBe('other');
    writeFileSync(`${pki}/server-ca.key`, ca.key);
    expect(load().node.name).toBe('first');
    expect(() => load({ 'node-name': ['other'] })).toThrow('expected first');
  });
});
