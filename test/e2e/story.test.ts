import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Counter, counterManifest, inCounter } from './counter.ts';
import { must, root, TestNode, until } from './harness.ts';
import { storageClientTests } from './storage-clients.ts';

/** The story of the main job on a real machine: real containerd, kubectl, ceph, rados and rbd against the compiled executable. */

const minute = 60_000;
const clients = ['kubectl-13', 'kubectl-12'] as const;
const node = new TestNode();
const counter = new Counter(node);
const manifest = counterManifest;

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await node.makeNetwork();
}, 5 * minute);
afterAll(() => node.remove(), 3 * minute);

describe('story', () => {
  test('up: the node is Ready and the storage healthy', { timeout: 3 * minute }, async () => {
    const screen = await node.up(150_000);
    expect(screen).toContain('Ready after');
    expect(screen).toContain('kubectl apply -f examples/counter.yaml');
    await node.healthy();
  });

  test.each(clients)('%s: reads nodes and pods', { timeout: minute }, async (client) => {
    const text = await node.mustKubectl(['get', 'nodes,pods', '-A', '-o', 'wide'], { client });
    expect(text).toMatch(/node\/node-1\s+Ready/);
    expect(text).toContain(node.ip);
  });

  test('kubectl apply: the counter comes up on a volume', { timeout: 4 * minute }, async () => {
    const text = await node.mustKubectl(['apply', '-f', manifest]);
    expect(text).toContain('statefulset.apps/counter created');
    await counter.ready();
    await until('20 records', minute, async () => (await counter.acknowledged()).length >= 20);
    await counter.checkRecords(20);
    expect(await node.mustKubectl([...inCounter, 'get', 'pvc'])).toMatch(
      /data-counter-0\s+Bound\s+pvc-\S+\s+1Gi\s+RWO\s+rook-ceph-block/,
    );
  });

  test.each(clients)('%s: apply again, describe, exec, logs -f, wait', { timeout: 2 * minute }, async (client) => {
    expect(await node.mustKubectl(['apply', '-f', manifest], { client })).toMatch(
      /statefulset.apps\/counter (unchanged|configured)/,
    );
    const described = await node.mustKubectl([...inCounter, 'describe', 'pod', 'counter-0'], { client });
    expect(described).toContain('node-1');
    expect(described).toMatch(/Started container counter/);
    expect(
      await node.mustKubectl([...inCounter, 'exec', 'counter-0', '-c', 'counter', '--', 'echo', 'hello'], { client }),
    ).toBe('hello\n');
    const echoed = await node.mustKubectl([...inCounter, 'exec', '-i', 'counter-0', '-c', 'counter', '--', 'cat'], {
      client,
      input: 'through stdin\n',
    });
    expect(echoed).toBe('through stdin\n');
    const failed = await node.kubectl(
      [...inCounter, 'exec', 'counter-0', '-c', 'counter', '--', 'sh', '-c', 'exit 7'],
      { client },
    );
    expect(failed.code).toBe(7);
    const follower = Bun.spawn(
      node.inside(
        join(root, '.cache/bin', client),
        ...inCounter,
        'logs',
        '-f',
        '--tail=1',
        'counter-0',
        '-c',
        'counter',
      ),
      { stdout: 'pipe', env: { ...process.env, KUBECONFIG: node.kubeconfig }, timeout: 60_000, killSignal: 'SIGKILL' },
    );
    let followed = '';
    const acks = (): number => followed.match(/^ack \d+$/gm)?.length ?? 0;
    const decoder = new TextDecoder();
    for await (const bytes of follower.stdout) {
      followed += decoder.decode(bytes, { stream: true });
      if (acks() > 5) break;
    }
    follower.kill('SIGKILL');
    expect(acks()).toBeGreaterThan(5);
    await node.mustKubectl([...inCounter, 'wait', '--for=condition=Ready', 'pod/counter-0', '--timeout=10s'], {
      client,
    });
  });

  test('the service answers by name and by address from inside', { timeout: minute }, async () => {
    const ip = (
      await node.mustKubectl([...inCounter, 'get', 'service', 'counter', '-o', 'jsonpath={.spec.clusterIP}'])
    ).trim();
    expect(await node.mustTool(['curl', '-s', '-m', '10', `http://${ip}/records`])).toMatch(/^1 \d+ [0-9a-f]{64}\n/);
    const byName = await node.mustKubectl([
      ...inCounter,
      'exec',
      'counter-0',
      '-c',
      'counter',
      '--',
      'wget',
      '-q',
      '-O',
      '-',
      'http://counter.counter.svc.cluster.local/records',
    ]);
    expect(byName).toMatch(/^1 \d+ [0-9a-f]{64}\n/);
  });

  test('scale to 2 and back: each replica has a volume of its own', { timeout: 4 * minute }, async () => {
    await node.mustKubectl([...inCounter, 'scale', 'statefulset/counter', '--replicas=2']);
    await counter.ready();
    await node.mustKubectl([...inCounter, 'wait', '--for=condition=Ready', 'pod/counter-1', '--timeout=120s'], {
      timeoutMs: 2 * minute,
    });
    await node.mustKubectl([...inCounter, 'scale', 'statefulset/counter', '--replicas=1']);
    await node.mustKubectl([...inCounter, 'wait', '--for=delete', 'pod/counter-1', '--timeout=60s'], {
      timeoutMs: 2 * minute,
    });
    await node.mustKubectl([...inCounter, 'delete', 'pvc', 'data-counter-1', '--timeout=60s'], {
      timeoutMs: 2 * minute,
    });
    await until(
      'the image of the deleted claim is gone',
      minute,
      async () => (await node.mustTool(['rbd', 'ls', 'replicapool'])).trim().split('\n').length === 1,
    );
  });

  test('kubectl patch --subresource resize: a container gets more and less while it runs, another is restarted for it', {
    timeout: 3 * minute,
  }, async () => {
    const size = (cpu: string, memory: string): object => ({ requests: { cpu, memory }, limits: { cpu, memory } });
    const container = {
      image: 'busybox:1.35',
      imagePullPolicy: 'Never',
      command: ['sh', '-c', 'trap exit TERM; while true; do sleep 1; done'],
      resources: size('50m', '16Mi'),
    };
    const resizePolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' }];
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'sized' },
      spec: {
        terminationGracePeriodSeconds: 2,
        containers: [
          { ...container, name: 'runs' },
          { ...container, name: 'restarts', resizePolicy },
        ],
      },
    };
    await node.mustKubectl(['apply', '-f', '-'], { input: JSON.stringify(pod) });
    await node.mustKubectl(['wait', '--for=condition=Ready', 'pod/sized', '--timeout=90s'], { timeoutMs: 2 * minute });
    const resize = (name: string, cpu: string, memory: string): Promise<string> => {
      const patch = { spec: { containers: [{ name, resources: size(cpu, memory) }] } };
      return node.mustKubectl(['patch', 'pod', 'sized', '--subresource', 'resize', '--patch', JSON.stringify(patch)]);
    };
    /** Waits until the node says that the container has that much, and reads from inside what the kernel gives it. */
    const has = async (index: number, name: string, memory: string, bytes: number, restarts: number): Promise<void> => {
      const path = `{.status.containerStatuses[${index}]['ready','restartCount','resources.limits.memory']}`;
      const expected = `true ${restarts} ${memory}`;
      await until(`container ${name} has ${memory}`, minute, async () => {
        const output = await node.kubectl(['get', 'pod', 'sized', '-o', `jsonpath=${path}`]);
        return output.code === 0 && output.stdout.trim() === expected;
      });
      const read = 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max';
      const limit = await node.mustKubectl(['exec', 'sized', '-c', name, '--', 'sh', '-c', read]);
      expect(Number(limit)).toBe(bytes);
    };
    const mi = 1024 * 1024;
    await resize('runs', '100m', '48Mi');
    await has(0, 'runs', '48Mi', 48 * mi, 0);
    await resize('runs', '20m', '12Mi');
    await has(0, 'runs', '12Mi', 12 * mi, 0);
    await resize('restarts', '50m', '24Mi');
    await has(1, 'restarts', '24Mi', 24 * mi, 1);
    const refused = await node.kubectl([
      'patch',
      'pod',
      'sized',
      '--patch',
      '{"spec":{"containers":[{"name":"runs","resources":{"limits":{"cpu":"1"}}}]}}',
    ]);
    expect(refused.stderr).toContain('pod updates may not change fields other than');
    expect((await node.kubectl(['get', 'events', '-o', 'jsonpath={.items[*].reason}'])).stdout).toContain(
      'ResizeCompleted',
    );
    await node.mustKubectl(['delete', 'pod', 'sized', '--timeout=60s'], { timeoutMs: 2 * minute });
  });

  storageClientTests(node);

  test('kill -9 of the container: it starts again by itself on the same data', { timeout: 3 * minute }, async () => {
    const last = await counter.lastAcknowledged();
    const before = await counter.restarts();
    await node.kubectl([...inCounter, 'exec', 'counter-0', '-c', 'counter', '--', 'sh', '-c', 'kill -9 -1; kill -9 1']);
    const id = (
      await node.mustKubectl([
        ...inCounter,
        'get',
        'pod',
        'counter-0',
        '-o',
        'jsonpath={.status.containerStatuses[?(@.name=="counter")].containerID}',
      ])
    ).replace('containerd://', '');
    for (const pid of await containerPids(id)) process.kill(pid, 'SIGKILL');
    await until('the container restarted', minute, async () => (await counter.restarts()) > before);
    await counter.ready();
    await counter.checkRecords(last);
  });

  test.each(['mon', 'mgr', 'osd.1', 'server', 'containerd', 'agent', 'edge'])(
    'kill -9 of %s: it comes back and nothing acknowledged is lost',
    { timeout: 4 * minute },
    async (name) => {
      const last = (await counter.acknowledged()).at(-1) ?? 0;
      const before = await counter.restarts();
      const pid = (await node.status()).instances.find((instance) => instance.name === name)?.pid;
      expect(pid).toBeGreaterThan(1);
      process.kill(pid!, 'SIGKILL');
      await until(`${name} runs again`, minute, async () => {
        const instance = (await node.status()).instances.find((one) => one.name === name);
        return instance?.phase === 'running' && instance.pid !== pid;
      });
      await node.healthy(2 * minute);
      await counter.ready();
      await counter.checkRecords(last);
      // What backs the pod's mount, and its containers, outlive each of them.
      expect(await counter.restarts()).toBe(before);
    },
  );

  test('kill -9 of the supervisor and all: up again continues with the data', { timeout: 6 * minute }, async () => {
    const file = join(node.directory, 'survivor');
    writeFileSync(file, Buffer.alloc(300_000, 'survivor'));
    await node.mustTool(['rados', '-p', 'bench', 'put', 'survivor', file]);
    const last = await counter.lastAcknowledged();
    const pids = (await node.traces()).processes.map((line) => Number(line.split(' ')[0]));
    for (const pid of [node.supervisorPid, ...pids])
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It died with its parent.
      }
    await node.up(150_000);
    await node.healthy(2 * minute);
    await counter.ready();
    await counter.checkRecords(last);
    await node.mustTool(['rados', '-p', 'bench', 'get', 'survivor', `${file}.back`]);
    expect(readFileSync(`${file}.back`).equals(readFileSync(file))).toBe(true);
  });

  test('status tells it in words', { timeout: minute }, async () => {
    const output = await node.appliance('status');
    expect(output.code).toBe(0);
    expect(output.stdout).toMatch(/node-1 is Ready/);
    expect(output.stdout).toMatch(/storage is healthy/i);
  });

  test('down leaves nothing behind; up continues with the data', { timeout: 6 * minute }, async () => {
    const last = await counter.lastAcknowledged();
    const output = await node.appliance('down');
    expect(output.code, output.stdout + output.stderr).toBe(0);
    await node.waitForExit();
    expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
    await node.up(150_000);
    await counter.ready();
    await counter.checkRecords(last);
  });

  test('kubectl delete takes it all away', { timeout: 3 * minute }, async () => {
    await node.mustKubectl(['delete', '-f', manifest, '--timeout=120s'], { timeoutMs: 150_000 });
    expect((await node.kubectl(['get', 'namespace', 'counter'])).stderr).toContain('not found');
    await until(
      'its image is gone',
      minute,
      async () => (await node.mustTool(['rbd', 'ls', 'replicapool'])).trim() === '',
    );
  });

  test('Ctrl-C stops everything cleanly', { timeout: 2 * minute }, async () => {
    process.kill(node.supervisorPid, 'SIGINT');
    expect(await node.waitForExit()).toBe(0);
    expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
  });
});

/** Processes whose cgroup is the container's. */
async function containerPids(id: string): Promise<number[]> {
  const text = await must(['sh', '-c', `grep -l ${id} /proc/[0-9]*/cgroup 2>/dev/null || true`]);
  return [...text.matchAll(/\/proc\/(\d+)\//g)].map((match) => Number(match[1]));
}
