import { describe, expect, test } from 'vitest';
import type { Config, OsdConfig } from '../config/config.ts';
import { configChanges } from '../config/changes.ts';
import { planReload, type ReloadPlan } from './reload.ts';
import { standardConfig } from './standard-config.testing.ts';

const base = standardConfig();
const everyRole = new Set(['mon', 'mgr', 'osd', 'server', 'containerd', 'agent', 'edge']);
const plan = (before: Config, after: Config): ReloadPlan =>
  planReload(before, after, configChanges(before, after), everyRole);
const osd = (id: number): OsdConfig => ({ id, directory: `/mnt/${id}` });
const withOsds = (...list: OsdConfig[]): Config => ({ ...base, storage: { ...base.storage, osd: list } });

describe('a changed configuration while the node runs', () => {
  test('nothing changed: nothing to do', () => {
    expect(plan(base, structuredClone(base))).toEqual({ config: base, applied: [], restart: [] });
  });

  test('log level and memory budgets hold at once', () => {
    const after: Config = { ...base, logLevel: 'debug', memory: { ...base.memory, osd: 1 << 30, mon: 0 } };
    expect(plan(base, after)).toEqual({
      config: after,
      applied: ['logLevel', 'memory.mon', 'memory.osd'],
      restart: [],
    });
    expect(plan(after, base).config).toEqual(base);
  });

  test('an OSD comes, one goes; the others are not touched', () => {
    const planned = plan(withOsds(osd(0), osd(1)), withOsds(osd(1), osd(2)));
    expect(planned.config.storage.osd).toEqual([osd(1), osd(2)]);
    expect(planned.applied).toEqual(['storage.osd (osd.2)', 'storage.osd (osd.0)']);
    expect(planned.restart).toEqual([]);
  });

  test('an OSD that would move keeps its place until the restart', () => {
    const planned = plan(withOsds(osd(0)), withOsds({ id: 0, directory: '/elsewhere' }));
    expect(planned.config.storage.osd).toEqual([osd(0)]);
    expect(planned).toMatchObject({ applied: [], restart: ['storage.osd (osd.0)'] });
  });

  test('the rest needs a restart and does not change by half', () => {
    const after: Config = {
      ...base,
      ports: { ...base.ports, api: 7443 },
      roles: ['mon'],
      logLevel: 'warn',
      storage: { ...base.storage, replication: 1 },
    };
    const planned = plan(base, after);
    expect(planned.restart).toEqual(['roles', 'ports.api (server, agent, edge)', 'storage.replication (mon, mgr)']);
    expect(planned.applied).toEqual(['logLevel']);
    expect(planned.config).toEqual({ ...base, logLevel: 'warn' });
  });
});
