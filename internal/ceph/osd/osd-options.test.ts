import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { options } from '../mon/options.ts';
import { compressionDefaults } from './compression.ts';
import {
  configuredLeaseMs,
  defaultOsdOptions,
  osdOptionName,
  osdOptions,
  pgLogLimits,
  recoveryPace,
} from './osd-options.ts';
import { OsdSettings } from './osd-settings.ts';

/** Options of OSDs that other programs than OSDs act on, and who. */
const elsewhere: Readonly<Record<string, string>> = {
  osd_client_message_size_cap: 'nobody: the messenger bounds what is in memory itself',
  osd_crush_chooseleaf_type: 'the mon, when it makes its first rule',
  osd_crush_update_on_start: 'the mon, when an OSD boots',
  osd_mclock_max_capacity_iops_hdd: 'nobody: requests are not scheduled by mclock',
  osd_mclock_max_capacity_iops_ssd: 'nobody: requests are not scheduled by mclock',
  osd_memory_target: 'nobody: memory.osd of the node says how much an OSD has',
};

/** Sources of the OSD without tests. */
function sources(): string {
  const here = import.meta.dirname;
  return readdirSync(here, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !/\.(test|testing)\.ts$/.test(path))
    .map((path) => readFileSync(join(here, path), 'utf8'))
    .join('\n');
}

const fields = Object.keys(defaultOsdOptions) as (keyof typeof defaultOsdOptions)[];

test('every option of an OSD that can be set is read by an OSD, or it is known who acts on it', () => {
  const known = new Set([...fields.map(osdOptionName), ...Object.keys(compressionDefaults), ...Object.keys(elsewhere)]);
  const ofOsds = [...options.keys()].filter(
    (name) => /^(osd|bluestore|bdev)_/.test(name) && !/^osd_pool_default_(?!read_lease)/.test(name),
  );
  expect(ofOsds.filter((name) => !known.has(name))).toEqual([]);
  const text = sources();
  // Where it is declared, where its default is, and where somebody reads it.
  const uses = (field: string): number => text.match(new RegExp(`\\b${field}\\b`, 'g'))?.length ?? 0;
  expect(fields.filter((field) => uses(field) < 3)).toEqual([]);
});

test('every option that an OSD reads can be set, and has the default that the mon shows', () => {
  const shown = fields.map((field) => {
    const initial = options.get(osdOptionName(field))?.initial;
    return [field, initial === 'true' || initial === 'false' ? initial === 'true' : Number(initial)];
  });
  expect(Object.fromEntries(shown)).toEqual(defaultOsdOptions);
});

test('what is set for the process goes over what the mons say, and both are seen at once', () => {
  let central: ReadonlyMap<string, string> = new Map([['osd_max_backfills', '4']]);
  const settings = new OsdSettings(() => central);
  expect(settings.options.maxBackfills).toBe(4);
  expect(settings.set('osd_max_backfills', '7')).toBe("osd_max_backfills = '7' ");
  expect(settings.options.maxBackfills).toBe(7);
  expect(settings.set('osd_max_backfills', '7')).toBe('');
  central = new Map([
    ['osd_max_backfills', '5'],
    ['osd_recovery_sleep', '0.5'],
  ]);
  expect(settings.options).toMatchObject({ maxBackfills: 7, recoverySleep: 0.5 });
  expect(settings.diff().get('osd_max_backfills')).toEqual({ default: '1', mon: '5', override: '7', final: '7' });
  expect(settings.set('osd_max_backfills', undefined)).toBe("osd_max_backfills = '5' ");
  expect(settings.options.maxBackfills).toBe(5);
  expect(settings.all().get('osd_heartbeat_grace')).toBe('20');
});

test('what cannot be is refused by name', () => {
  const settings = new OsdSettings(() => new Map());
  expect(() => settings.get('nosuch')).toThrow("error getting 'nosuch': (2) No such file or directory");
  expect(() => settings.set('nosuch', '1')).toThrow("error setting 'nosuch' to '1': (2) No such file or directory");
  expect(() => settings.set('osd_max_backfills', 'many')).toThrow('many');
});

test('leases follow the grace; the pace of recovery the disk and whether clients wait; logs the number of PGs', () => {
  const of = (given: Record<string, string>) => osdOptions(new Map(Object.entries(given)));
  expect(configuredLeaseMs(of({}))).toBe(16_000);
  expect(configuredLeaseMs(of({ osd_heartbeat_grace: '10' }))).toBe(8000);
  expect(configuredLeaseMs(of({ osd_heartbeat_grace: '0' }))).toBe(16_000);
  const idle = { rotating: false, busy: false };
  expect(recoveryPace(of({}), idle)).toEqual({ maxActive: 10, sleepMs: 0 });
  expect(recoveryPace(of({}), { ...idle, rotating: true })).toEqual({ maxActive: 3, sleepMs: 100 });
  expect(recoveryPace(of({ osd_recovery_max_active: '40' }), { ...idle, busy: true }).maxActive).toBe(2);
  expect(recoveryPace(of({ osd_recovery_op_priority: '63' }), { ...idle, busy: true }).maxActive).toBe(5);
  expect(recoveryPace(of({ osd_recovery_sleep: '0.2' }), idle).sleepMs).toBe(200);
  expect(pgLogLimits(of({}), 8)).toEqual({ clean: 500, degraded: 5000 });
  expect(pgLogLimits(of({}), 10_000)).toEqual({ clean: 100, degraded: 250 });
  expect(pgLogLimits(of({ osd_min_pg_log_entries: '2000' }), 300)).toEqual({ clean: 2000, degraded: 2000 });
});
