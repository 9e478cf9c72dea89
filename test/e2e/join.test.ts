import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, TestNode, TestSwitch, until } from './harness.ts';

/** A second machine joins: two appliances in network namespaces on one switch. */

const minute = 60_000;
const network = new TestSwitch();
const directory = mkdtempSync(join(tmpdir(), 'node-'));
const osds = (...names: string[]): string =>
  `storage: {osd: [${names.map((name) => `{directory: ${directory}/${name}, size: 1Gi}`).join(', ')}]}`;
const server = new TestNode({ network, config: osds('a', 'b') });
const second = new TestNode({ name: 'node-2', ip: '10.98.0.2', network, config: osds('c') });
const third = new TestNode({ name: 'node-3', ip: '10.98.0.4', network });
const impostor = new TestNode({ name: 'node-2', ip: '10.98.0.3', network });
const url = `https://${server.ip}:6443`;

async function newToken(...options: string[]): Promise<string> {
  const output = await server.appliance('token', 'create', ...options);
  expect(output.code, output.stderr).toBe(0);
  return output.stdout.trim();
}

/** A join that is refused: what it said. Nothing of the cluster may be left in its identity. */
async function refused(node: TestNode, token: string, ...options: string[]): Promise<string> {
  const output = await node.appliance('join', token, '--server', url, ...options);
  expect(output.code, output.stdout).not.toBe(0);
  expect(existsSync(join(node.data, 'identity/cluster.json'))).toBe(false);
  // Secrets stay out of what is printed.
  expect(output.stderr).not.toContain(token.split(':').at(-1)!);
  return output.stderr;
}

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await network.make();
  for (const node of [server, second, third, impostor]) await node.makeNetwork();
}, 5 * minute);
afterAll(async () => {
  for (const node of [second, third, impostor, server]) await node.remove();
  await network.remove();
  rmSync(directory, { recursive: true, force: true });
}, 4 * minute);

describe('join', () => {
  let token = '';

  test('the first machine makes a cluster and a token', { timeout: 4 * minute }, async () => {
    await server.up(200_000);
    token = await newToken('--description', 'for tests');
    expect(token).toMatch(/^K10[0-9a-f]{64}::node:[a-z0-9]{6}\.[0-9a-f]{32}$/);
    const ca = await must(server.inside('curl', '-sk', `${url}/cacerts`));
    expect(token.slice(3, 67)).toBe(new Bun.CryptoHasher('sha256').update(ca).digest('hex'));
    const listed = await server.appliance('token', 'list', '-o', 'json');
    expect(JSON.parse(listed.stdout)).toMatchObject([{ role: 'agent', description: 'for tests', usedBy: [] }]);
    const kept = await server.mustKubectl(['-n', 'kube-system', 'get', 'secrets', '-o', 'json']);
    expect(kept).not.toContain(Buffer.from(token.split('.')[1]!).toString('base64').slice(0, 20));
  });

  test('a token of another cluster, of nobody, and an expired one are refused in words', {
    timeout: 2 * minute,
  }, async () => {
    const secret = token.slice(67);
    expect(await refused(second, `K10${'0'.repeat(64)}${secret}`)).toContain('another cluster than the token');
    expect(await refused(second, `${token.slice(0, 67)}::node:abcdef.${'0'.repeat(32)}`)).toContain('not known here');
    expect(await refused(second, `${token.slice(0, 67)}::server:${secret.slice('::node:'.length)}`)).toContain(
      'not known here',
    );
    const short = await newToken('--ttl', '1s');
    await Bun.sleep(1500);
    expect(await refused(second, short)).toContain('has expired');
    const gone = await newToken();
    const [, id] = /::node:([a-z0-9]{6})\./.exec(gone)!;
    const deleted = await server.appliance('token', 'delete', gone, '-o', 'json');
    expect([deleted.code, JSON.parse(deleted.stdout)]).toEqual([0, { deleted: [id] }]);
    expect(await refused(second, gone)).toContain('not known here');
    const nobody = await second.appliance('join', token, '--server', 'https://10.98.0.9:6443');
    expect(nobody.stderr).toMatch(/10\.98\.0\.9:6443/);
    expect((await second.appliance('run', '--role', 'agent')).stderr).toContain('a cluster that this node has joined');
  });

  test('the second machine joins as an agent with a disk: it is Ready and its OSD is up', {
    timeout: 4 * minute,
  }, async () => {
    const screen = await second.start(['join', token, '--server', url], 200_000);
    expect(screen).toContain('now node node-2 of the cluster');
    const listed = await server.mustKubectl(['get', 'nodes', '-o', 'wide', '--no-headers']);
    expect(listed).toMatch(/^node-1 +Ready .* 10\.98\.0\.1 /m);
    expect(listed).toMatch(/^node-2 +Ready .* 10\.98\.0\.2 /m);
    const tree = JSON.parse(await server.mustTool(['ceph', 'osd', 'tree', '-f', 'json'])) as {
      nodes: { name: string; type: string; status?: string; children?: number[]; id: number }[];
    };
    const host = tree.nodes.find(({ name, type }) => type === 'host' && name === 'node-2');
    const osd = tree.nodes.find(({ id }) => id === host?.children?.[0]);
    expect(osd).toMatchObject({ type: 'osd', status: 'up' });
    for (const name of ['kubelet.key', 'kubelet-serving.key', 'edge.key', 'node-password'])
      expect(statSync(join(second.data, 'identity', name)).mode & 0o777).toBe(0o600);
    expect(existsSync(join(second.data, 'pki'))).toBe(false);
  });

  test('a pod runs there: logs and exec go through the API to its kubelet', { timeout: 3 * minute }, async () => {
    await until(
      'the default service account',
      minute,
      async () => (await server.kubectl(['get', 'sa', 'default'])).code === 0,
    );
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'there' },
      spec: {
        nodeSelector: { 'kubernetes.io/hostname': 'node-2' },
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'main',
            image: 'busybox:1.35',
            imagePullPolicy: 'IfNotPresent',
            command: ['sh', '-c', 'echo hello from there; exec sleep 3600'],
          },
        ],
      },
    };
    await server.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(pod) });
    await server.mustKubectl(['wait', '--for=condition=Ready', 'pod/there', '--timeout=100s'], {
      timeoutMs: 2 * minute,
    });
    expect(await server.mustKubectl(['logs', 'there'])).toContain('hello from there');
    expect(await server.mustKubectl(['exec', 'there', '--', 'hostname'])).toContain('there');
    const name = await server.mustKubectl(['exec', 'there', '--', 'nslookup', 'kubernetes.default.svc.cluster.local']);
    expect(name).toContain('10.43.0.1');
  });

  test('another machine of its name is refused and told the way out; the way works', {
    timeout: 2 * minute,
  }, async () => {
    const words = await refused(impostor, token);
    expect(words).toContain('another machine has joined as node-2');
    expect(words).toContain('appliance token create --replace node-2');
    // Also not with the password's place guessed: the server's own name is taken too.
    expect(await refused(impostor, token, '--node-name', 'node-1')).toContain('another machine has joined as node-1');
    expect(await refused(impostor, token, '--node-name', 'kubernetes')).toContain('no node may be called kubernetes');
  });

  test('it starts again without the token', { timeout: 4 * minute }, async () => {
    expect((await server.appliance('token', 'delete', token)).code).toBe(0);
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    await second.up(200_000);
    await until('node-2 is Ready', minute, async () =>
      /^node-2 +Ready/m.test(await server.mustKubectl(['get', 'nodes', '--no-headers'])),
    );
    await until('its OSD is up', minute, async () => /3 up/.test(await server.mustTool(['ceph', 'osd', 'stat'])));
    expect((await second.appliance('status')).stdout).toContain('Node node-2 is Ready');
  });

  test('a machine joins as a server alone: it answers nodes as the first one does, also about storage', {
    timeout: 4 * minute,
  }, async () => {
    const keys = await newToken('--role', 'server', '--one-time');
    await third.start(['join', keys, '--server', url, '--role', 'server'], 200_000);
    const members = JSON.parse((await third.appliance('store', 'members', '-o', 'json')).stdout) as { name: string }[];
    // By id, which is random.
    expect(members.sort((x, y) => (x.name < y.name ? -1 : 1))).toMatchObject([
      { name: 'node-1', role: 'leader' },
      { name: 'node-3', role: 'learner', state: 'runs' },
    ]);
    expect(await third.mustKubectl(['get', 'nodes', '-o', 'name'])).toBe('node/node-1\nnode/node-2\n');
    const identity = join(second.data, 'identity');
    const ceph = await must(
      second.inside(
        ...['curl', '-s', '--cacert', `${identity}/server-ca.crt`, '--cert', `${identity}/kubelet.crt`],
        ...['--key', `${identity}/kubelet.key`, '-H', 'k3s-node-name: node-2'],
        ...['-H', `k3s-node-password: ${readFileSync(`${identity}/node-password`, 'utf8').trim()}`],
        `https://${third.ip}:6443/v1-appliance/ceph`,
      ),
    );
    expect(JSON.parse(ceph)).toMatchObject({ monHosts: [expect.stringContaining('10.98.0.1:3300')] });
    expect(statSync(third.cephConf.replace('ceph.conf', 'keyrings/client.admin.keyring')).mode & 0o777).toBe(0o640);
    expect((await third.appliance('down')).code).toBe(0);
    await third.waitForExit();
    expect(await third.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
  });

  test('down on both leaves nothing', { timeout: 4 * minute }, async () => {
    const once = await newToken('--one-time', '--replace', 'node-2');
    for (const node of [second, server]) {
      expect((await node.appliance('down')).code).toBe(0);
      await node.waitForExit();
      expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
      if (node !== second) continue;
      const output = await impostor.appliance('join', once, '--server', url, '--no-start');
      expect(output.stdout + output.stderr).toContain('now node node-2');
      const record = JSON.parse(readFileSync(join(impostor.data, 'identity/cluster.json'), 'utf8')) as object;
      expect(record).toMatchObject({ node: 'node-2', roles: ['agent'] });
    }
  });
});
