/** `appliance store` as a user types it, on a server whose store is served as etcd; restoring while the node is stopped. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../internal/base/bytes.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { loadConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { openControlStore } from '../../internal/node/roles/control-store.ts';
import type { RoleContext } from '../../internal/node/role.ts';
import { ensureServerPki } from '../../internal/pki/server-pki-system.ts';
import type { Store } from '../../internal/store/api.ts';
import { root, run } from '../e2e/harness.ts';

const directory = mkdtempSync(join(tmpdir(), 'store-command-'));
const file = join(directory, 'appliance.yaml');
const port = 20_000 + Math.floor(Math.random() * 20_000);
let store: Store;
let close: () => Promise<void>;

const appliance = (...args: string[]) =>
  run([process.execPath, join(root, 'cmd/appliance/main.ts'), '--config', file, 'store', ...args], {
    env: { NO_COLOR: '1' },
  });

async function start(): Promise<void> {
  const config = loadConfig({ file, flags: {} });
  const paths = nodePaths(config.dataDir, config.runDir);
  await ensureServerPki(config, paths, ['127.0.0.1'], systemClock, systemRandom);
  ({ store, close } = await openControlStore({
    role: 'server',
    instance: 'server',
    config,
    paths,
    log: silentLogger,
    clock: systemClock,
    random: systemRandom,
    stopping: new AbortController().signal,
    waits: () => undefined,
    fail: (error) => {
      throw error;
    },
  } as RoleContext));
}

beforeAll(async () => {
  mkdirSync(join(directory, 'data'));
  writeFileSync(
    file,
    `node: {name: n1, ip: 127.0.0.1}\nroles: [server]\ndataDir: ${directory}/data\nrunDir: ${directory}/run\nports: {etcd: ${port}}\nsnapshots: {dir: ${directory}/snapshots}\n`,
  );
  await start();
}, 60_000);
afterAll(async () => {
  await close();
  rmSync(directory, { recursive: true });
});

describe('appliance store', () => {
  test('status, members, compact, defrag', async () => {
    for (let i = 0; i < 20; i++) await store.put({ key: utf8('a'), value: utf8(`${i}`) });
    const status = JSON.parse((await appliance('status', '-o', 'json')).stdout) as Record<string, unknown>;
    expect(status).toMatchObject({ revision: 21, keys: 1, members: 1, alarms: [] });
    expect((await appliance('status')).stdout).toMatch(/REVISION .*\n21 +1 .*this member +none/);
    expect((await appliance('members')).stdout).toMatch(/n1 +leader/);
    expect((await appliance('compact', '15')).stdout).toBe('history before revision 15 is gone\n');
    expect(store.compactRevision).toBe(15);
    expect(await appliance('compact', '15')).toMatchObject({ code: 1 });
    expect(await appliance('compact', 'x')).toMatchObject({ code: 2 });
    expect((await appliance('defrag')).code).toBe(0);
    expect((await appliance('disarm')).stdout).toBe('there is no alarm\n');
  });

  test('a server is removed by its name or id', async () => {
    const { id } = await store.cluster.addMember(['https://127.0.0.1:1'], true);
    const unknown = await appliance('members', 'remove', 'pi-9');
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('no server of the store is pi-9')]);
    const removed = await appliance('members', 'remove', id.toString(16));
    expect([removed.code, removed.stdout]).toEqual([0, expect.stringContaining('is no server of the store any more')]);
    expect(store.cluster.members().map(({ name }) => name)).toEqual(['n1']);
    const last = await appliance('members', 'remove', 'n1');
    expect([last.code, last.stderr]).toEqual([1, expect.stringContaining('not enough started members')]);
  });

  test('a snapshot is saved, listed, checked and restored; the store before it is kept', async () => {
    const saved = JSON.parse((await appliance('snapshot', 'save', '-o', 'json')).stdout) as { file: string };
    expect(existsSync(saved.file)).toBe(true);
    expect((await appliance('snapshot', 'list')).stdout).toContain(saved.file);
    const checked = JSON.parse((await appliance('snapshot', 'status', saved.file, '-o', 'json')).stdout) as object;
    expect(checked).toMatchObject({ revision: 21, keys: 1 });
    const again = await appliance('snapshot', 'save', saved.file);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('is there already')]);
    await store.put({ key: utf8('a'), value: utf8('after the snapshot') });
    const { clusterId } = store.cluster;
    await close();
    const restored = await appliance('snapshot', 'restore', saved.file);
    expect([restored.code, restored.stdout]).toEqual([0, expect.stringContaining('revision 1000000021, 1 keys')]);
    expect(readdirSync(join(directory, 'data')).filter((name) => name.startsWith('store.before-'))).toHaveLength(1);
    await start();
    expect(store.revision).toBe(1_000_000_021);
    expect(store.cluster.clusterId).not.toBe(clusterId);
    expect(utf8Text((await store.range({ key: utf8('a') })).kvs[0]!.value)).toBe('19');
    writeFileSync(`${saved.file}.damaged.db`, 'not a snapshot');
    const refused = await appliance('snapshot', 'restore', `${saved.file}.damaged.db`);
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('cannot be used')]);
  });

  test('without a node that answers it is said so', async () => {
    await close();
    const result = await appliance('status');
    expect([result.code, result.stderr]).toEqual([3, expect.stringContaining('no node runs here')]);
    await start();
  });
});
