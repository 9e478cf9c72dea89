import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { standardConfig } from './standard-config.testing.ts';
import type { Config } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';
import { accessRules } from './access.ts';
import { applyAccess, checkReachable } from './access-system.ts';
import { type SystemUser, type UserName, userNames } from './users.ts';

const root = process.getuid?.() === 0;
/** Numbers that no account has: files need none. */
const users = new Map<UserName, SystemUser>(userNames.map((name, i) => [name, { uid: 64_001 + i, gid: 64_001 + i }]));

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'access-'));
  chmodSync(directory, 0o755);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function mayRead(user: UserName, path: string): boolean {
  const { uid, gid } = users.get(user)!;
  const as = ['setpriv', '--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--'];
  // A directory is read by listing it.
  return (
    Bun.spawnSync([...as, ...(statSync(path).isDirectory() ? ['ls'] : ['cat']), path], { cwd: '/' }).exitCode === 0
  );
}

describe.runIf(root)('who may read what a node keeps', () => {
  /** The data directory of a node that an earlier version ran, everything as root. */
  function oldNode() {
    const config = standardConfig(`dataDir: ${directory}/data\nrunDir: ${directory}/run\n`);
    const paths = nodePaths(config.dataDir, config.runDir);
    const entities = ['mon.', 'client.admin', 'mgr.a', 'osd.0', 'client.csi-rbd-node'];
    const write = (path: string, mode: number): void => {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      writeFileSync(path, 'content', { mode });
    };
    for (const name of ['server-ca', 'client-ca', 'request-header-ca', 'apiserver', 'admin']) {
      write(`${paths.pki}/${name}.key`, 0o600);
      write(`${paths.pki}/${name}.crt`, 0o644);
    }
    for (const name of ['kubelet', 'edge']) {
      write(`${paths.identity}/${name}.key`, 0o600);
      write(`${paths.identity}/${name}.crt`, 0o644);
    }
    write(`${paths.identity}/node-password`, 0o600);
    write(`${paths.pki}/service-account.key`, 0o600);
    write(`${paths.store}/state.db`, 0o644);
    write(`${paths.store}/journal/1`, 0o600);
    write(`${paths.instanceDir('mon')}/state.db`, 0o644);
    write(`${paths.instanceDir('osd.0')}/label`, 0o644);
    write(`${paths.agent}/csi/volume.json`, 0o644);
    write(`${paths.logs}/server.log`, 0o600);
    write(paths.cephConf, 0o644);
    for (const entity of entities) write(paths.keyring(entity), 0o600);
    chmodSync(paths.agent, 0o755);
    return { config, paths, rules: accessRules(config, paths, entities) };
  }

  test('with the engine ceph the OSDs of a machine that joined read their keys, and nothing else of the storage', () => {
    const joined = standardConfig(
      `dataDir: ${directory}/data\nroles: [server, agent, mon, osd]\nstorage: {engine: ceph, replication: 1, osd: [{id: 4, file: /a}]}\n`,
    );
    const config: Config = { ...joined, roles: ['server', 'agent', 'osd'] };
    const paths = nodePaths(config.dataDir, config.runDir);
    const rules = accessRules(config, paths, ['osd.4', 'client.bootstrap-osd', 'client.admin']);
    const of = (entity: string) => rules.filter(({ path }) => path === paths.keyring(entity));
    for (const entity of ['osd.4', 'client.bootstrap-osd'])
      expect(of(entity)).toMatchObject([{ owner: 'root', group: 'ceph', mode: 0o640 }]);
    expect(of('client.admin')).toMatchObject([{ owner: 'root', group: 'appliance-server', mode: 0o640 }]);
    expect(rules).toContainEqual(expect.objectContaining({ path: paths.instanceDir('osd.4'), owner: 'ceph' }));
  });

  test('what an earlier version made as root goes to its owners: each reads its own and nothing of another', () => {
    const { config, paths, rules } = oldNode();
    applyAccess(rules, users);
    const readers: Record<string, UserName[]> = {
      [`${paths.pki}/server-ca.key`]: ['appliance-server'],
      [`${paths.pki}/client-ca.key`]: ['appliance-server'],
      [`${paths.pki}/request-header-ca.key`]: ['appliance-server'],
      [`${paths.pki}/service-account.key`]: ['appliance-server'],
      [`${paths.pki}/apiserver.key`]: ['appliance-server'],
      [`${paths.pki}/server-ca.crt`]: ['appliance-server'],
      [`${paths.identity}/edge.key`]: ['appliance-edge'],
      [`${paths.identity}/edge.crt`]: [...userNames],
      [`${paths.identity}/kubelet.key`]: [],
      [`${paths.identity}/node-password`]: [],
      [paths.store]: ['appliance-server'],
      [`${paths.store}/state.db`]: ['appliance-server'],
      [`${paths.store}/journal/1`]: ['appliance-server'],
      [paths.instanceDir('mon')]: ['appliance-mon'],
      [`${paths.instanceDir('mon')}/state.db`]: ['appliance-mon'],
      [paths.instanceDir('osd.0')]: [],
      [`${paths.agent}/csi/volume.json`]: [],
      [paths.logs]: [],
      [paths.cephConf]: [...userNames],
      [`${paths.ceph}/keyrings`]: ['appliance-mon'],
      [paths.keyring('mon.')]: ['appliance-mon'],
      [paths.keyring('osd.0')]: ['appliance-mon'],
      [paths.keyring('mgr.a')]: ['appliance-mon', 'appliance-mgr'],
      [paths.keyring('client.admin')]: ['appliance-server', 'appliance-mon'],
      [paths.keyring('client.csi-rbd-node')]: ['appliance-server', 'appliance-mon'],
      [config.manifestsDir]: ['appliance-server'],
    };
    for (const [path, allowed] of Object.entries(readers))
      expect(
        userNames.filter((user) => mayRead(user, path)),
        path,
      ).toEqual(userNames.filter((user) => allowed.includes(user)));
  });

  test('it is repeated at every start: what root adds later is given away too', () => {
    const { paths, rules } = oldNode();
    applyAccess(rules, users);
    writeFileSync(`${paths.pki}/new-ca.key`, 'content', { mode: 0o600 });
    // Replaced, as by writing atomically.
    rmSync(`${paths.identity}/edge.key`);
    writeFileSync(`${paths.identity}/edge.key`, 'content', { mode: 0o600 });
    applyAccess(rules, users);
    expect(mayRead('appliance-server', `${paths.pki}/new-ca.key`)).toBe(true);
    expect(mayRead('appliance-server', `${paths.identity}/edge.key`)).toBe(false);
    expect(mayRead('appliance-edge', `${paths.identity}/edge.key`)).toBe(true);
  });

  test('a role cannot have foreign files given to it: links are not followed, second names are refused', () => {
    const { paths, rules } = oldNode();
    const foreign = join(directory, 'foreign');
    writeFileSync(foreign, 'secret', { mode: 0o600 });
    symlinkSync(foreign, `${paths.store}/link`);
    symlinkSync('/etc', `${paths.store}/etc`);
    applyAccess(rules, users);
    expect(lstatSync(`${paths.store}/link`).uid).toBe(64_001);
    expect(statSync(foreign).uid).toBe(0);
    expect(statSync('/etc/passwd').uid).toBe(0);
    linkSync(foreign, `${paths.store}/second-name`);
    expect(() => applyAccess(rules, users)).toThrow(/second-name has a second name/);
    expect(statSync(foreign).uid).toBe(0);
  });

  test('something else in the place of a directory is refused by name', () => {
    const { paths, rules } = oldNode();
    rmSync(paths.store, { recursive: true });
    symlinkSync('/etc', paths.store);
    expect(() => applyAccess(rules, users)).toThrow(`${paths.store}: expected a directory`);
    expect(statSync('/etc').uid).toBe(0);
  });

  describe('a directory that the user chose', () => {
    /** With the mode and the uid that it has when the user made it. */
    const there = (path: string, mode: number, uid: number): void => {
      mkdirSync(path);
      chmodSync(path, mode);
      chownSync(path, uid, uid);
    };
    const facts = (path: string): number[] => {
      const { gid, mode, uid } = statSync(path);
      return [mode & 0o7777, uid, gid];
    };
    const chosen = {
      snapshots: (path: string): Partial<Config> => ({ snapshots: { ...oldNode().config.snapshots, dir: path } }),
      manifests: (path: string): Partial<Config> => ({ manifestsDir: path }),
    };
    const rulesFor = (what: keyof typeof chosen, path: string) => {
      const { config, paths } = oldNode();
      return accessRules({ ...config, ...chosen[what](path) }, paths, []);
    };

    test.each([
      ['snapshots', 'for all', 0o777, 0, undefined],
      ['snapshots', 'of the server', 0o700, 64_001, undefined],
      ['snapshots', 'of root, for others to read', 0o755, 0, 'cannot write'],
      ['manifests', 'that all may read', 0o755, 1000, undefined],
      ['manifests', 'that only its owner may read', 0o700, 1000, 'cannot read'],
    ] as const)(
      'for %s, %s, stays as it is; it is refused when the server cannot use it',
      (what, _, mode, uid, why) => {
        const path = join(directory, 'chosen');
        there(path, mode, uid);
        const rules = rulesFor(what, path);
        if (why === undefined) applyAccess(rules, users);
        else expect(() => applyAccess(rules, users)).toThrow(`${path}: the user appliance-server (uid 64001) ${why}`);
        expect(facts(path)).toEqual([mode, uid, uid]);
      },
    );

    test.each([
      ['snapshots', [0o700, 64_001, 64_001]],
      ['manifests', [0o750, 0, 64_001]],
    ] as const)('for %s and that is not there is made and given; the ones above can be entered', (what, expected) => {
      const path = join(directory, 'chosen/below');
      const rules = rulesFor(what, path);
      applyAccess(rules, users);
      applyAccess(rules, users);
      expect(facts(path)).toEqual(expected);
      expect(facts(dirname(path)).slice(0, 2)).toEqual([0o755, 0]);
    });
  });

  test('directories that roles cannot make themselves are made', () => {
    const { paths, rules } = oldNode();
    rmSync(paths.store, { recursive: true });
    applyAccess(rules, users);
    expect(existsSync(paths.store)).toBe(true);
    expect(statSync(paths.store)).toMatchObject({ uid: 64_001, gid: 64_001 });
    expect(statSync(paths.store).mode & 0o7777).toBe(0o700);
  });
});

describe('a directory that only its owner may enter', () => {
  test('is named, with what to do', () => {
    mkdirSync(join(directory, 'closed/data'), { recursive: true });
    chmodSync(join(directory, 'closed'), 0o700);
    expect(() => checkReachable('dataDir', join(directory, 'closed/data/deep'))).toThrow(
      `only its owner may enter ${directory}/closed`,
    );
    chmodSync(join(directory, 'closed'), 0o711);
    checkReachable('dataDir', join(directory, 'closed/data/deep'));
  });
});
