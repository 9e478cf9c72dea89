import { describe, expect, test } from 'vitest';
import { haveRecorded } from '../crush/recorded.testing.ts';
import { KnownOptions, options, parseOption } from './options.ts';
import { answerOf, findRun, runsOf } from './recorded.testing.ts';
import { readUpstreamOptions } from './upstream-options-system.ts';

const upstream = new Map(readUpstreamOptions().map((option) => [option.name, option]));
const known = new KnownOptions(readUpstreamOptions);

/** Options that are not as in 16.2.15, each with the reason. */
const otherwise: Readonly<Record<string, string>> = {
  mon_cluster_log_level: 'later releases have it; 16.2.15 has one for files and one for syslog',
  osd_pool_default_pg_autoscale_mode: 'off, because pools here begin with the pg_num that they should have',
  auth_allow_insecure_global_id_reclaim: 'false: no client of this age is let in',
  osd_min_pg_log_entries: '100: logs are in memory, on machines with little of it',
  osd_max_pg_log_entries: '5000, for the same reason',
  osd_target_pg_log_entries_per_osd: '60000, for the same reason',
  log_to_stderr: 'true: the supervisor keeps what a role says',
};

test('what is acted on here has the type, level and default of 16.2.15', () => {
  for (const name of Object.keys(otherwise)) expect([name, options.has(name)]).toEqual([name, true]);
  for (const { initial, level, name, type } of options.values()) {
    if (otherwise[name] !== undefined) continue;
    const { initial: theirs, level: theirLevel, type: theirType } = upstream.get(name) ?? {};
    expect({ name, initial, level, type }).toEqual({ name, initial: theirs, level: theirLevel, type: theirType });
  }
});

test('every other option of 16.2.15 is known, with its bounds', () => {
  expect(known.find('rgw_keystone_url')).toMatchObject({ type: 'str', isFixed: false });
  expect(known.find('mon_warn_on_msgr2_not_enabled')).toMatchObject({ type: 'bool', initial: 'true' });
  expect(known.find('mon_data')?.isFixed).toBe(true);
  expect(known.find('nosuchoption')).toBeUndefined();
  const factor = known.find('mon_lease_ack_timeout_factor')!;
  expect(parseOption(factor, '2')).toBe('2.000000');
  expect(() => parseOption(factor, '1')).toThrow("Value '1.000000' is below minimum 1.0001");
  expect(() => parseOption(factor, '101')).toThrow("Value '101.000000' exceeds maximum 100");
  const strategy = [...upstream.values()].find(({ choices }) => choices !== undefined)!;
  expect(() => parseOption(strategy, 'nonsense')).toThrow('is not one of the permitted values');
});

describe.skipIf(!haveRecorded)('config ls', () => {
  test('lists what a real cluster lists, but for the options of mgr modules', () => {
    const run = findRun(runsOf('b-once'), 'config ls', 'plain')!;
    const recorded = answerOf(run)
      .trim()
      .split('\n')
      .filter((name) => !name.startsWith('mgr/'));
    const listed = known.upstream.filter(({ type }) => type !== 'debug').map(({ name }) => name);
    expect(listed).toEqual(recorded);
  });
});
