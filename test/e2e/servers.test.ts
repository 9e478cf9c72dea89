import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, run, TestNode, TestSwitch, until } from './harness.ts';

/** Three servers in network namespaces on one switch: fail-over, a node that is deleted, a majority that is lost. No storage: that has tests of its own. */

const minute = 60_000;
const network = new TestSwitch();
const first = new TestNode({ network, config: 'roles: [server, agent]' });
const second = new TestNode({ name: 'node-2', ip: '10.98.0.2', network });
const third = new TestNode({ name: 'node-3', ip: '10.98.0.3', network });
const servers = [first, second, third];
const url = `https://${first.ip}:6443`;

interface MemberLine {
  name: string;
  role: 'leader' | 'voter' | 'learner';
  state: string;
  peerUrls: string[];
}

async function memberLines(node: TestNode): Promise<MemberLine[]> {
  return JSON.parse(await command(node, 'store', 'members', '-o', 'json')) as MemberLine[];
}

async function members(node: TestNode): Promise<Record<string, string>> {
  return Object.fromEntries((await memberLines(node)).map(({ name, role }) => [name, role]));
}

/** Resolves when the node's status has all of these words. */
async function says(node: TestNode, ...words: string[]): Promise<void> {
  let told = '';
  await until('the words', minute, async () => {
    told = (await node.appliance('status')).stdout;
    return words.every((one) => told.includes(one));
  }).catch((error: unknown) => {
    throw new Error(`${node.name} says ${told}`, { cause: error });
  });
}

/** Resolves when three servers vote, as this one sees it. */
async function threeVote(node: TestNode): Promise<void> {
  await until('three voters', minute, async () => {
    return (
      Object.values(await members(node))
        .sort()
        .join() === 'leader,voter,voter'
    );
  });
}

/** What a command of the appliance printed. */
async function command(node: TestNode, ...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await node.appliance(...argv);
  expect(code, `${node.name}: appliance ${argv[0]}\n${stdout}\n${stderr}\n${node.logs()}`).toBe(0);
  return stdout.trim();
}

/** Ends a node as a power cut does: nothing is stopped in order. What outlives it on purpose (containers' shims) stays for `up`, as on a machine. */
async function cut(node: TestNode): Promise<void> {
  process.kill(node.supervisorPid, 'SIGKILL');
  await node.waitForExit();
}

const apiServers = async (through: TestNode): Promise<string> =>
  (
    await through.mustKubectl([
      ...['get', 'endpointslice', 'kubernetes', '-o'],
      'jsonpath={range .endpoints[*]}{.addresses[0]}{" "}{end}',
    ])
  ).trim();

async function ready(through: TestNode, name: string): Promise<boolean> {
  return new RegExp(`^${name} +Ready`, 'm').test(await through.mustKubectl(['get', 'nodes', '--no-headers']));
}

interface StatusJson {
  facts: { supervisor: { instances: { name: string; restarts: number }[] } };
}

const container = {
  name: 'main',
  image: 'busybox:1.35',
  imagePullPolicy: 'IfNotPresent',
  command: ['sh', '-c', 'exec sleep 36000'],
};

/** A pod on this node; resolves when it is ready. */
async function runs(through: TestNode, name: string, node: string): Promise<void> {
  const spec = { nodeName: node, terminationGracePeriodSeconds: 1, containers: [container] };
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec };
  await through.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(pod) });
  await through.mustKubectl(['wait', '--for=condition=Ready', `pod/${name}`, '--timeout=100s'], {
    timeoutMs: 2 * minute,
  });
}

/** A Deployment whose pod the scheduler can put on this node only: one that lost its power is no worse for it at first. Resolves when it is available. */
async function deploys(through: TestNode, name: string, node: string): Promise<void> {
  const labels = { app: name };
  const spec = { nodeSelector: { 'kubernetes.io/hostname': node }, containers: [container] };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: { selector: { matchLabels: labels }, template: { metadata: { labels }, spec } },
  };
  await through.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(deployment) });
  await through.mustKubectl(['rollout', 'status', `deployment/${name}`, '--timeout=90s'], { timeoutMs: 2 * minute });
}

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await network.make();
  for (const node of servers) await node.makeNetwork();
}, 5 * minute);
afterAll(async () => {
  for (const node of servers) await node.remove();
  await network.remove();
}, 4 * minute);

describe('servers', () => {
  let token = '';
  let last = first;

  test('an agent token makes no server; a server token does: the second one follows without a vote', {
    timeout: 6 * minute,
  }, async () => {
    await first.up(200_000);
    const agentToken = await command(first, 'token', 'create');
    const refused = await second.appliance('join', agentToken, '--server', url, '--role', 'server,agent');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('appliance token create --role server');
    expect(existsSync(join(second.data, 'pki'))).toBe(false);
    token = await command(first, 'token', 'create', '--role', 'server');
    await second.start(['join', token, '--server', url, '--role', 'server,agent'], 200_000);
    expect(await members(second)).toEqual({ 'node-1': 'leader', 'node-2': 'learner' });
    for (const name of ['server-ca.key', 'etcd-peer-ca.key', 'service-account.key', 'apiserver.key'])
      expect(statSync(join(second.data, 'pki', name)).mode & 0o777).toBe(0o600);
    expect(await apiServers(second)).toBe('10.98.0.1 10.98.0.2');
  });

  test('with the third one all vote; every server answers with its own certificate; pods run on each', {
    timeout: 6 * minute,
  }, async () => {
    await third.start(['join', token, '--server', url, '--role', 'server,agent'], 200_000);
    await threeVote(third);
    for (const node of servers) {
      expect(await node.mustKubectl(['get', 'nodes', '--no-headers'])).toMatch(/^node-3 +Ready +control-plane,etcd/m);
      expect(await apiServers(node)).toBe('10.98.0.1 10.98.0.2 10.98.0.3');
    }
    await until('the default service account', minute, async () => {
      return (await first.kubectl(['get', 'sa', 'default'])).code === 0;
    });
    for (const { name } of servers) await runs(first, `on-${name}`, name);
    expect(await third.mustKubectl(['exec', 'on-node-2', '--', 'hostname'])).toContain('on-node-2');
    const status = await command(second, 'store', 'status', '-o', 'json');
    expect(JSON.parse(status)).toMatchObject({ members: 3, memberStates: [{}, {}, {}] });
    // As docs/store.md has it.
    const pki = (name: string): string => join(second.data, 'pki', name);
    const env = {
      ETCDCTL_API: '3',
      ETCDCTL_ENDPOINTS: 'https://127.0.0.1:2379',
      ETCDCTL_CACERT: pki('etcd-server-ca.crt'),
      ETCDCTL_CERT: pki('etcd-client.crt'),
      ETCDCTL_KEY: pki('etcd-client.key'),
    };
    const health = await must(second.inside('etcdctl', 'endpoint', 'health', '--cluster', '-w', 'json'), { env });
    expect(JSON.parse(health)).toMatchObject([{ health: true }, { health: true }, { health: true }]);
    expect(
      await must(second.inside('etcdctl', 'get', '/registry/core/nodes/', '--prefix', '--keys-only'), { env }),
    ).toBe(servers.map(({ name }) => `/registry/core/nodes/${name}\n\n`).join(''));
  });

  test('Secrets are encrypted for all servers at once: one writes, the others read; a key is rotated while they write, without a restart', {
    timeout: 4 * minute,
  }, async () => {
    const password = 'cGxhaW4gbm93aGVyZSBvbiBhbnkgZGlzaw==';
    const plain = Buffer.from(password, 'base64').toString();
    await command(second, 'secrets-encrypt', 'enable');
    await third.mustKubectl(['create', 'secret', 'generic', 'shared', `--from-literal=p=${plain}`]);
    const reads = async (name: string): Promise<void> => {
      for (const node of servers)
        expect(await node.mustKubectl(['get', 'secret', name, '-o', 'jsonpath={.data.p}'])).toBe(password);
    };
    await reads('shared');
    const keysOf = async (node: TestNode): Promise<{ name: string; active: boolean }[]> => {
      const status = JSON.parse(await command(node, 'secrets-encrypt', 'status', '-o', 'json'));
      expect(status).toMatchObject({ enabled: true, stage: 'finished' });
      return status.keys;
    };
    const before = await keysOf(first);
    expect(before).toHaveLength(1);
    let rotated = false;
    const writers = servers.map(async (node) => {
      let written = 0;
      for (let last = false; !last; written++) {
        last = rotated;
        await node.mustKubectl(['create', 'secret', 'generic', `${node.name}-${written}`, `--from-literal=p=${plain}`]);
      }
      return written;
    });
    await command(third, 'secrets-encrypt', 'rotate-keys');
    rotated = true;
    const written = await Promise.all(writers);
    for (const node of servers) {
      const [active, previous] = await keysOf(node);
      expect(active).toMatchObject({ active: true });
      expect(previous).toMatchObject({ name: before[0]!.name, active: false });
    }
    await reads('shared');
    for (const [at, node] of servers.entries()) await reads(`${node.name}-${written[at]! - 1}`);
    // Neither the value nor its form in JSON is in any file of any store.
    for (const node of servers)
      for (const text of [password, plain])
        expect((await run(['grep', '-rlaF', text, join(node.data, 'store')])).stdout).toBe('');
  });

  test('the leader loses its power: the others go on; it comes back and catches up', {
    timeout: 8 * minute,
  }, async () => {
    const roles = await members(first);
    const leader = servers.find(({ name }) => roles[name] === 'leader')!;
    const [other, another] = servers.filter((node) => node !== leader) as [TestNode, TestNode];
    const killed = performance.now();
    await cut(leader);
    await until('kubectl writes through another server', minute, async () => {
      const made = await other.kubectl(['create', 'configmap', 'after', '--from-literal=a=1'], { timeoutMs: 10_000 });
      return made.code === 0 || made.stderr.includes('already exists');
    });
    console.log(
      `a write went through ${((performance.now() - killed) / 1000).toFixed(1)} s after the leader was killed`,
    );
    const lookUp = ['nslookup', 'kubernetes.default.svc.cluster.local'];
    expect(await other.mustKubectl(['exec', `on-${another.name}`, '--', ...lookUp])).toContain('10.43.0.1');
    await deploys(another, 'after', another.name);
    expect(await ready(other, another.name)).toBe(true);
    expect(await ready(another, other.name)).toBe(true);
    expect(await another.mustKubectl(['get', 'secret', 'shared', '-o', 'name'])).toContain('secret/shared');
    await until('the dead server is no endpoint', minute, async () => !(await apiServers(other)).includes(leader.ip));

    await leader.up(200_000);
    expect(await leader.mustKubectl(['get', 'configmap', 'after', '-o', 'name'])).toContain('configmap/after');
    await until('it is a voter again, and an endpoint', minute, async () => {
      const [roles, endpoints] = [await members(leader), await apiServers(leader)];
      return Object.values(roles).sort().join() === 'leader,voter,voter' && endpoints.split(' ').length === 3;
    });
    expect((await leader.appliance('status')).stdout).toContain('The store is kept by 3 servers');
  });

  test('a server comes back with another address: the others are told where it is, and reach it there', {
    timeout: 6 * minute,
  }, async () => {
    const before = third.ip;
    await command(third, 'down');
    await third.waitForExit();
    await third.moveTo('10.98.0.33');
    await third.up(200_000);
    for (const node of servers)
      await until(`${node.name} knows where node-3 is, and that it runs`, minute, async () => {
        const moved = (await memberLines(node)).find(({ name }) => name === 'node-3');
        return moved?.peerUrls.join() === 'https://10.98.0.33:2380' && moved.state === 'runs';
      });
    await threeVote(first);
    await until('the API is served there, and no more where it was', minute, async () => {
      const addresses = (await apiServers(first)).split(' ');
      return addresses.includes('10.98.0.33') && !addresses.includes(before);
    });
    expect(await first.mustKubectl(['get', 'node', 'node-3', '-o', 'wide', '--no-headers'])).toContain(' 10.98.0.33 ');
    expect(await third.mustKubectl(['create', 'configmap', 'moved', '--from-literal=a=1'])).toContain('created');
    // The API server of one node goes to the kubelet of another.
    await until('a command runs in a pod there', minute, async () => {
      return (await first.kubectl(['exec', 'on-node-3', '--', 'hostname'])).stdout.includes('on-node-3');
    });
  });

  test('a server is removed while it runs: an odd number votes, it serves no more and says why; emptied, it joins again', {
    timeout: 8 * minute,
  }, async () => {
    const roles = await members(first);
    const gone = servers.find(({ name }) => roles[name] === 'voter' && name !== 'node-1')!;
    const stays = servers.find((node) => node !== gone && node !== first)!;
    await first.mustKubectl(['delete', 'node', gone.name], { timeoutMs: 2 * minute });
    for (const node of [first, stays])
      expect(Object.values(await members(node)).sort(), node.name).toEqual(['leader', 'learner']);
    await first.mustKubectl(['create', 'configmap', 'with-two', '--from-literal=a=1']);
    await says(
      gone,
      'the other servers have removed this one from the store; `appliance reset`, then join again',
      'the other servers have removed this one: it registers no node',
    );
    const asked = await gone.appliance('store', 'members');
    expect([asked.code, asked.stderr]).toEqual([1, expect.stringContaining('have removed this one from the store')]);
    expect((await gone.kubectl(['get', 'nodes', '--request-timeout=5s'])).code).not.toBe(0);
    expect(await first.mustKubectl(['get', 'nodes', '--no-headers'])).not.toContain(gone.name);
    // A start changes nothing of that.
    await command(gone, 'down');
    await gone.waitForExit();
    await expect(gone.up(40_000)).rejects.toThrow('have removed this one from the store');
    await command(gone, 'down');
    await gone.waitForExit();

    await command(gone, 'reset', '--yes');
    const fresh = await command(first, 'token', 'create', '--role', 'server');
    await gone.start(['join', fresh, '--server', url, '--role', 'server,agent'], 200_000);
    await threeVote(gone);
    expect(await gone.mustKubectl(['get', 'configmap', 'with-two', '-o', 'name'])).toContain('with-two');
  });

  test('two of three lose their power: the last one says what it waits for and what can be done, and goes on when one is back', {
    timeout: 6 * minute,
  }, async () => {
    const roles = await members(first);
    last = servers.find(({ name }) => roles[name] === 'voter' && name !== 'node-1')!;
    const lost = servers.filter((node) => node !== last);
    for (const node of lost) await cut(node);
    const refused = await last.kubectl(['create', 'configmap', 'alone', '--request-timeout=9s'], { timeoutMs: 30_000 });
    expect(refused.code).not.toBe(0);
    const words = 'The store has no leader and takes no writes: 1 of 3 servers that may vote runs, 2 must.';
    const expected = [
      words,
      'waits for a majority of the servers: 1 of 3 here; missing ',
      ...lost.map(({ name }) => `Server ${name} is not reached`),
    ];
    await says(last, ...expected);
    expect((await last.appliance('status')).code).toBe(1);
    const told = await last.appliance('store', 'members');
    expect([told.code, told.stdout.replaceAll(/\s+/g, ' ')]).toEqual([0, expect.stringContaining(words)]);
    expect(told.stdout).toContain('cluster-reset');
    // What the server runs stays, however long it waits.
    const restarts = async (): Promise<number> =>
      (JSON.parse((await last.appliance('status', '-o', 'json')).stdout) as StatusJson).facts.supervisor.instances.find(
        ({ name }) => name === 'server',
      )!.restarts;
    const before = await restarts();

    await lost[0]!.up(200_000);
    await until('writes go on', minute, async () => {
      return (await last.kubectl(['create', 'configmap', 'back', '--from-literal=a=1'])).code === 0;
    });
    expect(await restarts()).toBe(before);
    expect((await last.kubectl(['get', 'configmap', 'alone'])).code).not.toBe(0);
    await lost[1]!.up(200_000);
    await threeVote(last);
  });

  test('two of three are lost for good: cluster-reset on the last one brings everything back, and the group grows again', {
    timeout: 10 * minute,
  }, async () => {
    const roles = await members(first);
    last = servers.find(({ name }) => roles[name] === 'voter' && name !== 'node-1')!;
    const lost = servers.filter((node) => node !== last);
    await last.mustKubectl(['create', 'configmap', 'before', '--from-literal=a=1']);
    for (const node of lost) await cut(node);
    const refused = await last.kubectl(['create', 'configmap', 'never', '--request-timeout=9s'], { timeoutMs: 30_000 });
    expect(refused.code).not.toBe(0);
    const running = await last.appliance('store', 'cluster-reset');
    expect(running.stderr).toContain('the node runs');
    await command(last, 'down');
    await last.waitForExit();
    await command(last, 'store', 'cluster-reset');
    await last.up(200_000);
    expect(await members(last)).toEqual({ [last.name]: 'leader' });
    for (const name of ['after', 'before'])
      expect(await last.mustKubectl(['get', 'configmap', name, '-o', 'name'])).toContain(name);
    expect((await last.kubectl(['get', 'configmap', 'never'])).code).not.toBe(0);
    expect(await last.mustKubectl(['get', 'secret', 'shared', '-o', 'jsonpath={.data.p}'])).not.toBe('');
    await deploys(last, 'again', last.name);

    // A lost one is emptied and joins anew.
    const back = lost.find(({ name }) => name !== 'node-1')!;
    await command(back, 'reset', '--yes');
    for (const { name } of lost) await last.mustKubectl(['delete', 'node', name], { timeoutMs: 2 * minute });
    const fresh = await command(last, 'token', 'create', '--role', 'server');
    await back.start(['join', fresh, '--server', `https://${last.ip}:6443`, '--role', 'server,agent'], 200_000);
    expect(await members(back)).toEqual({ [last.name]: 'leader', [back.name]: 'learner' });
  });

  test('a deleted node is no member any more', { timeout: 4 * minute }, async () => {
    const roles = await members(last);
    const leaving = servers.find(({ name }) => roles[name] === 'learner')!;
    await command(leaving, 'down');
    await leaving.waitForExit();
    await last.mustKubectl(['delete', 'node', leaving.name], { timeoutMs: 2 * minute });
    expect(await members(last)).toEqual({ [last.name]: 'leader' });
    expect((await last.appliance('status')).stdout).not.toContain(leaving.name);
  });
});
