import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { LogFields, Logger } from '../base/log.ts';
import { silentLogger } from '../base/log.ts';
import { parseMountInfo } from '../base/mountinfo.ts';
import { findMemoryController, groupPlaces, parseOomCounts } from './cgroup.ts';
import { RoleCgroups } from './cgroup-system.ts';

const v1Mounts = [
  '24 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755',
  '25 24 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu',
  '26 24 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
  '27 24 0:25 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
].join('\n');
const v2Mounts = '25 1 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate';
const find = (mounts: string, self: string, controllers = '') =>
  findMemoryController(parseMountInfo(mounts), self, () => controllers);

describe('the memory controller', () => {
  test('v1 and hybrid: the mount with memory counts, also beside a unified one', () => {
    expect(find(v1Mounts, '4:memory:/user.slice\n3:cpu:/\n0::/user.slice/session-1.scope\n', 'pids')).toEqual({
      version: 1,
      mountPoint: '/sys/fs/cgroup/memory',
      own: '/user.slice',
    });
  });

  test('v1: controllers that share a mount', () => {
    const mounts = '26 24 0:24 / /sys/fs/cgroup/cpu,memory rw - cgroup cgroup rw,cpu,memory';
    expect(find(mounts, '4:cpu,memory:/\n')).toEqual({ version: 1, mountPoint: '/sys/fs/cgroup/cpu,memory', own: '' });
  });

  test('v2: the unified hierarchy, if memory is one of its controllers', () => {
    expect(find(v2Mounts, '0::/system.slice/appliance.service\n', 'cpuset cpu io memory pids\n')).toEqual({
      version: 2,
      mountPoint: '/sys/fs/cgroup',
      own: '/system.slice/appliance.service',
    });
    expect(find(v2Mounts, '0::/\n', 'cpuset cpu io pids\n')).toBeUndefined();
  });

  test('in a container: the group is below what is mounted, or outside of what is seen', () => {
    const mounts = '26 24 0:24 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory';
    expect(find(mounts, '4:memory:/docker/abc/init\n')?.own).toBe('/init');
    expect(find(mounts, '4:memory:/docker/abc\n')?.own).toBe('');
    expect(find(v2Mounts, '0::/../elsewhere\n', 'memory')?.own).toBe('');
  });

  test('none at all', () => {
    expect(find('', '')).toBeUndefined();
    expect(find(v1Mounts.replace('rw,memory', 'rw,pids'), '')).toBeUndefined();
  });

  test('survivors are never below a group that was delegated', () => {
    const controller = { version: 2, mountPoint: '/sys/fs/cgroup', own: '/system.slice/appliance.service' } as const;
    expect(groupPlaces(controller, 'abcd', true)).toEqual({
      roles: '/system.slice/appliance.service',
      survivors: '/appliance-abcd-node',
    });
    expect(groupPlaces(controller, 'abcd', false)).toEqual({
      roles: '/appliance-abcd-node',
      survivors: '/appliance-abcd-node',
    });
  });

  test.each([
    ['v1', 'oom_kill_disable 0\nunder_oom 0\noom_kill 3\n', '17\n', { kills: 3, limitHits: 17 }],
    ['v1 of an old kernel', 'oom_kill_disable 0\nunder_oom 0\n', '', { kills: 0, limitHits: 0 }],
    ['v2', 'low 0\nhigh 0\nmax 12\noom 4\noom_kill 2\noom_group_kill 1\n', undefined, { kills: 2, limitHits: 4 }],
    ['v2, the machine’s want', 'low 0\nmax 12\noom 0\noom_kill 1\n', undefined, { kills: 1, limitHits: 0 }],
  ])('counts of killed processes: %s', (_version, events, hits, counts) => {
    expect(parseOomCounts(events, hits ?? events)).toEqual(counts);
  });
});

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cgroup-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A machine of files: what is written can be read back, and nothing else happens. */
function fakeMachine(mounts: string, self: string, more: Record<string, string>, delegated = false) {
  const files = { '/proc/self/mountinfo': mounts, '/proc/self/cgroup': self, ...more };
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return { root, delegated: () => delegated };
}
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

function listeningLogger(): { log: Logger; warned: [string, LogFields | undefined][] } {
  const warned: [string, LogFields | undefined][] = [];
  return { log: { ...silentLogger, warn: (message, fields) => void warned.push([message, fields]) }, warned };
}

describe('groups of roles', () => {
  test('v2 under systemd: the supervisor leaves the unit for a leaf, then divides it; survivors are outside', () => {
    const unit = '/system.slice/appliance.service';
    const machine = fakeMachine(
      v2Mounts,
      `0::${unit}\n`,
      {
        '/sys/fs/cgroup/cgroup.controllers': 'cpu memory pids',
        '/sys/fs/cgroup/cgroup.subtree_control': 'cpu memory pids',
        '/sys/fs/cgroup/system.slice/cgroup.subtree_control': 'memory',
        [`/sys/fs/cgroup${unit}/cgroup.subtree_control`]: '',
      },
      true,
    );
    const groups = new RoleCgroups('abcd', silentLogger, machine);
    groups.setUp();
    expect(groups.problem).toBeUndefined();
    expect(read(`/sys/fs/cgroup${unit}/supervisor/cgroup.procs`)).toBe(String(process.pid));
    expect(read(`/sys/fs/cgroup${unit}/cgroup.subtree_control`)).toBe('+memory');
    // What has it already is left alone: it is systemd's.
    expect(read('/sys/fs/cgroup/cgroup.subtree_control')).toBe('cpu memory pids');
    expect(groups.ensure('mon', 256 << 20, false)).toBe(`${root}/sys/fs/cgroup${unit}/mon/cgroup.procs`);
    expect(read(`/sys/fs/cgroup${unit}/mon/memory.max`)).toBe(String(256 << 20));
    expect(groups.ensure('containerd', undefined, true)).toBe(
      `${root}/sys/fs/cgroup/appliance-abcd-node/containerd/cgroup.procs`,
    );
    expect(read('/sys/fs/cgroup/appliance-abcd-node/containerd/memory.max')).toBe('max');
    writeFileSync(join(root, `/sys/fs/cgroup${unit}/mon/memory.events`), 'oom 3\noom_kill 2\n');
    writeFileSync(join(root, `/sys/fs/cgroup${unit}/mon/memory.current`), '4096\n');
    expect(groups.oomCounts('mon', false)).toEqual({ kills: 2, limitHits: 3 });
    expect(groups.usage('mon', false)).toBe(4096);
    groups.setLimit('mon', 300 << 20, false);
    expect(read(`/sys/fs/cgroup${unit}/mon/memory.max`)).toBe(String(300 << 20));
  });

  test('v2 from a terminal: everything is beside the pods, and the session stays as it is', () => {
    const session = '/user.slice/user-0.slice/session-1.scope';
    const machine = fakeMachine(v2Mounts, `0::${session}\n`, {
      '/sys/fs/cgroup/cgroup.controllers': 'cpu memory pids',
      '/sys/fs/cgroup/cgroup.subtree_control': 'cpu',
      [`/sys/fs/cgroup${session}/cgroup.subtree_control`]: '',
    });
    const groups = new RoleCgroups('abcd', silentLogger, machine);
    groups.setUp();
    expect(groups.ensure('mon', 256 << 20, false)).toBe(`${root}/sys/fs/cgroup/appliance-abcd-node/mon/cgroup.procs`);
    expect(read('/sys/fs/cgroup/cgroup.subtree_control')).toBe('+memory');
    expect(read('/sys/fs/cgroup/appliance-abcd-node/cgroup.subtree_control')).toBe('+memory');
    expect(read(`/sys/fs/cgroup${session}/cgroup.subtree_control`)).toBe('');
  });

  test('v1: limits have other names', () => {
    const machine = fakeMachine(v1Mounts, '4:memory:/\n', { '/sys/fs/cgroup/memory/memory.limit_in_bytes': '' });
    const groups = new RoleCgroups('abcd', silentLogger, machine);
    groups.setUp();
    const place = '/sys/fs/cgroup/memory/appliance-abcd-node';
    expect(groups.ensure('osd.0', 512 << 20, false)).toBe(`${root}${place}/osd.0/cgroup.procs`);
    expect(read(`${place}/osd.0/memory.limit_in_bytes`)).toBe(String(512 << 20));
    writeFileSync(join(root, `${place}/osd.0/memory.oom_control`), 'under_oom 0\noom_kill 1\n');
    writeFileSync(join(root, `${place}/osd.0/memory.failcnt`), '5\n');
    expect(groups.oomCounts('osd.0', false)).toEqual({ kills: 1, limitHits: 5 });
    expect(groups.programGroups()).toEqual({ shims: '/appliance-abcd-node/shims' });
    expect(read(`${place}/shims/memory.limit_in_bytes`)).toBe('-1');
    groups.ensure('osd.0', undefined, false);
    expect(read(`${place}/osd.0/memory.limit_in_bytes`)).toBe('-1');
  });

  test('without the controller roles run without budgets, and it is told why', () => {
    const groups = new RoleCgroups('abcd', silentLogger, fakeMachine('', '', {}));
    groups.setUp();
    expect(groups.problem).toMatch(/no memory controller/);
    expect(groups.ensure('mon', 1, false)).toBeUndefined();
    expect(groups.programGroups()).toEqual({ shims: undefined });
    expect(groups.oomCounts('mon', false)).toEqual({ kills: 0, limitHits: 0 });
    expect(groups.usage('mon', false)).toBeUndefined();
    groups.setLimit('mon', 1, false);
    groups.remove('mon', false);
    groups.tearDown();
  });

  test('a hierarchy that cannot be written to: the same', () => {
    const machine = fakeMachine(v1Mounts, '4:memory:/\n', { '/sys/fs/cgroup/memory': 'a file in its place' });
    const groups = new RoleCgroups('abcd', silentLogger, machine);
    groups.setUp();
    expect(groups.problem).toMatch(/no cgroup can be made for roles/);
    expect(groups.ensure('mon', 1, false)).toBeUndefined();
  });

  test('what an earlier process left in its group is killed, survivors are not', async () => {
    const machine = fakeMachine(v1Mounts, '4:memory:/\n', {});
    const { log, warned } = listeningLogger();
    const groups = new RoleCgroups('abcd', log, machine);
    groups.setUp();
    const place = join(root, '/sys/fs/cgroup/memory/appliance-abcd-node');
    const [left, survivor] = [Bun.spawn(['sleep', '60']), Bun.spawn(['sleep', '60'])];
    try {
      for (const [name, child] of [
        ['agent', left],
        ['containerd', survivor],
      ] as const) {
        mkdirSync(join(place, name));
        writeFileSync(join(place, name, 'cgroup.procs'), `${child.pid}\n`);
      }
      groups.ensure('agent', 1 << 30, false);
      groups.ensure('containerd', undefined, true);
      await left.exited;
      expect(left.signalCode).toBe('SIGKILL');
      expect(survivor.exitCode).toBeNull();
      expect(warned.map(([message]) => message)).toEqual(['killing what an earlier process left behind']);
    } finally {
      left.kill('SIGKILL');
      survivor.kill('SIGKILL');
    }
  });
});
