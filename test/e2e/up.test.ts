import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, root, TestNode, until } from './harness.ts';

/** The README's command, `npm run up`, in a copy of the tree as a clone is, on a terminal as somebody types it. Debian's packages and npm's are there. */

const minute = 60_000;
const node = new TestNode();
const clone = join(node.directory, 'clone');
const configFile = join(node.directory, 'own.yaml');
const usualImage = '/var/lib/appliance/images/busybox.tar';
const changed = (file: string): number | undefined => statSync(file, { throwIfNoEntry: false })?.mtimeMs;

let screen = '';
let up: Bun.Subprocess | undefined;
const shown = (what: RegExp, timeoutMs: number): Promise<unknown> =>
  until(`${what} on the screen`, timeoutMs, async () => {
    if (up!.exitCode !== null) throw new Error(`it ended:\n${screen}`);
    return what.test(screen);
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}:\n${screen}\n${node.logs()}`);
  });

beforeAll(async () => {
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await node.makeNetwork();
  mkdirSync(clone);
  const tree = (await must(['git', 'ls-files', '-z']))
    .split('\0')
    .filter((path) => path !== '' && existsSync(join(root, path)));
  await must(['tar', '-cf', join(node.directory, 'tree.tar'), '--null', '-T', '-'], { input: tree.join('\0') });
  await must(['tar', '-xf', join(node.directory, 'tree.tar'), '-C', clone]);
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'));
  mkdirSync(join(clone, 'bin'));
  symlinkSync(join(root, '.cache/bin/kubectl-13'), join(clone, 'bin/kubectl'));
  writeFileSync(configFile, `dataDir: ${node.data}\nrunDir: ${node.runDir}\nnode: {name: node-1}\n`);
}, 5 * minute);
afterAll(async () => {
  await node.appliance('down');
  up?.kill('SIGKILL');
  await node.remove();
}, 3 * minute);

describe('npm run up', () => {
  test('builds the executable, starts the node and shows what to do next', { timeout: 6 * minute }, async () => {
    const usual = changed(usualImage);
    up = Bun.spawn(node.inside('npm', 'run', 'up', '--', '-c', configFile, '--log-level', 'warn'), {
      cwd: clone,
      env: {
        ...(process.env as Record<string, string>),
        PATH: `${clone}/bin:${process.env.PATH}`,
        npm_config_update_notifier: 'false',
      },
      terminal: {
        cols: 250,
        rows: 50,
        data: (_terminal, bytes) => {
          screen += Buffer.from(bytes).toString();
        },
      },
    });
    await shown(/Ready after \d+\.\d s\.[\s\S]*Ctrl-C here/, 5 * minute);
    expect(screen).toContain('building the executable');
    expect(screen).toContain('Node node-1 is Ready.');
    expect(screen).toMatch(/Storage is healthy: 3 of 3 OSDs up/);
    expect(existsSync(join(clone, `dist/appliance-linux-${process.arch}`))).toBe(true);
    // The demonstration's image is where this node looks for it, and not where another one would.
    expect(readFileSync(join(node.data, 'images/busybox.tar')).length).toBeGreaterThan(1e6);
    expect(changed(usualImage)).toBe(usual);
  });

  test('kill -HUP has it read the configuration again', { timeout: minute }, async () => {
    const { pid } = (await node.status()) as unknown as { pid: number };
    writeFileSync(configFile, `${readFileSync(configFile, 'utf8')}memory: {mon: 300Mi}\n`);
    process.kill(pid, 'SIGHUP');
    await shown(/the configuration was read again: holds now: memory\.mon/, minute);
    expect(((await node.status()) as unknown as { pid: number }).pid).toBe(pid);
    const again = await node.appliance('reload', '-o', 'json');
    expect({ code: again.code, ...JSON.parse(again.stdout) }).toMatchObject({ code: 0, applied: [], restart: [] });
  });

  test('the terminal is closed: the node stops in order and leaves nothing', { timeout: 2 * minute }, async () => {
    up!.terminal!.close();
    await until('nothing is left', 2 * minute, async () => {
      expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
      return true;
    });
    expect(existsSync(join(node.runDir, 'control.sock'))).toBe(false);
  });
});
