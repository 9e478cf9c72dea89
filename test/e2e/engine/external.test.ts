import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Counter, counterManifest } from '../counter.ts';
import { must, run, TestNode, until } from '../harness.ts';

/** A node whose storage is a Ceph cluster that was there before: Debian's daemons, which the node knows nothing of but addresses and a key. */

const minute = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'external-'));
// Users of roles pass through it.
chmodSync(directory, 0o755);
const ceph = join(directory, 'ceph');
const keyFile = join(directory, 'kubernetes.keyring');
const node = new TestNode({
  directory: join(directory, 'node'),
  config: [
    'storage: {engine: external}',
    'externalCeph:',
    '  monHosts: [10.98.0.1]',
    '  user: kubernetes',
    `  keyFile: ${keyFile}`,
    '  pool: kubernetes',
  ].join('\n'),
});
const counter = new Counter(node);
/** As the administrator of the cluster, who is not the node's user. */
const admin = (...argv: string[]): Promise<string> =>
  must(node.inside(...argv), { env: { CEPH_CONF: join(ceph, 'ceph.conf') } });
const startCeph = (): string[] => node.inside('sh', 'test/bench/peer-ceph.sh', 'up', ceph, node.ip);

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await node.makeNetwork();
}, 5 * minute);
afterAll(async () => {
  await node.remove();
  // Not from inside: the namespace is gone.
  await must(['sh', 'test/bench/peer-ceph.sh', 'down', ceph]);
  await run(['rm', '-rf', directory]);
}, 3 * minute);

describe('an external Ceph cluster', () => {
  test('nobody answers: up says which address and user, and doctor too', { timeout: 2 * minute }, async () => {
    writeFileSync(keyFile, 'AQCvIihlAAAAABAAfMGxp1ZF1lOPIp0TLPDQpg==\n');
    const up = await node.appliance('up');
    expect(up.code).not.toBe(0);
    expect(up.stderr).toContain('the Ceph cluster at 10.98.0.1 does not take client.kubernetes: no mon of');
    const doctor = await node.appliance('doctor');
    expect(doctor.stdout).toMatch(/external Ceph cluster[\s\S]*the Ceph cluster at 10\.98\.0\.1 does not take/);
  });

  test('a key that the cluster does not know is refused in words', { timeout: 3 * minute }, async () => {
    await must(startCeph(), { timeoutMs: 2 * minute });
    const up = await node.appliance('up');
    expect(up.code).not.toBe(0);
    expect(up.stderr).toMatch(/does not take client\.kubernetes: .*(refuse|denied|not permitted)/i);
  });

  test('up with a user who may use one pool, and no more', { timeout: 3 * minute }, async () => {
    await admin('ceph', 'osd', 'pool', 'create', 'kubernetes', '16');
    await admin('ceph', 'osd', 'pool', 'application', 'enable', 'kubernetes', 'rbd');
    const osd = 'profile rbd pool=kubernetes';
    const caps = ['mon', 'profile rbd', 'osd', osd, 'mgr', osd];
    await admin('ceph', 'auth', 'get-or-create', 'client.kubernetes', ...caps, '-o', keyFile);
    const screen = await node.up(2 * minute);
    expect(screen).toContain('an external one');
    expect(screen).toContain("CEPH_ARGS='--id kubernetes'");
    expect((await node.status()).instances.map(({ name }) => name).sort()).toEqual([
      'agent',
      'containerd',
      'edge',
      'server',
    ]);
    const doctor = await node.appliance('doctor');
    const fsid = (await admin('ceph', 'fsid')).trim();
    expect(doctor.stdout).toContain(`10.98.0.1: answers as ${fsid}`);
    expect((await node.mustTool(['ceph', '--id', 'kubernetes', 'fsid'])).trim()).toBe(fsid);
  });

  test('a pod has its volume there', { timeout: 4 * minute }, async () => {
    await node.mustKubectl(['apply', '-f', counterManifest]);
    await counter.ready();
    await until('20 records', minute, async () => (await counter.acknowledged()).length >= 20);
    await counter.checkRecords(20);
    expect((await admin('rbd', 'ls', 'kubernetes')).trim()).toMatch(/^csi-vol-/);
  });

  test('status tells of the cluster', { timeout: 2 * minute }, async () => {
    const healthy = await node.appliance('status');
    expect(healthy.stdout).toMatch(/Storage is (healthy|usable, with warnings): 3 of 3 OSDs up/);
  });

  test('another engine is refused, and nothing of the volumes is touched', { timeout: 3 * minute }, async () => {
    await counter.lastAcknowledged();
    expect((await node.appliance('down')).code).toBe(0);
    await node.waitForExit();
    const embedded = join(directory, 'embedded.yaml');
    const text = readFileSync(node.configFile, 'utf8');
    writeFileSync(embedded, text.slice(0, text.indexOf('storage:')));
    const up = await run(node.inside(node.binary, '-c', embedded, 'up'), { timeoutMs: minute });
    expect(up.code).not.toBe(0);
    expect(up.stderr).toContain('storage.engine is embedded, but the storage of this node');
    expect(up.stderr).toContain('Set storage.engine: external to go on with it');
  });

  test('up again continues with the data; a deleted claim takes its image away', { timeout: 6 * minute }, async () => {
    await node.up(2 * minute);
    await counter.ready();
    await counter.checkRecords(20);
    await node.mustKubectl(['delete', '-f', counterManifest, '--timeout=120s'], { timeoutMs: 150_000 });
    expect((await node.kubectl(['get', 'namespace', 'counter'])).stderr).toContain('not found');
    await until('its image is gone', minute, async () => (await admin('rbd', 'ls', 'kubernetes')).trim() === '');
  });

  test('status says when the cluster takes the key no more, and when it is gone', { timeout: 2 * minute }, async () => {
    await admin('ceph', 'auth', 'rm', 'client.kubernetes');
    await admin('ceph', 'auth', 'get-or-create', 'client.kubernetes', 'mon', 'profile rbd');
    const refused = await node.appliance('status');
    expect(refused.stdout).toMatch(
      /Storage does not answer: the Ceph cluster at \[v2:10\.98\.0\.1:3300\] does not take client\.kubernetes: .*(refuse|denied|not permitted)/i,
    );
    await must(['sh', 'test/bench/peer-ceph.sh', 'down', ceph]);
    const gone = await node.appliance('status');
    expect(gone.stdout).toMatch(
      /Storage does not answer: the Ceph cluster at \[v2:10\.98\.0\.1:3300\] does not take client\.kubernetes: no mon of/,
    );
    const told = JSON.parse((await node.appliance('status', '-o', 'json')).stdout) as { facts: { storage: unknown } };
    expect(told.facts.storage).toMatchObject({ error: expect.stringContaining('10.98.0.1') });
  });
});
