import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { JoinedCluster } from '../config/config.ts';
import { nodePaths, type Paths } from '../config/paths.ts';
import { serverFileNames } from '../pki/server-pki-system.ts';
import {
  checkServerFiles,
  forgetMember,
  memberToBe,
  requestServerBundle,
  serverIsStaged,
  stageServer,
  takeStagedServer,
} from './join-server-system.ts';
import { decodeServerBundle, encodeServerBundle, type ServerBundle } from './server-bundle.ts';
import type { ServerClient } from './join-client.ts';
import { AppError } from '../base/errors.ts';
import { seal } from '../pki/sealed.ts';
import { systemRandom } from '../base/system.ts';

let directory: string;
let paths: Paths;
const bundle: ServerBundle = {
  format: 1,
  files: Object.fromEntries(serverFileNames.map((name) => [name, `content of ${name}`])),
  member: { clusterId: 'c1', memberId: 'd2' },
};
const now = Date.UTC(2026, 0, 1);
const content = (name: string) => readFileSync(`${paths.pki}/${name}`, 'utf8');
const storeOf = (clusterId: string, memberId: string): void => {
  mkdirSync(paths.store, { recursive: true });
  writeFileSync(`${paths.store}/identity.json`, JSON.stringify({ version: 1, clusterId, memberId }));
};

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'join-server-'));
  paths = nodePaths(directory, join(directory, 'run'));
});
afterEach(() => rmSync(directory, { recursive: true }));

describe('the files of a joining server', () => {
  test('are secret, whole, and taken once', async () => {
    stageServer(paths, bundle);
    expect(existsSync(paths.pki)).toBe(false);
    expect(serverIsStaged(paths)).toBe(true);
    expect(await takeStagedServer(paths, now)).toBeUndefined();
    expect(serverIsStaged(paths)).toBe(false);
    for (const name of serverFileNames) {
      expect(content(name)).toBe(`content of ${name}`);
      expect(statSync(`${paths.pki}/${name}`).mode & 0o777).toBe(0o600);
    }
    expect(statSync(paths.pki).mode & 0o777).toBe(0o700);
    expect(memberToBe(paths)).toEqual({ clusterId: 0xc1n, memberId: 0xd2n });
    forgetMember(paths);
    forgetMember(paths);
    expect(memberToBe(paths)).toBeUndefined();
  });

  test.each(Array.from({ length: serverFileNames.length + 1 }, (_, moved) => [moved]))(
    'after a crash when %i of them were taken, the others are',
    async (moved) => {
      stageServer(paths, bundle);
      mkdirSync(paths.pki);
      for (const name of serverFileNames.slice(0, moved))
        renameSync(`${paths.pki}.joining/${name}`, `${paths.pki}/${name}`);
      await takeStagedServer(paths, now);
      expect(readdirSync(paths.pki).sort()).toEqual([...serverFileNames, 'member.json'].sort());
    },
  );

  test.each(Array.from({ length: serverFileNames.length + 2 }, (_, moved) => [moved]))(
    'a server that joins again with its store keeps it after a crash when %i of them were taken, the member as the last',
    async (moved) => {
      storeOf('c1', 'd2');
      stageServer(paths, bundle);
      mkdirSync(paths.pki);
      for (const name of [...serverFileNames, 'member.json'].slice(0, moved))
        renameSync(`${paths.pki}.joining/${name}`, `${paths.pki}/${name}`);
      expect(await takeStagedServer(paths, now)).toBeUndefined();
      expect(existsSync(`${paths.store}/identity.json`)).toBe(true);
      expect(serverIsStaged(paths)).toBe(false);
      for (const name of serverFileNames) expect(content(name)).toBe(`content of ${name}`);
    },
  );

  test('the member that has its store here may not make it anew when it is lost later', async () => {
    storeOf('c1', 'd2');
    stageServer(paths, bundle);
    await takeStagedServer(paths, now);
    expect(memberToBe(paths)).toBeUndefined();
  });

  test('where a crash left nothing but the empty directory, it goes, with a store and without', async () => {
    for (const store of [false, true]) {
      if (store) storeOf('c1', 'd2');
      mkdirSync(`${paths.pki}.joining`);
      expect(await takeStagedServer(paths, now)).toBeUndefined();
      expect(serverIsStaged(paths)).toBe(false);
      expect(existsSync(paths.store)).toBe(store);
    }
  });

  test('what was not finished is not taken, and joining again begins anew', () => {
    mkdirSync(`${paths.pki}.new`, { recursive: true });
    writeFileSync(`${paths.pki}.new/server-ca.key`, 'half');
    expect(serverIsStaged(paths)).toBe(false);
    stageServer(paths, bundle);
    stageServer(paths, bundle);
    expect(readFileSync(`${paths.pki}.joining/server-ca.key`, 'utf8')).toBe('content of server-ca.key');
    expect(existsSync(`${paths.pki}.new`)).toBe(false);
  });

  test('the store of this member stays; that of another one, or one that cannot be read, is put aside', async () => {
    storeOf('c1', 'd2');
    stageServer(paths, bundle);
    expect(await takeStagedServer(paths, now)).toBeUndefined();
    expect(existsSync(paths.store)).toBe(true);
    storeOf('c1', 'd3');
    stageServer(paths, bundle);
    const aside = await takeStagedServer(paths, now);
    expect(aside).toMatch(/store\.before-/);
    expect(existsSync(paths.store)).toBe(false);
    expect(existsSync(`${aside}/identity.json`)).toBe(true);
    storeOf('not', 'hexadecimal');
    stageServer(paths, bundle);
    expect(await takeStagedServer(paths, now + 5000)).toBeDefined();
  });

  test('a server that lacks keys of its cluster, or has those of another, is not started', () => {
    const joined = { caHash: '0'.repeat(64) } as JoinedCluster;
    expect(() => checkServerFiles(paths, joined)).toThrow('has no server-ca.crt');
    mkdirSync(paths.pki, { recursive: true });
    const pem = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    for (const name of serverFileNames) writeFileSync(`${paths.pki}/${name}`, pem);
    expect(() => checkServerFiles(paths, joined)).toThrow('is not that of the cluster');
  });

  test('a bundle with a file too few, one too many or of another format is refused without its secrets', () => {
    const { 'server-ca.key': _gone, ...fewer } = bundle.files;
    for (const wrong of [
      { ...bundle, files: fewer },
      { ...bundle, files: { ...bundle.files, '../../etc/passwd': 'x' } },
      { ...bundle, format: 2 },
      { ...bundle, member: { clusterId: 'x', memberId: 'd2' } },
    ]) {
      const refused = (): unknown => decodeServerBundle(encodeServerBundle(wrong as ServerBundle));
      expect(refused).toThrow('does not read');
      expect(refused).not.toThrow('content of');
    }
    expect(decodeServerBundle(encodeServerBundle(bundle))).toEqual(bundle);
  });

  test('a machine whose member was removed asks as a new one', async () => {
    storeOf('c1', 'd9');
    const asked: Record<string, string>[] = [];
    const client = {
      ask: async (_path: string, { headers }: { headers: Record<string, string> }) => {
        asked.push(headers);
        if (headers['appliance-store-member'] !== undefined) throw new AppError('HTTP_410', 'was removed');
        return seal('secret', encodeServerBundle(bundle), systemRandom);
      },
    } as unknown as ServerClient;
    const self = { name: 'pi-2', password: 'p', addresses: ['10.0.0.2'] };
    const wanted = { peerPort: 2380, etcd: false, disks: false };
    expect(await requestServerBundle(client, 'secret', self, wanted, paths)).toEqual(bundle);
    expect(asked.map((headers) => headers['appliance-store-member'])).toEqual(['d9', undefined]);
    expect(asked[0]!['appliance-peer-url']).toBe('https://10.0.0.2:2380');
  });
});
