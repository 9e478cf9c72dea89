import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, run, TestNode, until } from './harness.ts';

/** `storage.auth: none`: unmodified `ceph` and `rados` without any key; and who insists on cephx is told no. */

const minute = 60_000;
const node = new TestNode({ config: 'roles: [mon, mgr, osd]\nstorage: {auth: none}' });
const conf = join(node.directory, 'none.conf');
const file = join(node.directory, 'object');

beforeAll(async () => {
  await node.makeNetwork();
  await node.up(2 * minute);
  // Without the line that names keyrings: there is no key to show.
  const text = readFileSync(node.cephConf, 'utf8');
  expect(text).toContain('auth client required = none');
  writeFileSync(conf, text.replace(/^keyring = .*\n/m, ''));
}, 4 * minute);
afterAll(async () => {
  await node.appliance('down');
  await node.remove();
}, 2 * minute);

describe('a cluster without authentication', () => {
  test('is healthy, and stores and commands without a key', { timeout: 4 * minute }, async () => {
    const ceph = (...argv: string[]) => must(node.inside('ceph', '-c', conf, ...argv));
    const rados = (...argv: string[]) => must(node.inside('rados', '-c', conf, '-p', 'p', ...argv));
    await ceph('osd', 'pool', 'create', 'p', '8');
    await until('all PGs clean', 2 * minute, async () => {
      const { pgmap, osdmap } = JSON.parse(await ceph('-s', '-f', 'json'));
      return (
        osdmap.num_up_osds === 3 &&
        pgmap.pgs_by_state.every((s: { state_name: string }) => s.state_name === 'active+clean')
      );
    });
    writeFileSync(file, 'hello');
    await rados('put', 'x', file);
    expect(await rados('get', 'x', '-')).toBe('hello');
    expect(await ceph('tell', 'osd.0', 'version')).toContain('16.2.15');
    expect(JSON.parse(await ceph('osd', 'df', '-f', 'json')).nodes).toHaveLength(3);
  });

  test('a client that insists on cephx is not let in by another way', { timeout: 2 * minute }, async () => {
    const strict = join(node.directory, 'cephx.conf');
    writeFileSync(strict, readFileSync(node.cephConf, 'utf8').replaceAll('required = none', 'required = cephx'));
    const { code } = await run(node.inside('ceph', '-c', strict, '--connect-timeout', '10', '-s'), {
      timeoutMs: 30_000,
    });
    expect(code).not.toBe(0);
  });
});
