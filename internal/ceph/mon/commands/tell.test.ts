import * as fs from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8Text } from '../../../base/bytes.ts';
import type { MonClient } from '../../client/api.ts';
import { MCommand, MCommandReply } from '../../wire/messages/command.ts';
import { haveRecorded } from '../../crush/recorded.testing.ts';
import { recordedRoot } from '../recorded.testing.ts';
import { fsid, Harness } from '../role.testing.ts';

/** `ceph tell mon.a …` of a mon on loopback. */

const harness = new Harness();
let admin: MonClient;

beforeAll(async () => {
  await harness.start();
  admin = await harness.client('client.admin');
});
afterAll(async () => {
  await harness.stop();
  fs.rmSync(harness.data, { recursive: true, force: true });
});

let nextTid = 1;

async function tell(command: Record<string, unknown>): Promise<{ code: number; status: string; output: string }> {
  const tid = nextTid++;
  const answered = new Promise<{ code: number; status: string; output: Uint8Array }>((resolve) => {
    admin.on(MCommandReply, (reply, message) => {
      if (message.tid === tid) resolve(reply);
    });
  });
  const value = { fsid, command: [JSON.stringify({ format: 'json', ...command })], input: new Uint8Array(0) };
  admin.connection!.send(MCommand, value, { tid });
  const { code, output, status } = await answered;
  return { code, status, output: utf8Text(output) };
}

const get = async (name: string): Promise<unknown> =>
  JSON.parse((await tell({ prefix: 'config get', var: name })).output);

test('only what is told is listed, and has its own arguments', async () => {
  const { output } = await tell({ prefix: 'get_command_descriptions' });
  const signatures = Object.values(JSON.parse(output) as Record<string, { sig: unknown[] }>).map(({ sig }) => sig);
  const words = signatures.map((sig) => sig.filter((part) => typeof part === 'string').join(' '));
  expect(words).toEqual(expect.arrayContaining(['config get', 'config set', 'injectargs', 'mon_status', 'sessions']));
  expect(words).not.toContain('osd tree');
  expect(signatures.filter((sig) => sig[0] === 'config' && sig[1] === 'get')).toEqual([
    ['config', 'get', { name: 'var', type: 'CephString' }],
  ]);
});

test('a setting of this process: changed, shown, taken back; the central one counts again', async () => {
  expect(await get('mon_osd_down_out_interval')).toEqual({ mon_osd_down_out_interval: '600' });
  const set = await tell({ prefix: 'config set', var: 'mon_osd_down_out_interval', val: ['30'] });
  expect(JSON.parse(set.output)).toEqual({ success: "mon_osd_down_out_interval = '30' " });
  expect(await get('mon_osd_down_out_interval')).toEqual({ mon_osd_down_out_interval: '30' });
  await admin.command({ prefix: 'config set', who: 'mon', name: 'mon_osd_down_out_interval', value: '90' });
  expect(await get('mon_osd_down_out_interval')).toEqual({ mon_osd_down_out_interval: '30' });
  const { diff } = JSON.parse((await tell({ prefix: 'config diff' })).output) as { diff: object };
  expect(diff).toMatchObject({ mon_osd_down_out_interval: { default: '600', mon: '90', override: '30', final: '30' } });
  await tell({ prefix: 'config unset', var: 'mon_osd_down_out_interval' });
  expect(await get('mon_osd_down_out_interval')).toEqual({ mon_osd_down_out_interval: '90' });
  const shown = JSON.parse((await tell({ prefix: 'config show' })).output) as object;
  expect(shown).toMatchObject({ name: 'mon.a', cluster: 'ceph', mon_osd_down_out_interval: '90' });
});

test('injectargs takes options of a command line, and refuses what is none', async () => {
  const done = await tell({
    prefix: 'injectargs',
    injected_args: ['--mon_max_pg_per_osd=7', '--mon-pg-stuck-threshold', '9'],
  });
  expect(done).toEqual({ code: 0, status: "mon_max_pg_per_osd = '7' \nmon_pg_stuck_threshold = '9' ", output: '{}' });
  expect(await get('mon_max_pg_per_osd')).toEqual({ mon_max_pg_per_osd: '7' });
  expect(await tell({ prefix: 'injectargs', injected_args: ['--nosuch=1'] })).toMatchObject({
    code: -22,
    status: ' failed to parse arguments: --nosuch=1\n',
  });
  expect(await tell({ prefix: 'config get', var: 'nosuch' })).toMatchObject({
    code: -2,
    status: "error getting 'nosuch': (2) No such file or directory",
  });
  expect(await tell({ prefix: 'config set', var: 'nosuch', val: ['1'] })).toMatchObject({
    code: -2,
    status: "error setting 'nosuch' to '1': (2) No such file or directory",
  });
  expect((await tell({ prefix: 'config set', var: 'mon_max_pg_per_osd', val: ['x'] })).code).toBe(-22);
});

/** What upstream's developers have for themselves; an older protocol; what the tool or the socket answers. */
const notServed = [
  ...['0', '1', '2', 'perfcounters_dump', 'perfcounters_schema'],
  ...['abort', 'assert', 'leak_some_memory'],
  ...['get_command_descriptions', 'git_version', 'help'],
];

test.skipIf(!haveRecorded)('all that a real mon is told is served, or refused by name', async () => {
  const bytes = fs.readFileSync(`${recordedRoot}descriptions/tell-mon.a.json.gz`);
  const wordsOf = (text: string): string[] =>
    Object.values(JSON.parse(text) as Record<string, { sig: unknown[] }>).map(({ sig }) =>
      sig.filter((part) => typeof part === 'string').join(' '),
    );
  const ours = wordsOf((await tell({ prefix: 'get_command_descriptions' })).output);
  const isHere = (words: string): boolean => ours.some((one) => words === one || words.startsWith(`${one} `));
  const missing = wordsOf(gunzipSync(bytes).toString()).filter((words) => !isHere(words));
  expect(missing.sort()).toEqual(notServed.toSorted());
});

test('sessions, requests and counters of this mon', async () => {
  const json = async (prefix: string): Promise<unknown> => JSON.parse((await tell({ prefix })).output);
  const sessions = (await json('sessions')) as Record<string, unknown>[];
  expect(sessions.find(({ entity_name: name }) => name === 'client.admin')).toMatchObject({
    con_type: 'client',
    con_features_hex: '3f01cfb9fffdffff',
    open: true,
    caps: { text: 'allow *' },
    authenticated: true,
  });
  const { num_ops: count, ops } = (await json('ops')) as { num_ops: number; ops: unknown[] };
  expect(count).toBe(ops.length);
  const past = (await json('dump_historic_ops')) as { size: number; duration: number; ops: unknown[] };
  expect([past.size, past.duration, past.ops.length > 0]).toEqual([20, 600, true]);
  expect(await json('dump_historic_slow_ops')).toMatchObject({ 'num to keep': 20, 'threshold to keep': 10 });

  const dump = (await json('perf dump')) as Record<string, Record<string, number>>;
  const schema = (await json('perf schema')) as typeof dump;
  expect(dump.cluster).toMatchObject({ num_mon: 1, num_mon_quorum: 1, num_osd: 0, num_pool: 0 });
  expect(Object.keys(schema.mon!)).toEqual(Object.keys(dump.mon!));
  const one = await tell({ prefix: 'perf dump', logger: 'mon', counter: 'num_sessions' });
  expect(JSON.parse(one.output)).toEqual({ mon: { num_sessions: expect.any(Number) as number } });
});

test('what is not here says why', async () => {
  expect(await tell({ prefix: 'heap', heapcmd: 'stats' })).toMatchObject({
    code: -95,
    status: 'could not issue heap profiler command -- not using tcmalloc!',
  });
  expect(await tell({ prefix: 'sync_force' })).toMatchObject({ code: -95 });
  expect((await tell({ prefix: 'add_bootstrap_peer_hint', addr: '10.0.0.1' })).output).toBe(
    'mon already active; ignoring bootstrap hint\n',
  );
  expect(await tell({ prefix: 'config help', var: 'nosuch' })).toMatchObject({
    code: -2,
    status: "Setting not found: 'nosuch'",
  });
});

test('options of upstream that nothing here acts on are kept, shown, and told to be so', async () => {
  const run = async (command: Record<string, unknown>): Promise<[number, string, string]> => {
    const { code, output, status } = await admin.command(command);
    return [code, status, utf8Text(output)];
  };
  const set = { prefix: 'config set', who: 'client.rgw', name: 'rgw_keystone_verify_ssl', value: 'no' };
  const said = 'is kept, shown and given to clients: no daemon of this version acts on it';
  expect(await run(set)).toEqual([0, `rgw_keystone_verify_ssl ${said}`, '']);
  expect(await run({ prefix: 'config get', who: 'client.rgw', key: 'rgw_keystone_verify_ssl' })).toEqual([
    0,
    '',
    'false\n',
  ]);
  expect(await run({ prefix: 'config get', who: 'mds', key: 'mds_cache_memory_limit' })).toEqual([
    0,
    '',
    '4294967296\n',
  ]);
  expect((await run({ ...set, name: 'mon_lease_ack_timeout_factor', value: '0' }))[0]).toBe(-22);
  expect(await run({ ...set, name: 'mon_data', value: '/x' })).toEqual([
    -22,
    'mon_data is special and cannot be stored by the mon',
    '',
  ]);
  expect((await run({ ...set, name: 'nosuchoption' }))[1]).toBe("unrecognized config option 'nosuchoption'");
  const [, , help] = await run({ prefix: 'config help', key: 'rgw_keystone_verify_ssl' });
  expect(help).toContain(`rgw_keystone_verify_ssl - ${said}\n  (bool, advanced)\n  Default: true\n`);
});

test('a ceph.conf is taken over as far as its options are known; the rest comes back', async () => {
  const conf = [
    '[global]',
    'fsid = x ; a comment',
    'mon osd down out interval = 45',
    '# nothing',
    '[osd.1]',
    'osd_max_backfills = 3',
    'osd data = /x',
    'osd recovery sleep = no number',
    '[somebody]',
    'mon_max_pg_per_osd = 5',
  ].join('\n');
  const answer = await admin.command({ prefix: 'config assimilate-conf' }, new TextEncoder().encode(conf));
  expect([answer.code, utf8Text(answer.output)]).toEqual([
    0,
    '\n[global]\n\tfsid = x\n\n[osd.1]\n\tosd_data = /x\n\tosd_recovery_sleep = no number\n\n[somebody]\n\tmon_max_pg_per_osd = 5\n',
  ]);
  const of = async (who: string, key: string): Promise<string> =>
    utf8Text((await admin.command({ prefix: 'config get', who, key })).output).trim();
  expect([await of('osd.1', 'osd_max_backfills'), await of('osd.2', 'osd_max_backfills')]).toEqual(['3', '1']);
  expect(await of('osd.1', 'mon_osd_down_out_interval')).toBe('45');
});
