import { describe, expect, test } from 'vitest';
import { type Facts, report, statusText } from './status-report.ts';

const instance = (name: string, more: object = {}) => ({
  name,
  phase: 'running' as const,
  sinceMs: 0,
  restarts: 0,
  lastExit: undefined,
  exits: [],
  user: 'root',
  memoryBytes: 20 << 20,
  limitBytes: 100 << 20,
  healthy: true,
  detail: 'running',
  pid: 1,
  rssBytes: 10 << 20,
  ...more,
});
const facts: Facts = {
  configured: { name: 'n1', roles: ['mon'] },
  supervisor: {
    protocol: 1,
    version: '1',
    logLevel: 'info',
    node: 'n1',
    pid: 1,
    upSeconds: 300,
    stopping: false,
    instances: [instance('mon'), instance('osd.0')],
  },
  kubernetes: {
    nodes: [{ name: 'n1', ready: true, reason: '' }],
    pods: [{ name: 'a/b', phase: 'Running', ready: true }],
  },
  storage: {
    health: 'HEALTH_OK',
    checks: [],
    osds: { total: 3, up: 3, in: 3 },
    pgs: { total: 32, clean: 32 },
    usedBytes: 5 << 20,
    totalBytes: 60 * 2 ** 30,
  },
};

describe('status', () => {
  test('all is well', () => {
    const { ok, sentences } = report(facts);
    expect(ok).toBe(true);
    expect(sentences).toEqual([
      'n1 has been up for 5 min; all of its 2 processes run (20 MiB resident, shared pages counted in each).',
      'Node n1 is Ready.',
      '1 pod, all ready.',
      'Storage is healthy: 3 of 3 OSDs up, 32 of 32 placement groups clean, 5.0 MiB of 60 GiB used.',
    ]);
  });

  test('how an external cluster is does not make the node less ready, but it is told', () => {
    const configured = { name: 'n1', roles: ['server'], externalStorage: true };
    const checks = [{ code: 'OSD_NEARFULL', summary: '1 nearfull osd(s)' }];
    const warned = {
      ...facts,
      configured,
      storage: { ...facts.storage, health: 'HEALTH_WARN', checks } as Facts['storage'],
    };
    for (const storage of [warned.storage, { error: 'no answer within 3 s' }]) {
      expect(report({ ...warned, storage })).toMatchObject({ ready: true, ok: false });
      expect(report({ ...warned, configured: facts.configured, storage })).toMatchObject({ ready: false, ok: false });
    }
    expect(report(warned).problems).toContain('Storage: 1 nearfull osd(s) (OSD_NEARFULL).');
  });

  test.each([
    [['server'], true],
    [['server', 'agent'], false],
  ])('no node has registered yet: roles %j wait for one: well is %j', (roles, well) => {
    const { ok, sentences } = report({
      ...facts,
      configured: { name: 'n1', roles },
      kubernetes: { nodes: [], pods: [] },
    });
    expect(ok).toBe(well);
    expect(sentences).toContain('No node has registered with Kubernetes yet.');
  });

  const server = (name: string, more: object = {}) => ({
    ...{ name, role: 'voter' as const, state: 'runs' as const, behind: 0, hasLeader: true },
    ...more,
  });
  const three = [server('n1', { role: 'leader' }), server('n2'), server('n3')];

  test('one server says nothing of servers, three say who leads', () => {
    expect(report({ ...facts, servers: [server('n1', { role: 'leader' })] })).toMatchObject({
      ok: true,
      sentences: report(facts).sentences,
    });
    const { ok, sentences } = report({ ...facts, servers: three });
    expect(ok).toBe(true);
    expect(sentences).toContain('The store is kept by 3 servers, n1 leads.');
  });

  test('a second server has no vote; one that was added and does not come, is not reached or lags is a problem', () => {
    const two = report({ ...facts, servers: [server('n1', { role: 'leader' }), server('n2', { role: 'learner' })] });
    expect(two.ok).toBe(true);
    expect(two.sentences).toContain(
      'The store is kept by 2 servers, n1 leads; n2 has no vote: the number of those that have one stays odd.',
    );
    const { problems } = report({
      ...facts,
      servers: [
        three[0]!,
        server('n2', { state: 'unreachable', error: 'no answer within 4 s', hasLeader: false }),
        server('n3', { behind: 20_000 }),
        server('n4', { role: 'learner', state: 'not started', hasLeader: false }),
      ],
    });
    expect(problems).toEqual([
      'Server n2 is not reached: no answer within 4 s.',
      'Server n3 lacks 20000 entries of the store.',
      'Server n4 was added to the store and has not come yet; when it does not within 60 min it is let go.',
    ]);
  });

  test('a lost majority is told as such', () => {
    const gone = { state: 'unreachable', error: 'nothing listens', hasLeader: false };
    const servers = [server('n1', { hasLeader: false }), server('n2', gone), server('n3', { ...gone, role: 'leader' })];
    expect(report({ ...facts, servers }).problems[0]).toBe(
      'The store has no leader and takes no writes: 1 of 3 servers that may vote runs, 2 must. Start the others; when they are lost for good, `appliance down`, `appliance store cluster-reset` and `appliance up` make one that is left the only one.',
    );
    const two = [server('n1', { hasLeader: false }), server('n2', { hasLeader: false }), server('n3', gone)];
    expect(report({ ...facts, servers: two }).problems[0]).toMatch(
      /^The store has no leader: 2 of 3 servers that may vote run, and elect one/,
    );
  });

  test('a role that was started again: how often, why, and when the last one ended', () => {
    const exits = [
      { at: '2024-05-01T03:04:05.678Z', reason: 'exit 1' },
      { at: '2024-05-02T03:04:05.678Z', reason: 'killed by SIGKILL' },
    ];
    const mon = instance('mon', { restarts: 2, lastExit: 'killed by SIGKILL', exits });
    const { ok, sentences } = report({ ...facts, supervisor: { ...facts.supervisor!, instances: [mon] } });
    expect(ok).toBe(true);
    expect(sentences).toContain(
      'mon was started again 2 times; the last one ended with: killed by SIGKILL (2024-05-02 03:04:05 UTC).',
    );
  });

  test('nothing runs', () => {
    expect(report({ ...facts, supervisor: undefined })).toMatchObject({ ok: false, sentences: ['n1 is not running.'] });
  });

  test('a node that is stopping says so first, and what it is doing', () => {
    const supervisor = { ...facts.supervisor!, stopping: true, step: 'stopping pods and unmounting volumes' };
    const stopping = report({ ...facts, supervisor });
    expect(stopping).toMatchObject({ ok: false, ready: false });
    expect(stopping.sentences[0]).toBe('The node is stopping: stopping pods and unmounting volumes.');
    expect(stopping.sentences.filter((one) => one.includes('is stopping'))).toHaveLength(1);
    expect(report({ ...facts, supervisor: { ...supervisor, step: undefined } }).sentences[0]).toBe(
      'The node is stopping: stopping mon, osd.0.',
    );
  });

  test('other nodes that are away do not keep this one from being ready, and are told', () => {
    const away = report({
      ...facts,
      kubernetes: {
        nodes: [
          { name: 'n1', ready: true, reason: '' },
          { name: 'n2', ready: false, reason: 'Kubelet stopped posting node status.' },
        ],
        pods: [],
      },
      servers: [three[0]!, server('n2', { state: 'unreachable', error: 'no answer within 4 s', hasLeader: false })],
      storage: {
        ...(facts.storage as Exclude<Facts['storage'], { error: string } | undefined>),
        health: 'HEALTH_WARN',
        checks: [{ code: 'OSD_DOWN', summary: '1 osds down' }],
        osds: { total: 3, up: 2, in: 3 },
      },
    });
    expect(away).toMatchObject({ ok: false, ready: true });
    expect(away.problems).toEqual([
      'Node n2 is not Ready: Kubelet stopped posting node status.',
      'Server n2 is not reached: no answer within 4 s.',
      'Storage: 1 osds down (OSD_DOWN).',
    ]);
  });

  test('this node, its server and storage that all keep well are waited for', () => {
    const notReady = { nodes: [{ name: 'n1', ready: false, reason: 'no network' }], pods: [] };
    expect(report({ ...facts, kubernetes: notReady }).ready).toBe(false);
    expect(report({ ...facts, servers: [server('n1', { behind: 20_000 })] }).ready).toBe(false);
    const storage = { ...(facts.storage as object), pgs: { total: 32, clean: 31 } } as Facts['storage'];
    expect(report({ ...facts, storage }).ready).toBe(false);
    const osds = { total: 3, up: 0, in: 3 };
    const starting = {
      ...(facts.storage as object),
      health: 'HEALTH_WARN',
      checks: [{ code: 'OSD_DOWN', summary: '3 osds down' }],
      osds,
    } as Facts['storage'];
    expect(report({ ...facts, storage: starting }).ready).toBe(false);
  });

  test('sentences are broken between words where the terminal ends', () => {
    const lines = statusText(report({ ...facts, supervisor: undefined }), 8).split('\n');
    expect(lines).toEqual(['n1 is', '  not', '  running.']);
  });

  test('each trouble is named with its cause', () => {
    const { ok, problems } = report({
      ...facts,
      supervisor: {
        ...facts.supervisor!,
        instances: [instance('mon', { phase: 'back-off', healthy: false, detail: 'exit 1; starts again in 2.0 s' })],
      },
      kubernetes: { error: 'connection refused' },
      storage: {
        health: 'HEALTH_WARN',
        checks: [{ code: 'OSD_DOWN', summary: '1 osds down' }],
        osds: { total: 3, up: 2, in: 3 },
        pgs: { total: 8, clean: 0 },
        usedBytes: 0,
        totalBytes: 1,
      },
    });
    expect(ok).toBe(false);
    expect(problems).toEqual([
      'mon has ended: exit 1; starts again in 2.0 s.',
      'Kubernetes does not answer: connection refused.',
      'Storage: 1 osds down (OSD_DOWN).',
    ]);
  });

  test('the same reason again and again is told once; what is one is not told as many', () => {
    const exits = ['03:04:05', '03:04:06', '03:04:08', '03:04:12', '03:04:20'].map((time) => ({
      at: `2026-01-02T${time}.678Z`,
      reason: 'the port 3300 is in use',
    }));
    const looping = { phase: 'crash-loop', healthy: false, restarts: 5, detail: 'ended 5 times in a row', exits };
    const { sentences } = report({
      ...facts,
      supervisor: { ...facts.supervisor!, instances: [instance('mon', looping), instance('osd.0')] },
      storage: { ...(facts.storage as object), pgs: { total: 32, clean: 31 } } as Facts['storage'],
    });
    expect(sentences[0]).toMatch(/^n1 has been up for 5 min; 1 of its 2 processes run well, mon does not \(/);
    expect(sentences).toContain(
      'mon was started again 5 times; the last ones ended with: the port 3300 is in use (5 times from 03:04:05 to 03:04:20).',
    );
    expect(sentences).toContain('1 of 32 placement groups is not clean yet.');
  });

  test('a crash loop is told with its last reasons; what waits for a restart and missing budgets are told', () => {
    const exits = [
      { at: '2026-01-02T03:04:05.678Z', reason: 'exit 1' },
      { at: '2026-01-02T03:04:15.678Z', reason: 'out of memory: limit 512 MiB' },
    ];
    const looping = { phase: 'crash-loop', healthy: false, restarts: 6, detail: 'ended 6 times in a row', exits };
    const { sentences } = report({
      ...facts,
      supervisor: {
        ...facts.supervisor!,
        instances: [instance('osd.0', looping)],
        budgetProblem: 'the kernel has no memory controller',
        reload: { at: '2026-01-02T03:04:05.678Z', applied: [], restart: ['ports.api (server)'] },
      },
    });
    expect(sentences).toContain(
      'osd.0 was started again 6 times; the last ones ended with: exit 1 (03:04:05); out of memory: limit 512 MiB (03:04:15).',
    );
    expect(sentences).toContain('Roles run without memory budgets: the kernel has no memory controller.');
    expect(sentences).toContain('Changed in the configuration, to hold after a restart: ports.api (server).');
  });
});
