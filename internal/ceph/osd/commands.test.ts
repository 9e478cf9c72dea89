import { expect, test } from 'vitest';
import type { Transaction } from '../blockstore/api.ts';
import type { BlockStoreStatus } from '../blockstore/blockstore.ts';
import { haveRecorded, recordedJson } from '../crush/recorded.testing.ts';
import type { Command, CommandTarget } from './command-target.ts';
import { commandPrefixes, runCommand } from './commands.ts';
import { OsdSettings } from './osd-settings.ts';
import { singleOsd } from './sim/single.testing.ts';

interface Told {
  logged: string[];
  changed: number;
  beacons: number;
  queued: Transaction[];
}

/** An OSD of a simulated cluster as commands see it. */
async function target(): Promise<{ target: CommandTarget; told: Told }> {
  const cluster = await singleOsd();
  const sim = cluster.osds[0]!;
  const told: Told = { logged: [], changed: 0, beacons: 0, queued: [] };
  let nowMs = 1000;
  return {
    told,
    target: {
      whoami: 0,
      fsid: 'f',
      uuid: 'u',
      version: 'ceph version 16.2.15',
      clock: {
        now: () => 1_700_000_000_000,
        monotonic: () => (nowMs += 10),
        after: () => ({ cancel: () => undefined }),
      },
      osd: sim.osd!,
      store: {
        statfs: () => ({ ...noSpace, totalBytes: 2 ** 40, availableBytes: 2 ** 39 }),
        status: () => ({ memoryBytes: 5 }) as BlockStoreStatus,
        checkpoint: async () => undefined,
        queue: async (transaction) => void told.queued.push(transaction),
      },
      settings: new OsdSettings(() => new Map()),
      settingsChanged: () => void told.changed++,
      memory: () => ({ rss: 7 }),
      up: () => true,
      mapEpochs: () => ({ oldest: 1, newest: 9 }),
      pings: () => [{ osd: 3, back: pings(1_500_000), front: pings(10) }],
      flushStats: () => 42,
      sendBeacon: () => void told.beacons++,
      clusterLog: (_level, text) => void told.logged.push(text),
    },
  };
}

const noSpace = {
  objects: 0,
  totalBytes: 0,
  availableBytes: 0,
  dataBytes: 0,
  allocatedBytes: 0,
  omapBytes: 0,
  metaBytes: 0,
  compressed: { stored: 0, allocated: 0, original: 0 },
};

const three = (micros: number): [number, number, number] => [micros, micros, micros];
const pings = (micros: number) => ({
  updatedSec: 1_700_000_000,
  average: three(micros),
  least: three(micros),
  most: three(micros),
  last: micros,
});

async function tell(of: CommandTarget, prefix: string, given: Record<string, unknown> = {}): Promise<unknown> {
  const { code, status, output } = await runCommand(of, JSON.stringify({ prefix, ...given }), true);
  if (code !== 0) return [code, status];
  return output === '' ? status : JSON.parse(output);
}

test.skipIf(!haveRecorded)('every command of an OSD of 16.2.15 is there, or refused by its name', async () => {
  const described = recordedJson<Record<string, Pick<Command, 'sig'>>>('descriptions/tell-osd.0.json.gz');
  const names = Object.values(described).map(({ sig }) => sig.filter((part) => typeof part === 'string').join(' '));
  const here = new Set(commandPrefixes());
  expect([...new Set(names)].filter((name) => !here.has(name))).toEqual([]);
});

test("answers have upstream's shape", async () => {
  const { target: osd, told } = await target();
  expect(await tell(osd, 'status')).toEqual({
    cluster_fsid: 'f',
    osd_fsid: 'u',
    whoami: 0,
    state: 'active',
    oldest_map: 1,
    cluster_osdmap_trim_lower_bound: 1,
    newest_map: 9,
    num_pgs: 1,
  });
  expect(await tell(osd, 'dump_ops_in_flight')).toEqual({ ops: [], num_ops: 0 });
  expect(await tell(osd, 'dump_blocked_ops')).toEqual({ ops: [], complaint_time: 30, num_blocked_ops: 0 });
  expect(await tell(osd, 'dump_historic_ops')).toEqual({ size: 20, duration: 600, ops: [] });
  expect(await tell(osd, 'get_heap_property', { property: 'generic.heap_size' })).toEqual({
    error: 'invalid property',
    success: false,
    value: 0,
  });
  expect(await tell(osd, 'get_mapped_pools')).toEqual([1]);
  expect(await tell(osd, 'log', {})).toEqual([-95, "'log' is not supported by this OSD"]);
  expect(await tell(osd, 'log dump')).toEqual({});
  expect(await tell(osd, 'get_latest_osdmap')).toBe('');
  expect(await tell(osd, 'flush_pg_stats')).toBe(42);
  expect(await tell(osd, 'dump_recovery_reservations')).toEqual({
    local_reservations: { max_allowed: 1, min_priority: 0, queues: [], in_progress: [] },
  });
  expect(await tell(osd, 'list_unfound', { pgid: '1.0' })).toMatchObject({ num_unfound: 0, objects: [], more: false });
  expect(await tell(osd, 'pg', { pgid: '1.0', cmd: 'query' })).toMatchObject({ state: 'active+clean' });
  expect(await tell(osd, 'debug dump_missing', { filename: 'x' })).toEqual([[]]);
  await tell(osd, 'send_beacon');
  await tell(osd, 'cluster_log', { level: 'error', message: ['so', 'it', 'is'] });
  expect(told).toMatchObject({ beacons: 1, logged: ['so it is'] });
});

test('what is wrong is said by name', async () => {
  const { target: osd } = await target();
  expect(await tell(osd, 'list_unfound')).toEqual([-22, 'no pgid specified']);
  expect(await tell(osd, 'scrub', { pgid: 'x' })).toEqual([-22, "couldn't parse pgid 'x'"]);
  expect(await tell(osd, 'query', { pgid: '9.0' })).toEqual([-2, "i don't have pgid 9.0"]);
  expect(await tell(osd, 'truncobj')).toEqual([
    -95,
    expect.stringContaining("'truncobj' is not supported by this OSD"),
  ]);
  expect(await tell(osd, 'list_unfound', { pgid: '1.0', offset: '{' })).toEqual([
    -22,
    expect.stringContaining('offset'),
  ]);
  expect(await tell(osd, 'cluster_log', { level: 'error' })).toEqual([-22, 'ignoring empty log message']);
  const denied = await runCommand(osd, '{"prefix": "status"}', false);
  expect(denied.code).toBe(-13);
});

test('settings are shown and changed as upstream says it', async () => {
  const { target: osd, told } = await target();
  expect(await tell(osd, 'config get', { var: 'osd_max_backfills' })).toEqual({ osd_max_backfills: '1' });
  expect(await tell(osd, 'config set', { var: 'osd_max_backfills', val: ['2'] })).toEqual({
    success: "osd_max_backfills = '2' ",
  });
  expect(await tell(osd, 'config set', { var: 'osd_max_backfills', val: ['2'] })).toEqual({ success: '' });
  const injected = { prefix: 'injectargs', injected_args: ['--osd_recovery_sleep=0'] };
  expect(await runCommand(osd, JSON.stringify(injected), true)).toEqual({
    code: 0,
    status: "osd_recovery_sleep = '0.000000' ",
    output: '{}\n',
  });
  expect(told.changed).toBe(2);
  expect(await tell(osd, 'dump_recovery_reservations')).toMatchObject({ local_reservations: { max_allowed: 1 } });
  expect(await tell(osd, 'config show')).toMatchObject({ name: 'osd.0', cluster: 'ceph', osd_max_backfills: '2' });
  expect(await tell(osd, 'config get', { var: 'nosuch' })).toEqual([
    -2,
    "error getting 'nosuch': (2) No such file or directory",
  ]);
  expect(await tell(osd, 'injectargs', { injected_args: ['--nosuch=1'] })).toEqual([
    -22,
    ' failed to parse arguments: --nosuch=1\n',
  ]);
});

test('slow ways to other OSDs are shown, slowest first', async () => {
  const { target: osd } = await target();
  expect(await tell(osd, 'dump_osd_network')).toMatchObject({
    threshold: 1000,
    entries: [{ 'from osd': 0, 'to osd': 3, interface: 'back', average: { '1min': 1500 }, last: 1500 }],
  });
  expect(await tell(osd, 'dump_osd_network', { value: 0 })).toMatchObject({ entries: [{}, { interface: 'front' }] });
});

test('a bench writes what it was asked for, and leaves nothing', async () => {
  const { target: osd, told } = await target();
  const done = await tell(osd, 'bench', { count: 1_048_576, size: 65_536 });
  expect(done).toMatchObject({ bytes_written: 1_048_576, blocksize: 65_536 });
  const ops = told.queued.flatMap((transaction) => transaction.ops);
  const count = (kind: string): number => ops.filter(({ op }) => op === kind).length;
  expect([count('write'), count('remove'), count('create-collection'), count('remove-collection')]).toEqual([
    16, 16, 1, 1,
  ]);
  expect(await tell(osd, 'bench', { count: 2 ** 40 })).toEqual([-22, expect.stringContaining('count')]);
  expect(await tell(osd, 'bench', { size: 2 ** 30 })).toEqual([-22, expect.stringContaining('size')]);
});
