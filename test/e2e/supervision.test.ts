import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NotifyReceiver } from '../../internal/node/notify.testing.ts';
import type { NodeInstance, NodeStatus, ReloadStatus } from '../../internal/node/status.ts';
import { must, root, run, TestNode, until } from './harness.ts';

/** How a node's processes are kept: as a service of systemd would have it, with a socket of ours in the service manager's place. */

const minute = 60_000;
const node = new TestNode();
const socket = join(node.directory, 'notify');
const receiver = new NotifyReceiver(socket);
const heard: string[] = [];
let service: Bun.Subprocess;
let recordsBefore = 0;
let listening: ReturnType<typeof setInterval>;

function configure(more: { osds?: number; lines?: string[] } = {}): void {
  const osds = Array.from(
    { length: more.osds ?? 1 },
    (_, id) => `    - {id: ${id}, file: ${node.data}/osd/${id}.img, size: 1Gi}`,
  );
  writeFileSync(
    node.configFile,
    [
      'node: {name: node-1}',
      `dataDir: ${node.data}`,
      `runDir: ${node.runDir}`,
      `imagesDir: ${root}/dist/images`,
      'storage:',
      '  replication: 1',
      '  osd:',
      ...osds,
      ...(more.lines ?? []),
      '',
    ].join('\n'),
  );
}

/** Starts `appliance run` as systemd does. */
function startService(): void {
  service = Bun.spawn(node.inside(node.binary, '-c', node.configFile, 'run'), {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: Bun.file(join(node.directory, 'service.log')),
    env: { ...(process.env as Record<string, string>), NOTIFY_SOCKET: socket, WATCHDOG_USEC: '2000000' },
  });
}
const serviceLog = (): string => readFileSync(join(node.directory, 'service.log'), 'utf8');

/** Waits for a message to the service manager that came after the `from`th: READY is told three minutes after a start at the latest. */
async function told(what: RegExp, from = 0, timeoutMs = 200_000): Promise<string> {
  return until(`a message ${what}`, timeoutMs, async () => {
    return heard.slice(from).find((message) => what.test(message));
  });
}

const status = async (): Promise<NodeStatus> => (await node.status()) as unknown as NodeStatus;
const instance = async (name: string): Promise<NodeInstance> =>
  (await status()).instances.find((one) => one.name === name)!;
const running = (name: string, than?: number): Promise<NodeInstance> =>
  until(`${name} runs`, 2 * minute, async () => {
    const one = await instance(name);
    return one?.phase === 'running' && one.healthy && one.pid !== than && one;
  });
const reload = (): Promise<ReloadStatus> =>
  must(['curl', '-s', '--unix-socket', join(node.runDir, 'control.sock'), '-X', 'POST', 'http://a/reload']).then(
    (text) => JSON.parse(text) as ReloadStatus,
  );
/** What the supervisor may have of anonymous memory, as docs/benchmarks.md states it. */
const supervisorBytesMax = 12_000_000;
const supervisorBytes = (): number => {
  const kib = Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${service.pid}/status`, 'utf8'))![1]);
  console.log(`supervisor: ${((kib * 1024) / 1e6).toFixed(1)} MB anonymous memory`);
  return kib * 1024;
};
const memoryGroup = (pid: number): string =>
  /^\d+:[^:]*\bmemory\b[^:]*:(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))?.[1] ??
  /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, 'utf8'))![1]!;
const [memoryMount, limitFile] = statSync('/sys/fs/cgroup/memory', { throwIfNoEntry: false })
  ? ['/sys/fs/cgroup/memory', 'memory.limit_in_bytes']
  : ['/sys/fs/cgroup', 'memory.max'];

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await node.makeNetwork();
  configure();
  // The kernel keeps few messages for who does not read.
  listening = setInterval(() => heard.push(...receiver.messages()), 100);
  startService();
}, 5 * minute);
afterAll(async () => {
  clearInterval(listening);
  receiver.close();
  await node.remove();
}, 3 * minute);

describe('a node as a service', () => {
  test('READY when every role runs, with a sentence; the watchdog hears of it', { timeout: 4 * minute }, async () => {
    const ready = await told(/^READY=1$/m);
    expect(ready).toBe(`READY=1\nMAINPID=${service.pid}\nSTATUS=All of 7 processes run.`);
    expect(heard[0]).toMatch(/^STATUS=Reading the configuration/);
    expect(heard.some((message) => /STATUS=\d of 7 processes run; /.test(message))).toBe(true);
    await told(/^WATCHDOG=1$/);
  });

  test('the supervisor is small', { timeout: minute }, () => {
    expect(supervisorBytes()).toBeLessThanOrEqual(supervisorBytesMax);
  });

  test('roles run as users of their own, without privileges, in cgroups with their budgets', {
    timeout: minute,
  }, async () => {
    const { instances, budgetProblem } = await status();
    expect(budgetProblem).toBeUndefined();
    const roots = ['agent', 'containerd', 'osd.0'];
    for (const { name, pid, user, limitBytes } of instances) {
      const process = readFileSync(`/proc/${pid}/status`, 'utf8');
      const field = (key: string): string => new RegExp(`^${key}:\\s*(\\S+)`, 'm').exec(process)![1]!;
      if (roots.includes(name)) expect([name, user, field('Uid')]).toEqual([name, 'root', '0']);
      else {
        const uid = (await must(['id', '-u', `appliance-${name}`])).trim();
        expect([name, user, field('Uid'), field('NoNewPrivs')]).toEqual([name, `appliance-${name}`, uid, '1']);
        for (const set of ['CapEff', 'CapPrm', 'CapBnd'])
          expect(Number.parseInt(field(set), 16), `${name} ${set}`).toBe(0);
      }
      const group = memoryGroup(pid!);
      expect(group.endsWith(`-node/${name}`), group).toBe(true);
      const limit = readFileSync(`${memoryMount}${group}/${limitFile}`, 'utf8').trim();
      if (limitBytes !== undefined) expect(Number(limit), name).toBe(limitBytes);
    }
  });

  test('a second start says which one runs, and changes nothing', { timeout: minute }, async () => {
    const changed = (): number[] =>
      ['data', 'data/pki', 'data/identity', 'run'].map((name) => statSync(join(node.directory, name)).mtimeMs);
    const before = changed();
    const same = await node.appliance('up');
    expect(same.code).toBe(1);
    expect(same.stderr).toContain(`an appliance already runs here (${node.runDir}/control.sock answers)`);
    const other = join(node.directory, 'other-run');
    const elsewhere = await node.appliance('--run-dir', other, 'up');
    expect(elsewhere.code).toBe(1);
    expect(elsewhere.stderr).toContain(
      `an appliance already runs with the data directory ${node.data}, or is being started there (process ${service.pid})`,
    );
    expect(elsewhere.stderr).toContain(`appliance --run-dir ${node.runDir} status`);
    expect(existsSync(other)).toBe(false);
    expect(changed()).toEqual(before);
  });

  test('no role can read a CA key or what another one keeps', { timeout: minute }, async () => {
    const users = ['appliance-server', 'appliance-mon', 'appliance-mgr', 'appliance-edge'];
    const everything = (directory: string): string[] =>
      readdirSync(directory, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() || entry.isDirectory())
        .map((entry) => join(entry.parentPath, entry.name));
    /** Which of the paths the user can open. */
    const open = async (user: string, paths: readonly string[]): Promise<string[]> => {
      const script =
        'while IFS= read -r p; do if [ -d "$p" ]; then ls "$p" >/dev/null 2>&1; else head -c1 "$p" >/dev/null 2>&1; fi && echo "$p"; done; true';
      const as = ['setpriv', '--reuid', user, '--regid', user, '--init-groups', '--'];
      const text = await must([...as, 'sh', '-c', script], { input: `${paths.join('\n')}\n`, cwd: '/' });
      return text.split('\n').filter((line) => line !== '');
    };
    const only: Record<string, string | undefined> = {
      [join(node.data, 'pki')]: 'appliance-server',
      [join(node.data, 'store')]: 'appliance-server',
      [join(node.data, 'instances/mon')]: 'appliance-mon',
      [join(node.data, 'instances/osd.0')]: undefined,
      [join(node.data, 'logs')]: undefined,
      [join(node.data, 'agent/csi')]: undefined,
      [join(node.runDir, 'roles/server')]: 'appliance-server',
      [join(node.runDir, 'roles/mon')]: 'appliance-mon',
      [join(node.runDir, 'roles/mgr')]: 'appliance-mgr',
      [join(node.runDir, 'roles/edge')]: 'appliance-edge',
    };
    expect(everything(join(node.data, 'pki')).filter((path) => path.endsWith('-ca.key')).length).toBeGreaterThan(2);
    for (const [directory, owner] of Object.entries(only)) {
      const paths = [directory, ...everything(directory)];
      for (const user of users) {
        const found = await open(user, paths);
        if (user === owner) expect(found.length, `${user} ${directory}`).toBeGreaterThan(0);
        else expect(found, `${user} ${directory}`).toEqual([]);
      }
    }
    const keys = everything(node.data).filter(
      (path) => /\.(key|keyring)$|password|token/.test(path) && statSync(path).isFile(),
    );
    const readable = Object.fromEntries(
      await Promise.all(users.map(async (user) => [user, await open(user, keys)] as const)),
    );
    expect(readable['appliance-edge']).toEqual([join(node.data, 'identity/edge.key')]);
    expect(readable['appliance-mgr']).toEqual([join(node.data, 'ceph/keyrings/mgr.a.keyring')]);
    // The second is for the way to other mons.
    const ofMon = [join(node.data, 'ceph/keyrings/'), join(node.data, 'instances/mon/peer/peer.key')];
    expect(readable['appliance-mon']!.filter((path) => !ofMon.some((one) => path.startsWith(one)))).toEqual([]);
    expect(
      await open('appliance-edge', [join(node.runDir, 'control.sock'), join(node.runDir, 'effective.json')]),
    ).toEqual([]);
  });

  test.each(['mon', 'mgr', 'osd.0', 'server', 'containerd', 'agent', 'edge'])(
    'kill -9 of %s: back within its back-off, the reason is shown',
    { timeout: 3 * minute },
    async (name) => {
      const { pid, restarts } = await running(name);
      process.kill(pid!, 'SIGKILL');
      const after = await running(name, pid);
      expect(after.restarts).toBe(restarts + 1);
      expect(after.exits.at(-1)).toMatchObject({ reason: 'killed by SIGKILL' });
      expect(serviceLog()).toContain(`ended instance=${name} reason="killed by SIGKILL"`);
      const text = (await node.appliance('status')).stdout;
      expect(text).toMatch(new RegExp(`${name.replace('.', '\\.')} was started again .*: killed by SIGKILL`));
    },
  );

  test('a role over its memory budget: killed in its cgroup, and the reason names the budget', {
    timeout: 3 * minute,
  }, async () => {
    const { pid } = await running('mgr');
    // Less than it has: what it asks for next is refused, and the kernel kills.
    const group = `${memoryMount}${memoryGroup(pid!)}`;
    await until('the mgr runs out of memory', minute, async () => {
      const now = await instance('mgr');
      if (now.exits.some((exit) => exit.reason.startsWith('out of memory'))) return true;
      const used = Number(
        readFileSync(
          join(
            group,
            limitFile.replace(/limit_in_bytes|max/, (word) => (word === 'max' ? 'current' : 'usage_in_bytes')),
          ),
          'utf8',
        ),
      );
      writeFileSync(join(group, limitFile), String(used + 4096));
      return false;
    });
    const after = await running('mgr', pid);
    expect(after.exits.map((exit) => exit.reason)).toContain('out of memory: limit 192 MiB');
    expect(serviceLog()).toContain('ended instance=mgr reason="out of memory: limit 192 MiB"');
    // Its budget is set anew.
    expect(Number(readFileSync(join(group, limitFile), 'utf8'))).toBe(192 << 20);
  });

  test('a role that dies again and again is in a crash loop, told with its last reasons, and the node stays up', {
    timeout: 4 * minute,
  }, async () => {
    // The longer it goes on, the longer it is seen between two starts.
    const output = await until('mgr is in a crash loop', 3 * minute, async () => {
      const { pid } = await instance('mgr');
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
      const shown = await node.appliance('status');
      return shown.stdout.includes('mgr is in a crash loop') && shown;
    });
    expect(output.code).toBe(1);
    expect(output.stdout).toMatch(/mgr is in a crash loop: ended \d+ times in a row, last: killed by SIGKILL/);
    expect(output.stdout).toMatch(/mgr was started again .* the last ones ended with: .*killed by SIGKILL \(/);
    expect((await instance('mgr')).exits).toHaveLength(5);
    await told(/STATUS=6 of 7 processes run; mgr is in a crash loop/);
    await running('mgr');
  });

  test('SIGHUP: log level, budgets and a new OSD hold at once, the rest is named; a refused file changes nothing', {
    timeout: 4 * minute,
  }, async () => {
    configure({ osds: 2, lines: ['logLevel: debug', 'memory: {mon: 300Mi}', 'ports: {prometheus: 9399}'] });
    const from = heard.length;
    const before = await running('mon');
    process.kill(service.pid, 'SIGHUP');
    await told(/^RELOADING=1\nMONOTONIC_USEC=\d+$/, from);
    await told(/^READY=1$/m, from);
    expect((await status()).reload).toMatchObject({
      applied: ['logLevel', 'memory.mon', 'storage.osd (osd.1)'],
      restart: ['ports.prometheus (mgr)'],
    });
    await running('osd.1');
    await until('the new OSD is up', 2 * minute, async () =>
      / 2 up/.test(await node.mustTool(['ceph', 'osd', 'stat'])),
    );
    const after = await instance('mon');
    expect([after.pid, after.limitBytes]).toEqual([before.pid, 300 << 20]);
    expect(readFileSync(`${memoryMount}${memoryGroup(after.pid!)}/${limitFile}`, 'utf8').trim()).toBe(
      String(300 << 20),
    );
    expect((await status()).logLevel).toBe('debug');

    writeFileSync(node.configFile, `dataDir: ${node.data}\nrunDir: ${node.runDir}\nroles: [mgr]\nnonsense: 1\n`);
    const refused = await reload();
    expect(refused.error).toContain('nonsense');
    expect(refused).toMatchObject({ applied: [], restart: [] });
    expect((await status()).instances).toHaveLength(8);
    configure({ osds: 2, lines: ['ports: {prometheus: 9399}'] });
    expect(await reload()).toMatchObject({ applied: ['logLevel', 'memory.mon'], restart: ['ports.prometheus (mgr)'] });
  });

  test('the control socket: logs of one instance, a level at run time, bounds', { timeout: minute }, async () => {
    const ask = (...argv: string[]) =>
      run(['curl', '-s', '-w', ' %{http_code}', '--unix-socket', join(node.runDir, 'control.sock'), ...argv]);
    expect(statSync(join(node.runDir, 'control.sock')).mode & 0o777).toBe(0o600);
    expect((await ask('http://a/instances')).stdout).toBe(
      '["mon","mgr","osd.0","osd.1","server","containerd","agent","edge"] 200',
    );
    expect((await ask('http://a/logs/mon?lines=1')).stdout).toMatch(/^\d{4}-.*\n 200$/);
    expect((await ask('http://a/logs/..%2f..%2fetc%2fpasswd')).stdout).toMatch(/^no instance .* 404$/s);
    expect((await ask('http://a/logs/mon?lines=1e9')).stdout).toMatch(/400$/);
    expect((await ask('-X', 'PUT', 'http://a/log-level/loud')).stdout).toMatch(/404$/);
    expect((await ask('-X', 'PUT', 'http://a/log-level/warn')).stdout).toBe(' 204');
    expect((await status()).logLevel).toBe('warn');
    expect((await ask('-X', 'POST', '-d', 'x'.repeat(100_000), 'http://a/reload')).stdout).toMatch(/413$/);
  });

  test('the supervisor stays small after all this', { timeout: 2 * minute }, async () => {
    // What deaths, reloads and questions leave behind is given back once a minute.
    await until(`at most ${supervisorBytesMax} bytes`, 70_000, async () => supervisorBytes() <= supervisorBytesMax);
  });

  test('kill -9 of the supervisor: within 2 s nothing is left but what must outlive it; the next start takes it over', {
    timeout: 6 * minute,
  }, async () => {
    await node.mustKubectl(['apply', '-f', join(root, 'examples/counter.yaml')]);
    await counterReady();
    const kept = (await node.traces()).processes.filter((line) => /containerd-shim|rbd-fuse/.test(line));
    expect(kept.length).toBeGreaterThanOrEqual(2);
    // containerd's budget must not end them.
    for (const line of kept.filter((one) => one.includes('containerd-shim')))
      expect(memoryGroup(Number(line.split(' ')[0]))).toMatch(/-node\/shims$/);
    process.kill(service.pid, 'SIGKILL');
    await Bun.sleep(2000);
    expect((await node.traces()).processes).toEqual(kept);
    startService();
    await told(/^READY=1$/m, heard.length);
    await counterReady();
    expect((await node.traces()).processes.filter((line) => /containerd-shim|rbd-fuse/.test(line))).toEqual(kept);
    const restarts = ['-o', 'jsonpath={.status.containerStatuses[*].restartCount}'];
    expect(await node.mustKubectl(['-n', 'counter', 'get', 'pod', 'counter-0', ...restarts])).toBe('0 0');
  });

  test('SIGTERM: STOPPING, roles end in order, containers live on; down writes their volumes out and leaves nothing', {
    timeout: 5 * minute,
  }, async () => {
    const from = heard.length;
    const group = join(memoryMount!, memoryGroup((await running('containerd')).pid!), '..');
    recordsBefore = await records();
    process.kill(service.pid, 'SIGTERM');
    await told(/^STOPPING=1$/, from);
    expect(await service.exited).toBe(0);
    const left = (await node.traces()).processes;
    expect(
      left.every((line) => /containerd-shim|rbd-fuse/.test(line)),
      left.join('\n'),
    ).toBe(true);
    await nothingLeft(group);
  });

  test('down of a running service: pods first, nothing is left, and it is no failure; what pods had written is there', {
    timeout: 6 * minute,
  }, async () => {
    startService();
    await told(/^READY=1$/m, heard.length);
    await counterReady();
    // Written before the node was stopped, and written out by `down`.
    expect(await records()).toBeGreaterThanOrEqual(recordsBefore);
    const group = join(memoryMount!, memoryGroup((await running('containerd')).pid!), '..');
    await nothingLeft(group);
    // The service manager does not start it again.
    expect(await service.exited).toBe(0);
  });
});

/** `down` succeeds and takes everything with it. */
async function nothingLeft(group: string): Promise<void> {
  const output = await node.appliance('down');
  expect(output.code, output.stdout + output.stderr).toBe(0);
  expect(output.stdout).not.toContain('could not be written out');
  expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
  expect(() => statSync(group)).toThrow('ENOENT');
}

async function counterReady(): Promise<void> {
  await until(
    'the pod is there',
    minute,
    async () => (await node.kubectl(['-n', 'counter', 'get', 'pod', 'counter-0'])).code === 0,
  );
  const ready = ['wait', '--for=condition=Ready', 'pod/counter-0', '--timeout=120s'];
  await node.mustKubectl(['-n', 'counter', ...ready], { timeoutMs: 150_000 });
}

/** How many records the pod's volume holds. */
async function records(): Promise<number> {
  const inPod = ['-n', 'counter', 'exec', 'counter-0', '-c', 'counter', '--', 'cat', '/data/records'];
  return (await node.mustKubectl(inPod)).split('\n').length - 1;
}
