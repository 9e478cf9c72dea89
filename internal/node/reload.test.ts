import { describe, expect, test } from 'vitest';
import type { Config, OsdConfig } from '../config/config.ts';
import { planReload } from './reload.ts';
import { standardConfig } from './standard-config.testing.ts';

const base = standardConfig();
const osd = (id: number): OsdConfig => ({ id, directory: `/mnt/${id}` });
const withOsds = (...list: OsdConfig[]): Config => ({ ...base, storage: { ...base.storage, osd: list } });

describe('a changed configuration while the node runs', () => {
  test('nothing changed: nothing to do', () => {
    expect(planReload(base, structuredClone(base))).toEqual({ config: base, applied: [], restart: [] });
  });

  test('log level and memory budgets hold at once', () => {
    const after: Config = { ...base, logLevel: 'debug', memory: { ...base.memory, osd: 1 << 30, mon: 0 } };
    expect(planReload(base, after)).toEqual({
      config: after,
      applied: ['logLevel', 'memory.mon', 'memory.osd'],
      restart: [],
    });
    expect(planReload(after, base).config).toEqual(base);
  });

  test('an OSD comes, one goes; the others are not touched', () => {
    const plan = planReload(withOsds(osd(0), osd(1)), withOsds(osd(1), osd(2)));
    expect(plan.config.storage.osd).toEqual([osd(1), osd(2)]);
    expect(plan.applied).toEqual(['storage.osd (osd.2)', 'storage.osd (osd.0)']);
    expect(plan.restart).toEqual([]);
  });

  test('an OSD that would move keeps its place until the restart', () => {
    const plan = planReload(withOsds(osd(0)), withOsds({ id: 0, directory: '/elsewhere' }));
    expect(plan.config.storage.osd).toEqual([osd(0)]);
    expect(plan).toMatchObject({ applied: [], restart: ['storage.osd (osd.0)'] });
  });

  test('the rest needs a restart and does not change by half', () => {
    const after: Config = {
      ...base,
      ports: { ...base.ports, api: 7443 },
      roles: ['mon'],
      logLevel: 'warn',
      storage: { ...base.storage, replication: 1 },
    };
    const plan = planReload(base, after);
    expect(plan.restart).toEqual(['ports.api', 'roles', 'storage.replication']);
    expect(plan.applied).toEqual(['logLevel']);
    expect(plan.config).toEqual({ ...base, logLevel: 'warn' });
  });
});
