/**
 * `bun test/bench/pods.ts`: the time from a pod's creation to Running beside what containerd itself takes for the same (RunPodSandbox, CreateContainer, StartContainer by
 * CRI on the same containerd in the same run, in turn), and the memory (PSS) of agent and edge with no, 10 and 30 pods. Needs root.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CriClient } from '../../internal/kube/kubelet/cri/cri-client.ts';
import type { ContainerConfig, PodSandboxConfig } from '../../internal/kube/kubelet/cri/types.ts';
import { must, root, TestNode, until } from '../e2e/harness.ts';

const image = 'busybox:1.35';
const node = new TestNode();
const median = (values: number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** When the API server first told of each pod, and when it told that it runs; `performance.now`. */
const seen = new Map<string, number>();
const running = new Map<string, number>();

async function watchPods(): Promise<void> {
  const kubectl = join(root, '.cache/bin/kubectl-13');
  const watch = Bun.spawn(node.inside(kubectl, 'get', 'pods', '--watch', '--no-headers'), {
    stdout: 'pipe',
    stderr: 'ignore',
    env: { KUBECONFIG: node.kubeconfig, HOME: node.directory },
  });
  const decoder = new TextDecoder();
  let text = '';
  for await (const piece of watch.stdout) {
    const now = performance.now();
    text += decoder.decode(piece);
    const lines = text.split('\n');
    text = lines.pop()!;
    for (const line of lines) {
      const [name, , status] = line.split(/\s+/) as [string, string, string];
      if (!seen.has(name)) seen.set(name, now);
      if (status === 'Running' && !running.has(name)) running.set(name, now);
    }
  }
}

async function startPod(name: string): Promise<number> {
  await node.mustKubectl(['run', name, `--image=${image}`, '--restart=Never', '--', 'sleep', '3600']);
  await until(`${name} runs`, 60_000, async () => running.has(name));
  return running.get(name)! - seen.get(name)!;
}

const namespaces = { network: 'POD', pid: 'CONTAINER', ipc: 'POD' } as const;

/** What the agent asks of containerd for such a pod, without the agent. */
async function startBare(cri: CriClient, name: string): Promise<number> {
  const sandbox: PodSandboxConfig = {
    metadata: { name, namespace: 'bench', uid: name, attempt: 0 },
    hostname: name,
    logDirectory: join(node.directory, 'bare-logs', name),
    labels: {},
    annotations: {},
    linux: {
      cgroupParent: '',
      securityContext: { namespaceOptions: namespaces, privileged: false },
      sysctls: {},
    },
  };
  const container = {
    metadata: { name: 'main', attempt: 0 },
    image: { image: `docker.io/library/${image}` },
    command: [],
    args: ['sleep', '3600'],
    workingDir: '',
    envs: [],
    mounts: [],
    devices: [],
    labels: {},
    annotations: {},
    logPath: 'main.log',
    stdin: false,
    stdinOnce: false,
    tty: false,
    linux: {
      resources: {},
      securityContext: {
        capabilities: { addCapabilities: [], dropCapabilities: [] },
        privileged: false,
        namespaceOptions: namespaces,
        readonlyRootfs: false,
        supplementalGroups: [],
        noNewPrivs: false,
      },
    },
  } as unknown as ContainerConfig;
  const began = performance.now();
  const id = await cri.runPodSandbox(sandbox);
  await cri.startContainer(await cri.createContainer(id, container, sandbox));
  const took = performance.now() - began;
  await cri.stopPodSandbox(id);
  await cri.removePodSandbox(id);
  return took;
}

const pssMiB = (pid: number): number =>
  Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))![1]) / 1024;

async function memory(count: number): Promise<void> {
  await Bun.sleep(20_000);
  const { instances } = await node.status();
  const of = (name: string): number => pssMiB(instances.find((one) => one.name === name)!.pid!);
  console.log(
    `memory with ${count} pods, MiB PSS: agent ${of('agent').toFixed(0)}, edge ${of('edge').toFixed(0)}, together ${(of('agent') + of('edge')).toFixed(0)}`,
  );
}

try {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 180_000 });
  await node.makeNetwork();
  await node.up();
  await memory(0);
  const cri = new CriClient(join(node.runDir, 'containerd.sock'));
  void watchPods();
  const pods: number[] = [];
  const bare: number[] = [];
  await startBare(cri, 'warm');
  for (let i = 0; i < 10; i++) {
    pods.push(await startPod(`p${i}`));
    bare.push(await startBare(cri, `bare-${i}`));
  }
  cri.close();
  console.log(
    `pod created to Running, p50 of 10: ${median(pods).toFixed(0)} ms; containerd itself by CRI: ${median(bare).toFixed(0)} ms; more: ${(median(pods) - median(bare)).toFixed(0)} ms`,
  );
  await memory(10);
  for (let i = 10; i < 30; i++) await startPod(`p${i}`);
  await memory(30);
} finally {
  await node.remove();
}
process.exit(0);
