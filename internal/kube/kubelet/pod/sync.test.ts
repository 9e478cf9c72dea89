import { describe, expect, test } from 'vitest';
import type { Pod } from '../pod-types.ts';
import { CrashBackoff, goDuration } from './backoff.ts';
import { containerHash } from './container-config.ts';
import type { PodRuntime, RuntimeContainer } from './runtime.ts';
import { podStatus, type StatusInput } from './status.ts';
import { computeActions, type SyncInput } from './sync.ts';

function pod(spec: Partial<Pod['spec']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'ns', uid: 'u1', generation: 1 },
    spec: { containers: [{ name: 'web', image: 'busybox' }], ...spec },
  };
}

function made(p: Pod, name: string, more: Partial<RuntimeContainer> = {}): RuntimeContainer {
  const spec = [...p.spec.containers, ...(p.spec.initContainers ?? [])].find((c) => c.name === name)!;
  return {
    id: `${name}-${more.attempt ?? 0}`,
    name,
    attempt: 0,
    sandboxId: 's0',
    state: 'running',
    createdAtMs: 1000,
    startedAtMs: 1000,
    finishedAtMs: 0,
    exitCode: 0,
    reason: '',
    message: '',
    image: 'busybox',
    imageId: 'sha256:1',
    hash: containerHash(spec),
    logPath: '',
    messageFile: '',
    messagePolicy: 'File',
    ...more,
  };
}

function runtime(containers: RuntimeContainer[], ready = true): PodRuntime {
  return {
    uid: 'u1',
    name: 'p',
    namespace: 'ns',
    sandboxes: [{ id: 's0', attempt: 0, ready, createdAtMs: 1, ips: ['10.42.0.5'] }],
    containers,
  };
}

const nothing: PodRuntime = { uid: 'u1', name: 'p', namespace: 'ns', sandboxes: [], containers: [] };

function input(p: Pod, r: PodRuntime, more: Partial<SyncInput> = {}): SyncInput {
  return {
    pod: p,
    runtime: r,
    probes: { liveness: new Map(), startup: new Map() },
    hooksRunning: new Set(),
    condemned: new Map(),
    resized: new Set(),
    ...more,
  };
}

const starts = (i: SyncInput): string[] => computeActions(i).start.map((s) => `${s.container.name}#${s.attempt}`);

describe('pod sync: sandbox', () => {
  test('a new pod gets a sandbox and its containers', () => {
    const actions = computeActions(input(pod(), nothing));
    expect(actions.createSandbox).toEqual({ attempt: 0 });
    expect(actions.killPod).toBe(false);
    expect(actions.start.map((s) => s.container.name)).toEqual(['web']);
  });

  test('where the runtime forgot the containers, restarts are counted on from the status', () => {
    const p = pod();
    const status = {
      name: 'web',
      image: 'busybox',
      imageID: '',
      ready: true,
      restartCount: 4,
      containerID: 'containerd://x',
    };
    p.status = { containerStatuses: [status] };
    expect(starts(input(p, nothing))).toEqual(['web#5']);
  });

  test('a dead sandbox is replaced and the containers start again with the next attempt', () => {
    const p = pod();
    const actions = computeActions(input(p, runtime([made(p, 'web', { state: 'exited', exitCode: 137 })], false)));
    expect(actions.createSandbox).toEqual({ attempt: 1 });
    expect(actions.killPod).toBe(true);
    expect(actions.start[0]?.attempt).toBe(1);
  });

  test('restartPolicy Never: no second sandbox once a main container existed', () => {
    const p = pod({ restartPolicy: 'Never' });
    const actions = computeActions(input(p, runtime([made(p, 'web', { state: 'exited' })], false)));
    expect(actions).toEqual({ killPod: true, kill: [], start: [] });
  });

  test('restartPolicy OnFailure: a pod whose containers all succeeded is not made again', () => {
    const p = pod({ restartPolicy: 'OnFailure' });
    expect(
      computeActions(input(p, runtime([made(p, 'web', { state: 'exited' })], false))).createSandbox,
    ).toBeUndefined();
  });

  test('a sandbox without an address is not usable', () => {
    const r = runtime([]);
    const actions = computeActions(input(pod(), { ...r, sandboxes: [{ ...r.sandboxes[0]!, ips: [] }] }));
    expect(actions.createSandbox).toEqual({ attempt: 1 });
  });
});

describe('pod sync: main containers', () => {
  const p = pod();
  test('a running container is left alone', () => {
    expect(computeActions(input(p, runtime([made(p, 'web')])))).toEqual({ killPod: false, kill: [], start: [] });
  });

  test.each([
    ['Always', 0, ['web#1']],
    ['Always', 1, ['web#1']],
    ['OnFailure', 1, ['web#1']],
    ['OnFailure', 0, []],
    ['Never', 1, []],
  ] as const)('restartPolicy %s, exit code %d', (policy, exitCode, expected) => {
    const q = pod({ restartPolicy: policy });
    expect(starts(input(q, runtime([made(q, 'web', { state: 'exited', exitCode })])))).toEqual([...expected]);
  });

  test('a failed liveness probe kills and restarts', () => {
    const probes = { liveness: new Map([['web-0', false]]), startup: new Map() };
    const actions = computeActions(input(p, runtime([made(p, 'web')]), { probes }));
    expect(actions.kill[0]?.reason).toBe('liveness');
    expect(actions.start.map((s) => s.attempt)).toEqual([1]);
  });

  test('a changed image restarts even with restartPolicy Never', () => {
    const q = pod({ restartPolicy: 'Never' });
    const actions = computeActions(input(q, runtime([made(q, 'web', { hash: 'other' })])));
    expect(actions.kill[0]?.reason).toBe('changed');
    expect(actions.start).toHaveLength(1);
  });

  test('a container that was promised another size is restarted where its policy says so, with restartPolicy OnFailure as well', () => {
    const p = pod({ restartPolicy: 'OnFailure' });
    const actions = computeActions(input(p, runtime([made(p, 'web')]), { resized: new Set(['web-0']) }));
    expect(actions.kill).toMatchObject([{ reason: 'resize', message: 'Container web resize requires restart' }]);
    expect(actions.start).toMatchObject([{ kind: 'main', attempt: 1 }]);
  });

  test('a container on a dead mount is restarted', () => {
    const condemned = new Map([['web-0', 'volume data is gone']]);
    const actions = computeActions(input(p, runtime([made(p, 'web')]), { condemned }));
    expect(actions.kill[0]?.message).toBe('volume data is gone');
    expect(actions.start).toHaveLength(1);
  });
});

describe('pod sync: init containers', () => {
  const p = pod({
    initContainers: [
      { name: 'i1', image: 'a' },
      { name: 'i2', image: 'a' },
    ],
  });
  const done = { state: 'exited', exitCode: 0 } as const;

  test('one after the other, then the main containers', () => {
    expect(starts(input(p, runtime([])))).toEqual(['i1#0']);
    expect(starts(input(p, runtime([made(p, 'i1')])))).toEqual([]);
    expect(starts(input(p, runtime([made(p, 'i1', done)])))).toEqual(['i2#0']);
    expect(starts(input(p, runtime([made(p, 'i2', done), made(p, 'i1', done)])))).toEqual(['web#0']);
  });

  test('a failed one is retried, or fails the pod with restartPolicy Never', () => {
    const failed = made(p, 'i1', { state: 'exited', exitCode: 1 });
    expect(starts(input(p, runtime([failed])))).toEqual(['i1#1']);
    const never = { ...p, spec: { ...p.spec, restartPolicy: 'Never' as const } };
    expect(computeActions(input(never, runtime([failed]))).killPod).toBe(true);
  });

  test('they do not run again while main containers of the same sandbox restart', () => {
    const r = runtime([made(p, 'web', { state: 'exited', exitCode: 1 })]);
    expect(starts(input(p, r))).toEqual(['web#1']);
  });

  test('a sidecar must have started before the next one, and restarts by itself later', () => {
    const q = pod({
      initContainers: [
        { name: 'side', image: 'a', restartPolicy: 'Always', startupProbe: { tcpSocket: { port: 1 } } },
        { name: 'i2', image: 'a' },
      ],
      restartPolicy: 'Never',
    });
    const side = made(q, 'side');
    const probes = (ok: boolean | null): SyncInput['probes'] => ({
      liveness: new Map(),
      startup: new Map([['side-0', ok]]),
    });
    expect(starts(input(q, runtime([side]), { probes: probes(null) }))).toEqual([]);
    expect(starts(input(q, runtime([side]), { probes: probes(true) }))).toEqual(['i2#0']);
    const fallen = runtime([made(q, 'web'), made(q, 'side', { state: 'exited', exitCode: 1 })]);
    expect(starts(input(q, fallen))).toEqual(['side#1']);
  });

  test('sidecars end when the main containers are done', () => {
    const q = pod({ initContainers: [{ name: 'side', image: 'a', restartPolicy: 'Always' }], restartPolicy: 'Never' });
    const r = runtime([made(q, 'web', { state: 'exited', exitCode: 0 }), made(q, 'side')]);
    expect(computeActions(input(q, r)).killPod).toBe(true);
  });
});

describe('crash-loop back-off', () => {
  test('immediate, 10 s, 20 s … 5 min, and from the start after a good run', () => {
    const backoff = new CrashBackoff();
    let now = 1_000_000;
    const delays: number[] = [];
    for (let i = 0; i < 8; i++) {
      delays.push(backoff.remaining('web', now, now));
      now += backoff.remaining('web', now, now);
      backoff.next('web', now);
    }
    expect(delays).toEqual([0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
    expect(backoff.remaining('web', now + 700_000, now + 700_000)).toBe(0);
    expect(goDuration(80_000)).toBe('1m20s');
  });
});

describe('pod status', () => {
  const status = (p: Pod, r: PodRuntime, more: Partial<StatusInput> = {}) =>
    podStatus({
      pod: p,
      runtime: r,
      waiting: new Map(),
      readiness: new Map(),
      startup: new Map(),
      hooksRunning: new Set(),
      resize: { actual: new Map() },
      hostIP: '192.168.1.2',
      nowMs: 5000,
      startTimeMs: 1000,
      terminating: false,
      ...more,
    });
  const conditionOf = (s: ReturnType<typeof status>, type: string) => s.conditions?.find((c) => c.type === type);

  test('a resize is shown while it waits or is under way, with what the container still has; never as False', () => {
    const size = (cpu: string): object => ({ requests: { cpu } });
    const sized = pod({ containers: [{ name: 'web', image: 'busybox', resources: size('2') }] });
    const live = runtime([made(sized, 'web')]);
    const had = status(sized, live, {
      resize: {
        actual: new Map([['web-0', size('1')]]),
        pending: { reason: 'Deferred', message: 'no room' },
        underWay: 'it failed',
      },
    });
    expect(had.containerStatuses?.[0]).toMatchObject({ allocatedResources: { cpu: '2' }, resources: size('1') });
    expect(conditionOf(had, 'PodResizePending')).toMatchObject({
      status: 'True',
      reason: 'Deferred',
      message: 'no room',
    });
    expect(conditionOf(had, 'PodResizeInProgress')).toMatchObject({
      status: 'True',
      reason: 'Error',
      message: 'it failed',
      observedGeneration: 1,
    });
    const done = status({ ...sized, status: had }, live);
    expect(done.containerStatuses?.[0]?.resources).toEqual(size('2'));
    expect(done.conditions?.filter((one) => one.type.startsWith('PodResize'))).toEqual([]);
  });

  test('a pod that was just taken is Pending with ContainerCreating', () => {
    const s = status(pod(), nothing);
    expect(s.phase).toBe('Pending');
    expect(s.containerStatuses?.[0]?.state).toEqual({ waiting: { reason: 'ContainerCreating' } });
    expect(conditionOf(s, 'Ready')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotReady',
      message: 'containers with unready status: [web]',
    });
    expect(s.observedGeneration).toBe(1);
  });

  test('running and ready', () => {
    const p = pod();
    const s = status(p, runtime([made(p, 'web')]));
    expect(s.phase).toBe('Running');
    expect(s.podIP).toBe('10.42.0.5');
    expect(conditionOf(s, 'Ready')?.status).toBe('True');
    expect(conditionOf(s, 'PodReadyToStartContainers')?.status).toBe('True');
  });

  test('a readiness probe that has not spoken keeps the pod unready', () => {
    const p = pod({ containers: [{ name: 'web', image: 'busybox', readinessProbe: { tcpSocket: { port: 1 } } }] });
    expect(conditionOf(status(p, runtime([made(p, 'web')])), 'Ready')?.status).toBe('False');
    const r = status(p, runtime([made(p, 'web')]), { readiness: new Map([['web-0', true]]) });
    expect(conditionOf(r, 'Ready')?.status).toBe('True');
  });

  test('a crash loop shows waiting with the last termination beside it', () => {
    const p = pod();
    const waiting = new Map([['web', { reason: 'CrashLoopBackOff', message: 'back-off 10s' }]]);
    const s = status(p, runtime([made(p, 'web', { state: 'exited', exitCode: 3, finishedAtMs: 4000, attempt: 2 })]), {
      waiting,
    });
    expect(s.phase).toBe('Running');
    expect(s.containerStatuses?.[0]?.state?.waiting?.reason).toBe('CrashLoopBackOff');
    expect(s.containerStatuses?.[0]?.lastState?.terminated).toMatchObject({ exitCode: 3, reason: 'Error' });
    expect(s.containerStatuses?.[0]?.restartCount).toBe(2);
  });

  test.each([
    ['Never', 0, 'Succeeded'],
    ['Never', 1, 'Failed'],
    ['OnFailure', 0, 'Succeeded'],
    ['OnFailure', 1, 'Running'],
    ['Always', 0, 'Running'],
  ] as const)('restartPolicy %s, exit code %d: %s', (policy, exitCode, phase) => {
    const p = pod({ restartPolicy: policy });
    expect(status(p, runtime([made(p, 'web', { state: 'exited', exitCode, finishedAtMs: 2000 })])).phase).toBe(phase);
  });

  test('a failing init container: Initialized is False and names what is left', () => {
    const p = pod({ initContainers: [{ name: 'init1' }, { name: 'init2' }] });
    const s = status(p, runtime([made(p, 'init1', { state: 'exited', exitCode: 1 })]));
    expect(s.phase).toBe('Pending');
    expect(conditionOf(s, 'Initialized')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotInitialized',
      message: 'containers with incomplete status: [init1 init2]',
    });
    expect(s.containerStatuses?.[0]?.state?.waiting?.reason).toBe('PodInitializing');
  });

  test('foreign conditions and transition times are kept', () => {
    const p = pod();
    p.status = {
      conditions: [
        { type: 'DisruptionTarget', status: 'True' },
        { type: 'PodScheduled', status: 'True', lastTransitionTime: '2020-01-01T00:00:00Z' },
      ],
    };
    const s = status(p, nothing);
    expect(conditionOf(s, 'DisruptionTarget')?.status).toBe('True');
    expect(conditionOf(s, 'PodScheduled')?.lastTransitionTime).toBe('2020-01-01T00:00:00Z');
  });

  test('a pod that failed stays failed', () => {
    const p = pod();
    p.status = { phase: 'Failed', reason: 'DeadlineExceeded' };
    const s = status(p, runtime([made(p, 'web')]));
    expect(s.phase).toBe('Failed');
    expect(s.reason).toBe('DeadlineExceeded');
  });
});
