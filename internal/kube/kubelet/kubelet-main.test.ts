import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import type { Config } from '../../config/config.ts';
import { nodePaths } from '../../config/paths.ts';
import type { Node } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { prepareContainerd } from './containerd-system.ts';
import { sameJson } from './equal.ts';
import { type Kubelet, startKubelet } from './kubelet-main.ts';
import { dockerArchive } from './pause/archive.ts';
import { goArchitecture } from './pause/elf.ts';
import { cgroupV2 } from './machine-system.ts';
import { quantityValue } from './pod/quantity.ts';
import { podCgroupPath } from './pod/resources.ts';
import { eventsRef, nodesRef, type Pod, podsRef } from './pod-types.ts';
import { stopAllPods } from './teardown-system.ts';
import { FakeClient } from './testing/fake-client.ts';

const busybox = Bun.which('busybox');
const ready =
  process.getuid?.() === 0 && busybox !== null && ['containerd', 'runc', 'ctr'].every((p) => Bun.which(p) !== null);

/** The node agent over a real containerd, with an API server in memory. Pods are on the host's network, so that no interface is made. */
describe.skipIf(!ready)('node agent with containerd (as root)', () => {
  let root = '';
  let config: Config;
  let containerd: Bun.Subprocess;
  let kubelet: Kubelet;
  const client = new FakeClient();

  const begin = (): Promise<Kubelet> =>
    startKubelet({
      config,
      paths: nodePaths(config.dataDir, config.runDir),
      client,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      networkProblem: () => undefined,
      unwanted: () => undefined,
    });

  beforeAll(async () => {
    // Socket paths are short on Linux: not below a long temporary directory.
    root = mkdtempSync('/tmp/kubelet-');
    config = {
      node: {
        name: 'n1',
        ip: '127.0.0.1',
        labels: { disk: 'ssd' },
        taints: [{ key: 'dedicated', effect: 'NoSchedule' }],
      },
      dataDir: join(root, 'data'),
      runDir: join(root, 'run'),
      logLevel: 'warn',
      roles: ['agent'],
      cluster: {
        podCIDR: '10.42.0.0/16',
        serviceCIDR: '10.43.0.0/16',
        dnsIP: '10.43.0.10',
        domain: 'cluster.local',
        serviceNodePortRange: [30_000, 32_767],
        networkBackend: 'vxlan',
      },
      ports: { api: 1, kubelet: 1, mon: 1, ceph: 1, dns: 1, prometheus: 1 },
      containerd: { command: Bun.which('containerd') ?? 'containerd', cniBinDirs: ['/usr/lib/cni'] },
      imagesDir: join(root, 'images'),
      manifestsDir: join(root, 'manifests'),
      storage: { engine: 'embedded', replication: 1, failureDomain: 'osd', osd: [] },
    } as unknown as Config;
    mkdirSync(config.imagesDir, { recursive: true });
    const archive = dockerArchive({
      reference: 'test/busybox:1',
      architecture: goArchitecture(process.arch),
      entrypoint: ['/bin/busybox'],
      files: [{ name: 'bin/busybox', data: new Uint8Array(readFileSync(busybox!)), mode: 0o755 }],
    });
    const file = join(config.imagesDir, 'busybox.tar');
    writeFileSync(file, archive);
    Bun.spawnSync(['touch', '-d', '1 minute ago', file]);
    const argv = await prepareContainerd(config, nodePaths(config.dataDir, config.runDir));
    containerd = Bun.spawn(argv, { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' });
    kubelet = await begin();
  }, 60_000);

  afterAll(async () => {
    await kubelet?.stop();
    await stopAllPods(config, nodePaths(config.dataDir, config.runDir));
    containerd?.kill('SIGTERM');
    await containerd?.exited;
    rmSync(root, { recursive: true, force: true });
  }, 60_000);

  async function until<T>(what: () => Promise<T | undefined | false>): Promise<T> {
    for (let i = 0; i < 250; i++) {
      const value = await what();
      if (value) return value;
      await Bun.sleep(100);
    }
    throw new Error('it did not come to pass in 25 s');
  }

  const make = (name: string, spec: Partial<Pod['spec']>): Promise<Pod> =>
    client.create<Pod>(podsRef, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'default' },
      spec: { nodeName: 'n1', hostNetwork: true, terminationGracePeriodSeconds: 1, containers: [], ...spec },
    });
  const get = (name: string): Promise<Pod> => client.get<Pod>(podsRef, name, 'default');
  const running = (name: string): Promise<Pod> =>
    until(async () => {
      const pod = await get(name);
      return pod.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ? pod : undefined;
    });
  const shell = (script: string): { name: string; image: string; imagePullPolicy: 'Never'; args: string[] } => ({
    name: 'c',
    image: 'test/busybox:1',
    imagePullPolicy: 'Never',
    args: ['sh', '-c', script],
  });

  test('the node registers with the labels and taints of its configuration', async () => {
    const node = await until(() => client.get<Node & KubeObject>(nodesRef, 'n1').catch(() => undefined));
    expect(node.metadata.labels).toMatchObject({ disk: 'ssd', 'kubernetes.io/hostname': 'n1' });
    expect(node.spec?.taints).toEqual([{ key: 'dedicated', effect: 'NoSchedule' }]);
  });

  test('a pod runs, its log and files are right, and deletion leaves nothing', async () => {
    await client.create<KubeObject>({ group: '', version: 'v1', resource: 'configmaps' }, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'cm', namespace: 'default' },
      data: { greeting: 'hello' },
    } as KubeObject);
    await make('one', {
      containers: [
        {
          ...shell('busybox cat /cm/greeting; exec busybox sleep 1000'),
          volumeMounts: [{ name: 'cm', mountPath: '/cm' }],
          env: [{ name: 'PATH', value: '/bin' }],
        },
      ],
      volumes: [{ name: 'cm', configMap: { name: 'cm' } }],
    });
    const pod = await running('one');
    expect(pod.status).toMatchObject({ phase: 'Running', hostIP: '127.0.0.1', qosClass: 'BestEffort' });
    const id = pod.status!.containerStatuses![0]!.containerID!.replace('containerd://', '');
    const answer = await kubelet.cri.execSync(id, ['/bin/busybox', 'cat', '/cm/greeting'], 5);
    expect(new TextDecoder().decode(answer.stdout)).toBe('hello');
    await client.delete(podsRef, 'one', 'default');
    await until(async () => (await client.list(podsRef)).items.length === 0);
    await until(async () => (await kubelet.cri.listPodSandbox()).length === 0);
  }, 60_000);

  test('exit codes and messages, restarts with back-off', async () => {
    await make('fails', { restartPolicy: 'Never', containers: [shell('echo -n bye > /dev/termination-log; exit 3')] });
    const failed = await until(async () => {
      const pod = await get('fails');
      return pod.status?.phase === 'Failed' && pod;
    });
    expect(failed.status?.containerStatuses?.[0]?.state?.terminated).toMatchObject({
      exitCode: 3,
      reason: 'Error',
      message: 'bye',
    });
    await make('loops', { containers: [shell('exit 1')] });
    const looping = await until(async () => {
      const pod = await get('loops');
      return pod.status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CrashLoopBackOff' && pod;
    });
    expect(looping.status?.containerStatuses?.[0]).toMatchObject({
      restartCount: 1,
      lastState: { terminated: { exitCode: 1 } },
    });
    await client.delete(podsRef, 'fails', 'default');
    await client.delete(podsRef, 'loops', 'default');
    await until(async () => (await client.list(podsRef)).items.length === 0);
  }, 60_000);

  test('an image that is nowhere is waited for with a reason', async () => {
    await make('noimage', { containers: [{ name: 'c', image: 'nowhere/none:1', imagePullPolicy: 'Never' }] });
    const waiting = await until(
      async () => (await get('noimage')).status?.containerStatuses?.[0]?.state?.waiting?.reason === 'ErrImageNeverPull',
    );
    expect(waiting).toBe(true);
    await client.delete(podsRef, 'noimage', 'default');
    await until(async () => (await client.list(podsRef)).items.length === 0);
  }, 60_000);

  const mi = 1024 * 1024;
  const sized = (cpu: string, memory: string): object => ({ requests: { cpu, memory }, limits: { cpu, memory } });
  /** Bytes of memory and parts of a period that the kernel gives, of a container or of the whole pod. */
  const kernel = (pod: Pod, index?: number): [memory: number, quota: number] => {
    const id =
      index === undefined ? '' : pod.status!.containerStatuses![index]!.containerID!.replace('containerd://', '');
    const group = join(podCgroupPath(kubelet.host.cgroupRoot, pod), id);
    const read = (file: string): string => readFileSync(join('/sys/fs/cgroup', file), 'utf8').trim();
    return cgroupV2()
      ? [Number(read(`${group}/memory.max`)), Number(read(`${group}/cpu.max`).split(' ')[0])]
      : [Number(read(`memory/${group}/memory.limit_in_bytes`)), Number(read(`cpu/${group}/cpu.cfs_quota_us`))];
  };

  test('a container is resized while it runs, or restarted where its policy says so; what the node has not waits', async () => {
    const memoryPolicy = [{ resourceName: 'memory', restartPolicy: 'RestartContainer' as const }];
    const path = [{ name: 'PATH', value: '/bin' }];
    await make('sized', {
      containers: [
        { ...shell('exec busybox sleep 1000'), env: path, resources: sized('100m', '32Mi') },
        {
          ...shell('exec busybox sleep 1000'),
          name: 'd',
          env: path,
          resizePolicy: memoryPolicy,
          resources: sized('100m', '32Mi'),
        },
      ],
    });
    const begun = (await running('sized')).status!.containerStatuses!;
    const resize = async (index: number, cpu: string, memory: string): Promise<void> => {
      const pod = await get('sized');
      pod.spec.containers[index]!.resources = sized(cpu, memory);
      pod.metadata.generation = (pod.metadata.generation ?? 0) + 1;
      await client.update(podsRef, pod);
    };
    const settled = (index: number, cpu: string, memory: string): Promise<Pod> =>
      until(async () => {
        const pod = await get('sized');
        const status = pod.status?.containerStatuses?.[index];
        const waits = pod.status?.conditions?.some(({ type }) => type.startsWith('PodResize'));
        const has = sameJson([status?.resources, status?.allocatedResources], [sized(cpu, memory), { cpu, memory }]);
        return !waits && has && status?.ready ? pod : undefined;
      });
    await resize(0, '200m', '64Mi');
    const grown = await settled(0, '200m', '64Mi');
    expect(grown.status!.containerStatuses![0]).toMatchObject({ containerID: begun[0]!.containerID, restartCount: 0 });
    expect(grown.status!.observedGeneration).toBe(2);
    expect([kernel(grown, 0), kernel(grown)]).toEqual([
      [64 * mi, 20_000],
      [96 * mi, 30_000],
    ]);

    await resize(0, '50m', '16Mi');
    const shrunk = await settled(0, '50m', '16Mi');
    expect([kernel(shrunk, 0), kernel(shrunk)]).toEqual([
      [16 * mi, 5_000],
      [48 * mi, 15_000],
    ]);

    await resize(1, '100m', '48Mi');
    const restarted = await settled(1, '100m', '48Mi');
    expect(restarted.status!.containerStatuses![1]).toMatchObject({ restartCount: 1 });
    expect(restarted.status!.containerStatuses![1]!.containerID).not.toBe(begun[1]!.containerID);
    expect(kernel(restarted, 1)).toEqual([48 * mi, 10_000]);

    await resize(0, '5000', '16Mi');
    const held = await until(async () => {
      const pod = await get('sized');
      return pod.status?.conditions?.some(({ type }) => type === 'PodResizePending') && pod;
    });
    const pending = held.status!.conditions!.find(({ type }) => type === 'PodResizePending')!;
    expect(pending).toMatchObject({ status: 'True', reason: 'Infeasible', observedGeneration: 5 });
    expect(pending.message).toMatch(/^Node didn't have enough capacity: cpu, requested: 5000100, capacity: \d+$/);
    expect(held.status!.containerStatuses![0]).toMatchObject({ resources: sized('50m', '16Mi') });
    // Another agent keeps to what this one promised.
    await kubelet.stop();
    kubelet = await begin();
    await until(async () => kubelet.pods.listed);
    await Bun.sleep(500);
    expect((await get('sized')).status!.containerStatuses![0]).toMatchObject({
      resources: sized('50m', '16Mi'),
      allocatedResources: { cpu: '50m', memory: '16Mi' },
      restartCount: 0,
    });
    await resize(0, '60m', '16Mi');
    expect(kernel(await settled(0, '60m', '16Mi'), 0)).toEqual([16 * mi, 6_000]);
    const reasons = (await client.list<KubeObject & { reason?: string }>(eventsRef)).items.map(({ reason }) => reason);
    expect(reasons).toEqual(expect.arrayContaining(['ResizeStarted', 'ResizeCompleted', 'ResizeInfeasible']));
    await client.delete(podsRef, 'sized', 'default');
    await until(async () => (await client.list(podsRef)).items.length === 0);
  }, 120_000);

  test('a pod that asks for something as a whole has it, with its containers that have no limit, before and after a resize', async () => {
    const path = [{ name: 'PATH', value: '/bin' }];
    await make('whole', {
      resources: sized('200m', '64Mi'),
      containers: [
        { ...shell('exec busybox sleep 1000'), env: path, resources: sized('100m', '32Mi') },
        { ...shell('exec busybox sleep 1000'), name: 'd', env: path },
      ],
    });
    const begun = await running('whole');
    const all = (pod: Pod): number[][] => [kernel(pod), kernel(pod, 0), kernel(pod, 1)];
    expect(all(begun)).toEqual([
      [64 * mi, 20_000],
      [32 * mi, 10_000],
      [64 * mi, 20_000],
    ]);
    for (const [cpu, memory, size] of [
      ['400m', '128Mi', [128 * mi, 40_000]],
      ['150m', '48Mi', [48 * mi, 15_000]],
    ] as const) {
      const pod = await get('whole');
      pod.spec.resources = sized(cpu, memory);
      pod.metadata.generation = (pod.metadata.generation ?? 0) + 1;
      await client.update(podsRef, pod);
      const expected = [size, [32 * mi, 10_000], size];
      await until(async () => sameJson(all(begun), expected)).catch(() => undefined);
      expect(all(begun)).toEqual(expected);
      const told = await until(async () => {
        const { status } = await get('whole');
        return !status?.conditions?.some(({ type }) => type.startsWith('PodResize')) && status;
      });
      expect([told.resources, told.allocatedResources]).toEqual([sized(cpu, memory), { cpu, memory }]);
    }
    const after = await get('whole');
    expect(after.status!.containerStatuses!.map(({ restartCount }) => restartCount)).toEqual([0, 0]);
    await client.delete(podsRef, 'whole', 'default');
    await until(async () => (await client.list(podsRef)).items.length === 0);
  }, 120_000);

  test('what a pod held is for others as soon as it is taken down, however long that takes', async () => {
    const path = [{ name: 'PATH', value: '/bin' }];
    const [small, large] = [sized('100m', '32Mi'), sized('400m', '32Mi')];
    const offered = await until(async () => (await client.get<Node>(nodesRef, 'n1')).status?.allocatable?.cpu);
    const cores = Math.floor(quantityValue(offered as string) * 1000) - 200;
    await make('holds', {
      terminationGracePeriodSeconds: 60,
      containers: [
        {
          ...shell("trap '' TERM; while true; do busybox sleep 1; done"),
          env: path,
          resources: { requests: { cpu: `${cores}m` } },
        },
      ],
    });
    await running('holds');
    await make('grows', { containers: [{ ...shell('exec busybox sleep 1000'), env: path, resources: small }] });
    await running('grows');
    const pod = await get('grows');
    pod.spec.containers[0]!.resources = large;
    pod.metadata.generation = (pod.metadata.generation ?? 0) + 1;
    await client.update(podsRef, pod);
    const pending = await until(async () =>
      (await get('grows')).status?.conditions?.find(({ type }) => type === 'PodResizePending'),
    );
    expect(pending).toMatchObject({ status: 'True', reason: 'Deferred' });
    // The manager looks every few seconds, too: that it is told at once is seen here.
    const ending = vi.spyOn(kubelet.pods, 'ending');
    await client.delete(podsRef, 'holds', 'default');
    const grown = await until(async () => {
      const now = await get('grows');
      return sameJson(now.status?.containerStatuses?.[0]?.resources, large) && now;
    });
    expect(kernel(grown, 0)[1]).toBe(40_000);
    expect(ending).toHaveBeenCalled();
    ending.mockRestore();
    // The other still runs: it does not listen to the signal.
    expect((await get('holds')).status?.containerStatuses?.[0]?.state?.running).toBeDefined();
    await client.delete(podsRef, 'holds', 'default', { gracePeriodSeconds: 0 });
    await client.delete(podsRef, 'grows', 'default');
    await until(async () => (await client.list(podsRef)).items.length === 0);
  }, 120_000);

  test('containers outlive the agent, and run on while the API server is away', async () => {
    await make('stays', {
      containers: [shell('exec busybox sleep 1000')].map((c) => ({ ...c, env: [{ name: 'PATH', value: '/bin' }] })),
    });
    const before = (await running('stays')).status?.containerStatuses?.[0];
    await kubelet.stop();
    client.down = true;
    kubelet = await begin();
    await Bun.sleep(1_000);
    client.down = false;
    await until(async () => kubelet.pods.listed);
    await Bun.sleep(500);
    const after = (await get('stays')).status?.containerStatuses?.[0];
    expect(after).toMatchObject({ containerID: before?.containerID, restartCount: 0, ready: true });
    await client.delete(podsRef, 'stays', 'default');
    await until(async () => (await client.list(podsRef)).items.length === 0);
  }, 60_000);
});
