import * as fs from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8Text } from '../../../base/bytes.ts';
import type { MonClient } from '../../client/api.ts';
import { MCommand, MCommandReply } from '../../wire/messages/command.ts';
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
