import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, run, TestNode, TestSwitch, until } from './harness.ts';

/** Pods, services and names across two machines: two appliances in network namespaces on one switch, and a third one that is outside the cluster. */

const minute = 60_000;
const network = new TestSwitch();
const first = new TestNode({ network, config: 'roles: [server, agent]' });
const second = new TestNode({ name: 'node-2', ip: '10.98.0.2', network });
const outside = new TestNode({ name: 'outside', ip: '10.98.0.9', network });
const nodes = [first, second];
const nodePort = 30_080;
const localPort = 30_081;

/** A pod on a node that serves 1 MiB of its own and says who asked. */
function webPod(name: string, node: TestNode): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'web', on: node.name } },
    spec: {
      nodeSelector: { 'kubernetes.io/hostname': node.name },
      terminationGracePeriodSeconds: 1,
      containers: [
        {
          name: 'web',
          image: 'busybox:1.35',
          imagePullPolicy: 'IfNotPresent',
          command: [
            'sh',
            '-c',
            'mkdir /tmp/w && hostname >/tmp/w/name && dd if=/dev/zero bs=1M count=1 2>/dev/null | tr "\\0" x >/tmp/w/large && exec httpd -f -vv -p 8080 -h /tmp/w',
          ],
          readinessProbe: { httpGet: { port: 8080, path: '/name' }, periodSeconds: 1 },
        },
      ],
    },
  };
}

const service = (name: string, selector: object, spec: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector, ports: [{ port: 80, targetPort: 8080 }], ...spec },
});

const objects = [
  webPod('one', first),
  webPod('two', second),
  service('on-1', { on: first.name }),
  service('on-2', { on: second.name }),
  service('web', { app: 'web' }, { type: 'NodePort', ports: [{ port: 80, targetPort: 8080, nodePort }] }),
  service(
    'local',
    { on: second.name },
    { type: 'NodePort', externalTrafficPolicy: 'Local', ports: [{ port: 80, targetPort: 8080, nodePort: localPort }] },
  ),
];

const jsonPath = async (kind: string, name: string, path: string): Promise<string> =>
  (await first.mustKubectl(['get', kind, name, '-o', `jsonpath=${path}`])).trim();
const podIP = (name: string) => jsonPath('pod', name, '{.status.podIP}');
const clusterIP = (name: string) => jsonPath('service', name, '{.spec.clusterIP}');
const fromPod = (name: string, ...argv: string[]) => first.mustKubectl(['exec', name, '--', ...argv]);
const fetchFrom = (pod: string, url: string) => fromPod(pod, 'wget', '-q', '-O', '-', url);
const fromMachine = (node: TestNode, url: string, ...more: string[]) =>
  must(node.inside('curl', '-sS', '-m', '10', ...more, url));

async function podsReady(): Promise<void> {
  await first.mustKubectl(['wait', '--for=condition=Ready', 'pod/one', 'pod/two', '--timeout=150s'], {
    timeoutMs: 3 * minute,
  });
}

/** Who asked a pod's server for a path that only the test asks for (probes ask too), by its log. */
async function askerOf(pod: string, path: string): Promise<string | undefined> {
  return until(`the log of ${pod} has ${path}`, minute, async () => {
    const log = await first.mustKubectl(['logs', pod, '--tail=200']);
    return new RegExp(`\\[(?:::ffff:)?([0-9.]+)\\]:\\d+: url:${path}$`, 'm').exec(log)?.[1];
  });
}

/** Everything that has to work between two nodes, however their packets travel. */
async function everythingWorks(): Promise<void> {
  const [one, two] = [await podIP('one'), await podIP('two')];
  for (const [pod, other, ip] of [
    ['one', 'two', two],
    ['two', 'one', one],
  ] as const) {
    expect(await fetchFrom(pod, `http://${ip}:8080/name`)).toBe(`${other}\n`);
    // Answers larger than any packet: a wrong packet size would stop them.
    expect((await fetchFrom(pod, `http://${ip}:8080/large`)).length).toBe(1 << 20);
    await fromPod(pod, 'ping', '-c', '1', '-W', '5', ip);
    const number = other === 'one' ? 1 : 2;
    expect(await fetchFrom(pod, `http://on-${number}.default.svc.cluster.local/name`)).toBe(`${other}\n`);
    expect(await fetchFrom(pod, `http://${await clusterIP(`on-${number}`)}/name`)).toBe(`${other}\n`);
    // A pod that reaches itself by its service.
    expect(await fetchFrom(pod, `http://on-${3 - number}/name`)).toBe(`${pod}\n`);
  }
  for (const from of nodes) {
    expect(await fromMachine(from, `http://${one}:8080/name`)).toBe('one\n');
    expect(await fromMachine(from, `http://${two}:8080/name`)).toBe('two\n');
    expect(await fromMachine(from, `http://${await clusterIP('on-1')}/name`)).toBe('one\n');
    expect(await fromMachine(from, `http://${await clusterIP('on-2')}/name`)).toBe('two\n');
  }
  for (const { ip } of nodes) {
    const seen = new Set<string>();
    await until('both pods answer by the NodePort', minute, async () => {
      seen.add(await fromMachine(outside, `http://${ip}:${nodePort}/name`));
      return seen.size === 2;
    });
    expect([...seen].sort()).toEqual(['one\n', 'two\n']);
  }
}

async function joinSecond(): Promise<void> {
  const token = (await first.appliance('token', 'create')).stdout.trim();
  const screen = await second.start(['join', token], 200_000);
  // Found by multicast: no server was named.
  expect(screen).toContain(`found the cluster at ${first.ip}:6443`);
}

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await network.make();
  for (const node of [...nodes, outside]) await node.makeNetwork();
  // Machines of one switch reach one another without a gateway; the default route of the harness would hide a missing route.
  for (const node of nodes) await run(['ip', '-n', node.namespace, 'route', 'del', 'default']);
}, 5 * minute);
afterAll(async () => {
  for (const node of [second, first, outside]) await node.remove();
  await network.remove();
}, 4 * minute);

describe('two nodes', () => {
  test('the second finds the first by mDNS; each has a pod network of its own', { timeout: 7 * minute }, async () => {
    await first.up(200_000);
    await joinSecond();
    const networks = await first.mustKubectl(['get', 'nodes', '-o', 'jsonpath={.items[*].spec.podCIDR}']);
    expect(networks.split(' ').sort()).toEqual(['10.42.0.0/24', '10.42.1.0/24']);
    await until(
      'the default service account',
      minute,
      async () => (await first.kubectl(['get', 'sa', 'default'])).code === 0,
    );
    await first.mustKubectl(['apply', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
    });
    await podsReady();
  });

  test('vxlan: pods, services, names and node ports', { timeout: 5 * minute }, async () => {
    expect(
      await jsonPath('node', 'node-2', '{.metadata.annotations.flannel\\.alpha\\.coreos\\.com/backend-type}'),
    ).toBe('vxlan');
    expect(await fromPod('one', 'cat', '/sys/class/net/eth0/mtu')).toBe('1450\n');
    await everythingWorks();
  });

  test('pods keep their address on the way to pods of the other node, also over a service', {
    timeout: 2 * minute,
  }, async () => {
    // There is no such file: the server says so, and who asked.
    const ask = (host: string, path: string) =>
      first.kubectl(['exec', 'one', '--', 'wget', '-q', '-O', '-', `http://${host}${path}`]);
    await ask(`${await podIP('two')}:8080`, '/direct');
    expect(await askerOf('two', '/direct')).toBe(await podIP('one'));
    await ask(await clusterIP('on-2'), '/by-service');
    expect(await askerOf('two', '/by-service')).toBe(await podIP('one'));
  });

  test('externalTrafficPolicy Local: only the node with the pod answers from outside, and the pod sees who asks', {
    timeout: 2 * minute,
  }, async () => {
    expect(await fromMachine(outside, `http://${second.ip}:${localPort}/name`)).toBe('two\n');
    await fromMachine(outside, `http://${second.ip}:${localPort}/from-outside`);
    expect(await askerOf('two', '/from-outside')).toBe(outside.ip);
    expect((await run(outside.inside('curl', '-s', '-m', '5', `http://${first.ip}:${localPort}/name`))).code).not.toBe(
      0,
    );
    // The cluster's own traffic goes to the pod wherever it is.
    expect(await fromMachine(first, `http://${first.ip}:${localPort}/name`)).toBe('two\n');
  });

  test('what somebody else takes away comes back', { timeout: 2 * minute }, async () => {
    const two = await podIP('two');
    const tunnel = (await must(['ip', '-n', first.namespace, '-o', 'link', 'show', 'type', 'vxlan'])).split(': ')[1]!;
    await must(['ip', '-n', first.namespace, 'route', 'flush', 'proto', '142']);
    await must(['ip', '-n', first.namespace, 'link', 'delete', tunnel]);
    await until('pods reach one another again', minute, async () =>
      (await run(first.inside('curl', '-s', '-m', '2', `http://${two}:8080/name`))).stdout.includes('two'),
    );
  });

  test('each node starts again: everything works as before', { timeout: 8 * minute }, async () => {
    for (const node of [second, first]) {
      expect((await node.appliance('down')).code).toBe(0);
      await node.waitForExit();
      await node.up(200_000);
      await podsReady();
    }
    await until(
      'pods reach one another',
      minute,
      async () => (await fetchFrom('one', `http://${await podIP('two')}:8080/name`)) === 'two\n',
    );
    await everythingWorks();
  });

  test('host-gw: plain routes, the whole packet size, no tunnel', { timeout: 9 * minute }, async () => {
    for (const node of [second, first]) {
      expect((await node.appliance('down')).code).toBe(0);
      await node.waitForExit();
    }
    const config = readFileSync(first.configFile, 'utf8');
    writeFileSync(first.configFile, `${config}\ncluster: {networkBackend: host-gw}\n`);
    await first.up(200_000);
    // The second asks the server what the cluster is like.
    await second.up(200_000);
    await podsReady();
    for (const node of nodes) {
      expect(await must(['ip', '-n', node.namespace, 'link', 'show', 'type', 'vxlan'])).toBe('');
      expect(await must(['ip', '-n', node.namespace, 'route', 'show', 'proto', '142'])).toMatch(
        /via 10\.98\.0\.[12] dev uplink/,
      );
    }
    expect(await fromPod('one', 'cat', '/sys/class/net/eth0/mtu')).toBe('1500\n');
    await everythingWorks();
  });

  test('a node that is deleted leaves no route; down leaves nothing', { timeout: 4 * minute }, async () => {
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    await first.mustKubectl(['delete', 'node', 'node-2']);
    await until(
      'the route is gone',
      minute,
      async () => (await must(['ip', '-n', first.namespace, 'route', 'show', 'proto', '142'])) === '',
    );
    expect((await first.appliance('down')).code).toBe(0);
    await first.waitForExit();
    for (const node of nodes) {
      expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
      expect((await must(['ip', '-n', node.namespace, 'route'])).trim()).toMatch(
        /^10\.98\.0\.0\/24 dev uplink [^\n]*$/,
      );
    }
  });
});
