import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { commands } from './commands.ts';
import { program } from './program.ts';
import { type Answer, runSource } from './source.testing.ts';
import { lockNode } from '../../internal/node/node-lock-system.ts';
import { exitCodes } from './exit-codes.ts';

/** The command line as users call it, from the source. */

let directory = '';
let file = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cli-'));
  file = join(directory, 'appliance.yaml');
  write('appliance.yaml', `dataDir: ${directory}/data\nrunDir: ${directory}/run\n`);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function write(name: string, text: string): void {
  mkdirSync(join(directory, name, '..'), { recursive: true });
  writeFileSync(join(directory, name), text);
}

async function call(argv: readonly string[], variables: Record<string, string> = {}): Promise<Answer> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('APPLIANCE_')));
  const answer = await runSource(argv, { ...env, ...variables });
  // Whatever happens: no stack, and no colours where there is no terminal.
  expect(answer.err).not.toMatch(/^\s+at /m);
  expect(answer.out + answer.err).not.toContain('\x1b');
  return answer;
}
const here = (...argv: string[]): Promise<Answer> => call(['-c', file, ...argv]);

describe('help', () => {
  test('--help lists commands by what they are for, exit codes and examples', async () => {
    const { code, out } = await call(['--help']);
    expect(code).toBe(0);
    for (const part of ['Run a node:', 'Look at a node:', 'Exit codes:', 'Examples:', '--config <file>', 'status'])
      expect(out).toContain(part);
    expect(out).not.toContain('teardown');
    expect(await call([])).toMatchObject({ code: 2, out: '' });
  });

  test('a command teaches with examples; `help COMMAND` is the same', async () => {
    const { code, out } = await call(['logs', '--help']);
    expect(code).toBe(0);
    expect(out).toContain('appliance logs osd -f');
    expect(out).toContain('Global Options:');
    expect((await call(['help', 'logs'])).out).toBe(out);
  });

  test.each([
    [['upp'], 'Did you mean up?'],
    [['help', 'doctr'], "unknown command 'doctr'; did you mean doctor?"],
    [['store', 'snapshot', 'save', '/nonexist/x.db'], 'the directory /nonexist is not there'],
    [['status', '--wach'], 'Did you mean --watch?'],
    [['up', '--node-nam=x'], 'Did you mean --node-name?'],
    [['config', 'shwo'], 'Did you mean show?'],
    [['status', '-o', 'xml'], 'Allowed choices are table, json, yaml'],
    [['status', '--watch', 'often'], '--watch takes seconds'],
    [['config', 'explain', 'cluster.podcdir'], 'did you mean cluster.podCIDR?'],
    [['config', 'explain', 'clusterCIDR'], 'did you mean cluster.podCIDR?'],
    [['logs', '--since', 'yesterday'], '--since takes a duration'],
  ])('%j is refused with what may have been meant', async (argv, expected) => {
    const { code, out, err } = await here(...argv);
    expect(err).toContain(expected);
    expect(err).toMatch(/^appliance: /);
    expect({ code, out }).toEqual({ code: 2, out: '' });
  });

  test('the version, three ways', async () => {
    const { out } = await call(['version']);
    expect(out).toMatch(/^appliance \S+ \(.+\)\n$/);
    expect((await call(['--version'])).out).toBe(out);
    expect(JSON.parse((await call(['version', '-o', 'json'])).out)).toMatchObject({
      platform: `linux-${process.arch}`,
    });
  });
});

describe('output for programs', () => {
  /** What stays in the foreground, or prints what a shell reads. */
  const without = ['up', 'run', 'completion'];

  test('every command that prints something takes -o', async () => {
    const root = await program([]);
    const leaves = (command: Command): Command[] =>
      command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);
    const missing: string[] = [];
    for (const row of commands.filter(({ group }) => group !== undefined)) {
      const command = root.commands.find((one) => one.name() === row.name)!;
      (await row.load()).command.define(command);
      for (const leaf of leaves(command)) {
        const place = leaf.parent === root ? row.name : `${row.name} ${leaf.name()}`;
        if (!leaf.options.some(({ long }) => long === '--output')) missing.push(place);
      }
    }
    expect(missing.sort()).toEqual(without.toSorted());
  });

  test('config explain: a key, a section, all; with the values of this machine and where they come from', async () => {
    write('appliance.yaml', `dataDir: ${directory}/data\ntoken: hunter2-hunter2\nports: {api: 7443}\n`);
    const api = {
      key: 'ports.api',
      value: 7443,
      origin: `${file}:3:9`,
      default: '6443',
      variable: 'APPLIANCE_PORTS_API',
      flag: '--https-listen-port PORT',
    };
    expect(JSON.parse((await here('config', 'explain', 'ports.api', '-o', 'json')).out)).toMatchObject([api]);
    expect(
      (JSON.parse((await here('config', 'explain', 'ports', '-o', 'json')).out) as unknown[]).length,
    ).toBeGreaterThan(5);
    const all = (await here('config', 'explain', '-o', 'yaml')).out;
    expect(all).toContain('value: (hidden)');
    expect(all).not.toContain('hunter2');
    const section = (await here('config', 'explain', 'ports')).out.split('\n');
    expect(section[0]).toBe('ports: Where this node listens.');
    expect(section[2]).toMatch(/^KEY +VALUE +DEFAULT +MEANING$/);
    expect(section[3]).toMatch(/^ports\.api +7443 +6443 +The Kubernetes API\.$/);
    expect((await here('config', 'explain', 'ports.api')).out).toContain(`Value        7443 (${file}:3:9)\n`);
    // What keys mean is told whatever the file says.
    write('appliance.yaml', 'ports: {api: many}\n');
    expect(await here('config', 'explain', 'ports.api')).toMatchObject({ code: 0, err: '' });
  });

  test('config schema: as YAML and as a table, too', async () => {
    expect(parse((await call(['config', 'schema', '-o', 'yaml'])).out)).toEqual(
      JSON.parse((await call(['config', 'schema'])).out),
    );
    expect((await call(['config', 'schema', '-o', 'table'])).out).toMatch(
      /^KEY +DEFAULT +MEANING\nnode\.name +the host name /,
    );
  });

  test('steps go to standard error, one document to standard output', async () => {
    const { code, out, err } = await here('down', '-o', 'json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ ran: false, dataDir: `${directory}/data` });
    expect(err).toContain('no supervisor answers');
    expect((await here('down')).out).toContain('no supervisor answers');
  });
});

describe('config', () => {
  test('default < file < conf.d by name < environment < flag, and where each comes from', async () => {
    write(
      'appliance.yaml',
      'logLevel: warn\nnode:\n  name: from-file\n  labels: {a: "1", b: "1"}\nports: {api: 1001, mon: 1002}\n',
    );
    write('conf.d/20.yaml', 'node:\n  labels: {b: "3"}\nports: {api: 1004}\n');
    write('conf.d/10.yaml', 'ports: {api: 1003, kubelet: 1005}\n');
    write('conf.d/notes.txt', 'not: read\n');
    const argv = [
      '-c',
      file,
      '--data-dir',
      '/d',
      'config',
      'show',
      '--origin',
      '-o',
      'json',
      '--mon-port',
      '1006',
      '--node-label',
      'c=4,d=5',
    ];
    const { code, out, err } = await call([...argv, '--node-label=e=6'], {
      APPLIANCE_PORTS_MON: '1',
      APPLIANCE_ROLES: 'server,agent,mon',
    });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const list = JSON.parse(out) as { key: string; value: unknown; origin: string }[];
    const told = Object.fromEntries(
      list.map(({ key, value, origin }) => [key, `${String(value)} ${origin.replaceAll(`${directory}/`, '')}`]),
    );
    expect(told).toMatchObject({
      'node.name': 'from-file appliance.yaml:3:3',
      'node.labels.a': '1 appliance.yaml:4:12',
      'node.labels.b': '3 conf.d/20.yaml:2:12',
      'node.labels.c': '4 --node-label',
      'node.labels.e': '6 --node-label',
      logLevel: 'warn appliance.yaml:1:1',
      'ports.api': '1004 conf.d/20.yaml:3:9',
      'ports.kubelet': '1005 conf.d/10.yaml:1:20',
      'ports.mon': '1006 --mon-port',
      'ports.dns': '10053 default',
      roles: 'server,agent,mon APPLIANCE_ROLES',
      dataDir: '/d --data-dir',
      imagesDir: '/d/images default',
    });
  });

  test('what `show` prints is a file that says the same', async () => {
    write(
      'appliance.yaml',
      'node: {name: a, taints: ["x=y:NoSchedule"]}\nmemory: {mon: none}\nstorage: {osd: [{directory: /a}, {serial: S1, partition: 2}]}\n',
    );
    const shown = (await here('config', 'show')).out;
    write('again.yaml', shown);
    const again = await call(['-c', join(directory, 'again.yaml'), 'config', 'show']);
    expect(again).toEqual({ code: 0, out: shown, err: '' });
    expect(shown).toContain('mon: none');
  });

  test('a secret is never shown, not even when it is wrong', async () => {
    write('appliance.yaml', 'token: hunter2-hunter2\n');
    for (const argv of [
      ['config', 'show'],
      ['config', 'show', '--origin'],
      ['config', 'show', '-o', 'json'],
    ])
      expect((await here(...argv)).out).not.toContain('hunter2');
    expect((await here('config', 'show', '--origin')).out).toMatch(/token +\(hidden\)/);
    write('appliance.yaml', 'token: hunter2 with spaces\n');
    const { code, err } = await here('config', 'show');
    expect(code).toBe(2);
    expect(err).toContain('appliance.yaml:1:1: token: expected a token');
    expect(err).not.toContain('hunter2');
  });

  test('every mistake of every source at once, with its place', async () => {
    write(
      'appliance.yaml',
      '\uFEFFnode:\r\n  nmae: a\r\nroles: [server, agnt]\r\nports: {api: "x", kubelet: 0}\r\ncluster-cidr: 10.0.0.0/8\r\n',
    );
    write('conf.d/a.yaml', 'cluster:\n  podCIDR: 10.42.0.0\nstorage:\n  osd: [{devcie: /dev/sda, device: /dev/sda}]\n');
    const variables = { APPLIANCE_NODE_IPP: '1.2.3.4', APPLIANCE_LOG_LEVEL: 'loud' };
    const argv = ['-c', file, 'config', 'validate', '--dns-port', 'many'];
    const { code, out } = await call(argv, variables);
    expect(code).toBe(2);
    expect(out.replaceAll(`${directory}/`, '').trimEnd().split('\n')).toEqual([
      'appliance.yaml:2:3: node.nmae: unknown key; did you mean name?',
      'appliance.yaml:3:17: roles[1]: expected roles of server, agent, mon, mgr, osd, mds, rgw; "agnt" is not one; did you mean agent?',
      'appliance.yaml:4:9: ports.api: expected a port from 1 to 65535, got "x"',
      'appliance.yaml:4:19: ports.kubelet: expected a port from 1 to 65535, got 0',
      'appliance.yaml:5:1: cluster-cidr: unknown key; did you mean cluster.podCIDR?',
      'conf.d/a.yaml:2:3: cluster.podCIDR: expected an IPv4 network such as 10.42.0.0/16, got "10.42.0.0"',
      'conf.d/a.yaml:4:10: storage.osd[0].devcie: unknown key; did you mean device?',
      'APPLIANCE_NODE_IPP: unknown variable; did you mean APPLIANCE_NODE_IP?',
      'APPLIANCE_LOG_LEVEL: logLevel: expected a level: debug, info, warn, error; got "loud"',
      '--dns-port: ports.dns: expected a port from 1 to 65535, got "many"',
    ]);
    const [first] = JSON.parse((await call([...argv, '-o', 'json'], variables)).out) as object[];
    expect(first).toEqual({
      key: 'node.nmae',
      message: 'unknown key; did you mean name?',
      from: 'file',
      file,
      line: 2,
      column: 3,
    });
  });

  test.runIf(process.getuid?.() === 0).each([
    ['up', []],
    ['run', []],
    ['join', ['K10'.padEnd(67, '0').concat('::node:secret')]],
    ['store', ['snapshot', 'restore', 'x']],
  ])('%s while another process has the data directory: a plain message, and nothing is written', async (name, more) => {
    const lock = lockNode({ dataDir: join(directory, 'data'), runDir: join(directory, 'run') });
    try {
      const answer = await here(name, ...more);
      expect(answer).toMatchObject({ code: exitCodes.failed.code, out: '' });
      expect(answer.err).toContain(
        `an appliance already runs with the data directory ${directory}/data, or is being started there (process ${process.pid})`,
      );
      expect(readdirSync(join(directory, 'data'))).toEqual(['lock']);
      expect(existsSync(join(directory, 'run'))).toBe(false);
    } finally {
      lock.release();
    }
  });

  test.each([['up'], ['run'], ['prepare']])('%s starts nothing with a wrong configuration', async (command) => {
    write('appliance.yaml', `dataDir: ${directory}/data\nrunDir: ${directory}/run\nlogLevel: loud\n`);
    const { code, err } = await here(command);
    expect(code).toBe(2);
    expect(err).toContain('appliance.yaml:3:1: logLevel: expected a level');
    expect(existsSync(join(directory, 'data'))).toBe(false);
  });

  test('a running node is not given other directories by a reload: nothing is made there', async () => {
    write('run/effective.json', JSON.stringify({ dataDir: `${directory}/data`, runDir: `${directory}/run` }));
    write('appliance.yaml', `dataDir: ${directory}/other\nrunDir: ${directory}/other-run\n`);
    const { code, err } = await here('prepare', '--running', `${directory}/run`);
    expect(code).toBe(2);
    expect(err).toContain(`appliance.yaml:1:1: dataDir: expected ${directory}/data, which the running node has`);
    expect(err).toContain(`appliance.yaml:2:1: runDir: expected ${directory}/run, which the running node has`);
    expect(readdirSync(directory).toSorted()).toEqual(['appliance.yaml', 'run']);
    expect(readdirSync(join(directory, 'run'))).toEqual(['effective.json']);
  });

  test('a variable that is like none is not guessed at, though all have their prefix in common', async () => {
    const { code, err } = await call(['-c', file, 'config', 'show'], { APPLIANCE_FOO: '1' });
    expect({ code, first: err.split('\n')[0] }).toEqual({
      code: 2,
      first: 'appliance: APPLIANCE_FOO: unknown variable',
    });
  });

  test('a file that is named must be there; an empty one is one node with every role', async () => {
    expect(await call(['-c', '/none.yaml', 'config', 'show'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('/none.yaml'),
    });
    expect(await call(['config', 'show'], { APPLIANCE_CONFIG: '/none.yaml' })).toMatchObject({ code: 2 });
    write('appliance.yaml', ' \n');
    expect(await here('config', 'validate')).toMatchObject({ code: 0, err: '' });
    write('appliance.yaml', '# all of it is the default\n');
    expect(await here('config', 'validate')).toMatchObject({ code: 0, err: '' });
    expect(await call(['-c', '/dev/null', 'config', 'validate'])).toMatchObject({ code: 0, err: '' });
  });

  test.each([
    ['', 'an empty file'],
    ['\0'.repeat(4096), 'nothing but zero bytes'],
  ])('a file that a power cut has emptied does not make a default node of a configured one', async (text, words) => {
    write('appliance.yaml', text);
    const { code, err } = await here('up', '--data-dir', `${directory}/data`);
    expect(code).toBe(2);
    expect(err).toContain(`appliance.yaml:1:1: expected keys, or at least a comment, got ${words}, as a power cut`);
    expect(existsSync(join(directory, 'data'))).toBe(false);
    write('appliance.yaml', `dataDir: ${directory}/data\n`);
    write('conf.d/10.yaml', text);
    expect(await here('config', 'validate')).toMatchObject({
      code: 2,
      out: expect.stringContaining('conf.d/10.yaml:1:1: '),
    });
  });

  test('the schema for editors knows every key that `explain` lists', async () => {
    const schema = JSON.parse((await call(['config', 'schema'])).out) as Schema;
    const keys = (await call(['config', 'explain'])).out
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.split(' ')[0]!);
    expect(keys.length).toBeGreaterThan(30);
    for (const key of keys) {
      const found = key.split('.').reduce<Schema | undefined>((at, step) => at?.properties?.[step], schema);
      expect(found?.description, key).toContain('Default: ');
    }
    expect(schema.properties?.node).toMatchObject({ additionalProperties: false });
  });
});

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
}

describe('a node that does not run', () => {
  test('status: exit code 3', async () => {
    const { code, out } = await here('status', '-o', 'yaml');
    expect(code).toBe(3);
    expect(out).toContain('ok: false');
    expect(await here('status')).toMatchObject({ code: 3, out: expect.stringMatching(/is not running\.\n$/) });
  });

  test('a running node is asked with the configuration that it was started with, whatever the file says now', async () => {
    const effective = JSON.stringify({
      node: { name: 'as-started', ip: '127.0.0.1' },
      roles: [],
      dataDir: `${directory}/data`,
      runDir: `${directory}/run`,
    });
    write('run/effective.json', effective);
    write('appliance.yaml', `runDir: ${directory}/run\nlogLevel: loud\n`);
    expect((await here('status')).out).toBe('as-started is not running.\n');
  });

  test('logs outlive their roles: by time, by role, as JSON, of what is not there', async () => {
    write('data/logs/mon.log', '2026-01-01T00:00:01.000Z info  one\n2026-01-01T00:00:03.000Z info  three\n    at x\n');
    write('data/logs/osd.0.log', '2026-01-01T00:00:02.000Z warn  two\n');
    expect((await here('logs')).out).toBe(
      '2026-01-01T00:00:01.000Z mon        info  one\n2026-01-01T00:00:02.000Z osd.0      warn  two\n2026-01-01T00:00:03.000Z mon        info  three\n    at x\n',
    );
    expect((await here('logs', '--tail', '1', '--since', '2026-01-01T00:00:00Z')).out).toContain('three');
    expect(JSON.parse((await here('logs', 'osd', '-o', 'json')).out)).toEqual([
      { instance: 'osd.0', time: '2026-01-01T00:00:02.000Z', level: 'warn', text: 'two' },
    ]);
    expect(await here('logs', 'oss')).toMatchObject({ code: 2, err: expect.stringContaining('did you mean osd?') });
  });

  test('logs: no node was ever started', async () => {
    expect(await here('logs')).toMatchObject({ code: 1, err: expect.stringContaining('data/logs does not exist') });
  });
});

describe.skipIf(process.getuid?.() !== 0)('reset (as root)', () => {
  const entries = (): string[] =>
    existsSync(join(directory, 'data')) ? readdirSync(join(directory, 'data')).sort() : [];
  beforeEach(() => {
    // No agent: nothing to look for in containerd.
    write(
      'appliance.yaml',
      `dataDir: ${directory}/data\nrunDir: ${directory}/run\nroles: [server, mon, osd]\nstorage: {osd: [{directory: ${directory}/disk}]}\n`,
    );
    for (const name of ['pki/server-ca.key', 'store/journal', 'logs/mon.log', 'photos/1.jpg'])
      write(`data/${name}`, 'x');
    write('disk/notes', 'x');
  });

  test('--dry-run shows what would go and what stays', async () => {
    const { code, out } = await here('reset', '--dry-run');
    expect(code).toBe(0);
    expect(out).toMatch(/delete +\S+\/data\/pki +certificate authorities/);
    expect(out).toMatch(/keep +\S+\/data\/photos +the appliance did not make it/);
    expect(out).toMatch(/keep +\S+\/disk +it does not hold osd\.0/);
    const plan = JSON.parse((await here('reset', '--dry-run', '-o', 'json')).out) as Record<string, unknown>;
    expect(plan).toMatchObject({ done: false, wipe: [] });
    expect(plan.remove).toContainEqual({
      path: `${directory}/data/pki`,
      what: expect.stringContaining('certificate authorities'),
    });
    expect(plan.keep).toContainEqual({ path: `${directory}/disk`, why: expect.stringContaining('osd.0') });
    expect(entries()).toEqual(['logs', 'photos', 'pki', 'store']);
  });

  test('without a terminal it does not go on by itself', async () => {
    expect(await here('reset')).toMatchObject({ code: 2, err: expect.stringContaining('--yes') });
    expect(entries()).toContain('pki');
  });

  test('--yes deletes what the node made, and nothing else; a second time there is nothing', async () => {
    const { code, out, err } = await here('reset', '--yes');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    if (readFileSync('/etc/passwd', 'utf8').includes('\nappliance-mon:'))
      expect(out).toMatch(/the system users appliance-\S.* stay, since files elsewhere may be theirs/);
    expect(entries()).toEqual(['photos']);
    expect(existsSync(join(directory, 'disk/notes'))).toBe(true);
    expect((await here('reset', '--yes')).out).toContain('there is nothing of a node');
  });

  test('a data directory that is named is not mixed up with that of the node that has the run directory', async () => {
    const running = {
      node: { name: 'other', ip: '127.0.0.1' },
      roles: [],
      dataDir: `${directory}/data`,
      runDir: `${directory}/run`,
    };
    write('run/effective.json', JSON.stringify(running));
    const { code, err } = await call(['-c', file, '--data-dir', '/nowhere', 'reset', '--dry-run']);
    expect(code).toBe(1);
    expect(err).toContain(`/nowhere was named, but node other`);
    expect(err).toContain(`has its data in ${directory}/data`);
  });

  test('what somebody mounted there keeps everything', async () => {
    mkdirSync(join(directory, 'data/store/films'));
    const mounted = Bun.spawnSync([
      'mount',
      '-t',
      'tmpfs',
      '-o',
      'size=64k',
      'tmpfs',
      join(directory, 'data/store/films'),
    ]);
    expect(mounted.exitCode).toBe(0);
    try {
      expect(await here('reset', '--yes')).toMatchObject({
        code: 1,
        err: expect.stringContaining('data/store/films is still mounted'),
      });
      expect(entries()).toEqual(['logs', 'photos', 'pki', 'store']);
    } finally {
      Bun.spawnSync(['umount', join(directory, 'data/store/films')]);
    }
  });
});
