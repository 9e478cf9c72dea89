import { existsSync, readdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Command } from 'commander';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { AppError, errorCode } from '../../internal/base/errors.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { sizeWords, wrapped } from '../../internal/base/words.ts';
import {
  forgetRemoval as forgetMonRemoval,
  keepSelf,
  monMember,
  monSelf,
} from '../../internal/ceph/mon/self-system.ts';
import type { Config } from '../../internal/config/config.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { forgetMember } from '../../internal/join/join-server-system.ts';
import { lockNode } from '../../internal/node/node-lock-system.ts';
import { socketAnswers } from '../../internal/node/probe-system.ts';
import { forgetRemoval, isRemoved } from '../../internal/node/roles/server-waiting-system.ts';
import { controlMember, ownStoreAccess } from '../../internal/node/store-access.ts';
import type { Store } from '../../internal/store/api.ts';
import { RemovedError } from '../../internal/store/errors.ts';
import { openExternalEtcd } from '../../internal/store/external/external-client.ts';
import { type MemberState, memberStates } from '../../internal/store/external/member-states-client.ts';
import { restoreStore } from '../../internal/store/restore.ts';
import { verifySnapshot } from '../../internal/store/snapshot-system.ts';
import { timeText } from '../../internal/store/snapshots/names.ts';
import { saveSnapshot } from '../../internal/store/snapshots/save-system.ts';
import { resetCluster } from '../../internal/store/store.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { noLeaderText } from './no-leader.ts';
import { columns, print } from './output.ts';

/** `appliance store`: on a server, over the store's etcd face with this server's client certificate; restoring works on its files. */

export const command: CommandModule = {
  define(command) {
    withExamples(command, [
      ['appliance store status', 'revision, size, leader, alarms'],
      ['appliance store snapshot save', 'a copy of everything in one file'],
      ['appliance store snapshot restore --help', 'more of one of them'],
    ]);
    const status = command.command('status').description('Show revision, size, leader and alarms.');
    withExamples(withOutput(status), [['appliance store status -o json', 'for programs']]).action(
      ({ output }: Output) => withStore(status, (store, { states }) => showStatus(store, states, output)),
    );
    const members = command.command('members').description('Show who keeps the store.');
    withExamples(withOutput(members), [
      ['appliance store members', 'a line each: its vote, whether it runs, how far it is behind'],
    ]).action(({ output }: Output) =>
      withStore(members, async (_store, { states }) => showMembers(await states(), output)),
    );
    const remove = members
      .command('remove')
      .argument('<server>', 'its name or id, as `appliance store members` shows them')
      .description('Remove a server that is no node; a node is deleted with kubectl, and its server goes with it.');
    withExamples(withOutput(remove), [
      ['appliance store members remove pi-3', 'it keeps nothing of the store any more'],
    ]).action((server: string, { output }: Output) =>
      withStore(remove, (store) => removeServer(store, server, output)),
    );

    const snapshot = command.command('snapshot').description('Copies of the whole store in one file.');
    const save = snapshot
      .command('save')
      .argument('[file]', 'a new file; without it one in snapshots.dir')
      .description('Make a snapshot now and check it.');
    withExamples(withOutput(save), [
      ['appliance store snapshot save /mnt/usb/before-upgrade.db', 'etcdctl reads it too'],
    ]).action((file: string | undefined, { output }: Output) => {
      refuseMissingParent(file);
      return withStore(save, (store, { config }) => saveOne(store, config, file, output));
    });
    const list = snapshot.command('list').alias('ls').description('Show the snapshots in snapshots.dir.');
    withExamples(withOutput(list), [['appliance store snapshot list', 'the newest first']]).action(
      ({ output }: Output) => listSnapshots(runningConfig(configArguments(list)), output),
    );
    const check = snapshot
      .command('status')
      .argument('<file>')
      .description('Check a snapshot from end to end and show what it holds.');
    withExamples(withOutput(check), [
      ['appliance store snapshot status /mnt/usb/before-upgrade.db', 'before it is needed'],
    ]).action((file: string, { output }: Output) => checkOne(file, output));
    const restore = snapshot
      .command('restore')
      .argument('<file>', 'of `appliance store snapshot save`, the schedule, or `etcdctl snapshot save`')
      .description('Make the store of a snapshot; the node must not run. What was there is kept beside it.');
    withExamples(withOutput(restore), [
      ['appliance store snapshot restore /mnt/usb/before-upgrade.db', 'then: appliance up'],
    ]).action((file: string, { output }: Output) => restoreOne(restore, file, output));

    const compact = command
      .command('compact')
      .argument('[revision]', 'the oldest that can still be read; without it the newest')
      .description('Forget history, and wait until it is gone.');
    withExamples(withOutput(compact), [
      ['appliance store compact', 'then `appliance store defrag` makes the file smaller'],
    ]).action((revision: string | undefined, { output }: Output) =>
      withStore(compact, (store) => compactTo(store, revision, output)),
    );
    const defrag = command.command('defrag').description('Give the space of what was deleted back to the file system.');
    withExamples(withOutput(defrag), [
      ['appliance store defrag', 'while the node runs; it answers late for a moment'],
    ]).action(({ output }: Output) => withStore(defrag, (store) => defragment(store, output)));
    const disarm = command.command('disarm').description('Take back every alarm, when its cause is gone.');
    withExamples(withOutput(disarm), [['appliance store disarm', 'after room was made: writing goes on']]).action(
      ({ output }: Output) => withStore(disarm, (store) => disarmAll(store, output)),
    );
    const reset = command
      .command('cluster-reset')
      .option('--mon', "of the Ceph monitors' store: this machine's mon")
      .description('Make this server the only member, when the others are lost for good; the node must not run.');
    withExamples(withOutput(reset), [
      ['appliance store cluster-reset', 'then: appliance up'],
      ['appliance store cluster-reset --mon', 'the majority of the mons is lost: this one has all that is left'],
    ]).action(({ output, mon }: Output & { mon?: boolean }) =>
      mon === true ? monReset(reset, output) : clusterReset(reset, output),
    );
  },
};

interface Output {
  readonly output: OutputFormat;
}

interface StoreUse {
  readonly config: Config;
  /** Asks each member how it is. */
  readonly states: () => Promise<MemberState[]>;
}

async function withStore(command: Command, use: (store: Store, more: StoreUse) => Promise<void>): Promise<void> {
  const config = runningConfig(configArguments(command));
  const own = ownStoreAccess(config);
  const tls = config.datastore === undefined ? own.tls : config.datastoreTls;
  const access = { tls, clock: systemClock, log: silentLogger };
  let store: Store;
  try {
    store = await openExternalEtcd({ ...access, endpoints: config.datastore ?? own.endpoints });
  } catch (error) {
    const code = config.datastore === undefined ? errorCode(error) : undefined;
    if (code === 'EACCES')
      throw new AppError('ROOT', 'the store is root’s to look after', { hint: 'start it with sudo' });
    if (code === 'ENOENT')
      throw new AppError('NOT_SERVER', `this machine is no server: it has no ${own.tls.certFile}`, {
        hint: 'call it on a server of the cluster',
      });
    if (config.datastore === undefined && isRemoved(nodePaths(config.dataDir, config.runDir))) throw new RemovedError();
    if (config.datastore !== undefined || (await isRunning(config))) throw error;
    throw new AppError('NOT_RUNNING', 'no node runs here', { hint: 'start it first: appliance up', cause: error });
  }
  try {
    await use(store, { config, states: () => memberStates(store, access) });
  } finally {
    await store.close();
  }
}

function isRunning(config: Config): Promise<boolean> {
  return socketAnswers(nodePaths(config.dataDir, config.runDir).controlSocket);
}

/** Only on a node that is stopped, whose store is its own. */
async function stoppedConfig(command: Command): Promise<Config> {
  const config = runningConfig(configArguments(command));
  if (config.datastore !== undefined)
    throw new AppError('DATASTORE', `the store is the etcd at ${config.datastore}`, {
      hint: 'use etcdctl where it runs',
    });
  await refuseRunning(config);
  return config;
}

/** Until this process ends nobody starts the node. */
async function refuseRunning(config: Config): Promise<void> {
  if (await isRunning(config))
    throw new AppError('RUNNING', 'the node runs', {
      hint: 'stop it first: appliance down, or systemctl stop appliance',
    });
  lockNode(config);
}

const hex = (id: bigint): string => id.toString(16);

async function showStatus(store: Store, states: StoreUse['states'], output: OutputFormat): Promise<void> {
  const { cluster } = store;
  const found = store.status();
  const alarms = (await store.alarms()).map(({ memberId, type }) => ({ member: hex(memberId), type }));
  const known = await states();
  const memberStates = known.map(shownMember);
  const status = {
    clusterId: hex(cluster.clusterId),
    memberId: hex(cluster.memberId),
    leaderId: hex(cluster.leaderId),
    term: cluster.term,
    members: memberStates.length,
    revision: found.revision,
    keys: found.keys,
    appliedIndex: found.appliedIndex,
    databaseBytes: found.databaseBytes,
    databaseBytesInUse: found.databaseBytesInUse,
    alarms,
    memberStates,
  };
  const leader = memberStates.find(({ id }) => id === status.leaderId);
  print(output, status, () =>
    [
      columns([
        ['REVISION', 'KEYS', 'DATABASE', 'IN USE', 'LEADER', 'ALARMS'],
        [
          String(status.revision),
          String(status.keys),
          sizeWords(status.databaseBytes),
          sizeWords(status.databaseBytesInUse),
          status.leaderId === '0'
            ? 'none'
            : status.leaderId === status.memberId
              ? 'this member'
              : leader?.name || status.leaderId,
          alarms.map(({ type }) => type).join() || 'none',
        ],
      ]),
      ...(memberStates.length > 1 ? ['', memberTable(memberStates)] : []),
      ...lostMajority(known),
    ].join('\n'),
  );
}

interface ShownMember {
  readonly id: string;
  readonly name: string;
  readonly role: MemberState['role'];
  readonly state: MemberState['state'];
  readonly behind: number | null;
  readonly error: string | null;
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
  readonly learner: boolean;
  readonly leader: boolean;
}

function shownMember({ member, role, state, behind, error }: MemberState): ShownMember {
  const { id, name, node, peerUrls, clientUrls, learner } = member;
  return {
    id: hex(id),
    name: name || (node ?? ''),
    role,
    state,
    behind: behind ?? null,
    error: error ?? null,
    peerUrls,
    clientUrls,
    learner,
    leader: role === 'leader',
  };
}

function memberTable(members: readonly ShownMember[]): string {
  return columns([
    ['ID', 'NAME', 'ROLE', 'STATE', 'BEHIND', 'PEER', 'CLIENT'],
    ...members.map((member) => [
      member.id,
      member.name || '(added by hand)',
      member.role,
      member.state,
      member.behind === null ? '-' : member.behind === 0 ? 'no' : `${member.behind} entries`,
      member.peerUrls.join(),
      member.clientUrls.join(),
    ]),
  ]);
}

function showMembers(states: readonly MemberState[], output: OutputFormat): void {
  const members = states.map(shownMember);
  print(output, members, () => [memberTable(members), ...lostMajority(states)].join('\n'));
}

/** Lines for people when nobody can write. */
function lostMajority(states: readonly MemberState[]): string[] {
  const led = states.some(({ leaderId = 0n }) => leaderId !== 0n);
  return led ? [] : ['', wrapped(noLeaderText(states), process.stdout.columns)];
}

async function removeServer(store: Store, server: string, output: OutputFormat): Promise<void> {
  const members = store.cluster.members();
  const found = members.filter(({ id, name }) => hex(id) === server || name === server);
  const [member] = found;
  if (member === undefined || found.length > 1) {
    const known = members.map(({ id, name }) => name || hex(id)).join(', ');
    throw new AppError('NOT_FOUND', `${found.length === 0 ? 'no server of the store' : 'more than one'} is ${server}`, {
      hint: found.length === 0 ? `there are ${known}` : 'give its id: appliance store members',
    });
  }
  await store.cluster.removeMember(member.id);
  print(
    output,
    { id: hex(member.id), name: member.name },
    () => `${member.name || hex(member.id)} is no server of the store any more; before it joins again: appliance reset`,
  );
}

/** A directory that is not there may be a disk that is not mounted: the copy would lie where it does not belong. */
function refuseMissingParent(file: string | undefined): void {
  const directory = file === undefined ? undefined : dirname(resolve(file));
  if (directory !== undefined && !existsSync(directory))
    throw new AppError('USAGE', `the directory ${directory} is not there`, {
      hint: 'mount or make it, or name another file',
    });
}

async function saveOne(store: Store, config: Config, file: string | undefined, output: OutputFormat): Promise<void> {
  const path = resolve(
    file ?? join(config.snapshots.dir, `manual-${config.node.name}-${timeText(systemClock.now())}.db`),
  );
  if (existsSync(path)) throw new AppError('EXISTS', `${path} is there already`, { hint: 'Name another file.' });
  const { revision, bytes } = await saveSnapshot(store, path);
  print(output, { file: path, revision, bytes }, () => `${path}: revision ${revision}, ${sizeWords(bytes)}`);
}

function listSnapshots(config: Config, output: OutputFormat): void {
  const { dir } = config.snapshots;
  const names = existsSync(dir) ? readdirSync(dir).filter((name) => name.endsWith('.db')) : [];
  const found = names
    .map((name) => {
      const { size, mtime } = statSync(join(dir, name));
      return { file: join(dir, name), bytes: size, made: mtime.toISOString() };
    })
    .sort((a, b) => (a.made < b.made ? 1 : -1));
  print(output, found, () =>
    columns([['FILE', 'SIZE', 'MADE'], ...found.map(({ file, bytes, made }) => [file, sizeWords(bytes), made])]),
  );
}

function checkOne(file: string, output: OutputFormat): void {
  const found = { file: resolve(file), ...verifySnapshot(file), bytes: statSync(file).size };
  print(output, found, () =>
    columns([
      ['REVISION', 'KEYS', 'SIZE'],
      [String(found.revision), String(found.keys), sizeWords(found.bytes)],
    ]),
  );
}

async function restoreOne(command: Command, file: string, output: OutputFormat): Promise<void> {
  const config = await stoppedConfig(command);
  const paths = nodePaths(config.dataDir, config.runDir);
  const dir = paths.store;
  // Before anything is moved.
  verifySnapshot(file);
  const time = timeText(systemClock.now());
  const made = `${dir}.restored-${time}`;
  const { revision, keys } = await restoreStore({ from: file, dir: made, disk: systemDisk });
  const before = existsSync(dir) ? `${dir}.before-${time}` : undefined;
  if (before !== undefined) renameSync(dir, before);
  renameSync(made, dir);
  forgetMember(paths);
  await systemDisk.syncDirectory(config.dataDir);
  print(output, { revision, keys, before: before ?? null }, () =>
    [
      `The store is that of ${file}: revision ${revision}, ${keys} keys.`,
      ...(before === undefined ? [] : [`What was there is in ${before}; remove it when all is well.`]),
      'Start the node: appliance up. Other servers must be emptied and join anew.',
    ].join('\n'),
  );
}

async function compactTo(store: Store, asked: string | undefined, output: OutputFormat): Promise<void> {
  if (asked !== undefined && !/^\d{1,15}$/.test(asked))
    throw new AppError('USAGE', `${JSON.stringify(asked)} is no revision`, { hint: 'expected a number such as 4711' });
  const revision = asked === undefined ? store.revision : Number(asked);
  await store.compact(revision, { physical: true });
  print(output, { revision }, () => `history before revision ${revision} is gone`);
}

async function defragment(store: Store, output: OutputFormat): Promise<void> {
  const before = store.status().databaseBytes;
  await store.defragment();
  const after = store.status().databaseBytes;
  print(
    output,
    { bytesBefore: before, bytesAfter: after },
    () => `defragmented: ${sizeWords(before)} became ${sizeWords(after)}`,
  );
}

async function disarmAll(store: Store, output: OutputFormat): Promise<void> {
  const alarms = await store.alarms();
  for (const alarm of alarms) await store.disarmAlarm(alarm);
  const disarmed = alarms.map(({ memberId, type }) => ({ member: hex(memberId), type }));
  print(output, { disarmed }, () =>
    alarms.length === 0 ? 'there is no alarm' : `disarmed: ${alarms.map(({ type }) => type).join()}`,
  );
}

async function monReset(command: Command, output: OutputFormat): Promise<void> {
  const config = runningConfig(configArguments(command));
  await refuseRunning(config);
  const paths = nodePaths(config.dataDir, config.runDir);
  const dir = paths.instanceDir('mon');
  if (!existsSync(`${dir}/state.db`)) throw new AppError('NO_MON', `there is no store of a mon in ${dir}`);
  const { name } = monSelf(dir);
  await resetCluster({
    dir,
    disk: systemDisk,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    member: monMember(config, name),
  });
  keepSelf(dir, name);
  forgetMonRemoval(dir);
  print(
    output,
    { node: config.node.name, mon: name },
    () => `mon.${name} is the only mon now. Start it: appliance up. Machines of other mons must join anew.`,
  );
}

async function clusterReset(command: Command, output: OutputFormat): Promise<void> {
  const config = await stoppedConfig(command);
  const paths = nodePaths(config.dataDir, config.runDir);
  if (!existsSync(paths.store)) throw new AppError('NOT_SERVER', `there is no store in ${paths.store}`);
  await resetCluster({
    dir: paths.store,
    disk: systemDisk,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    member: controlMember(config),
  });
  forgetMember(paths);
  forgetRemoval(paths);
  print(
    output,
    { node: config.node.name },
    () =>
      'This server is the only member of the store now. Start it: appliance up. Other servers must be emptied and join anew.',
  );
}
