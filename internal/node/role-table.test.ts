import { expect, test } from 'vitest';
import { engineEnvironment, instanceSpecs, roleTable } from './role-table.ts';
import { standardConfig } from './standard-config.testing.ts';

test('the engine takes what each role tells it', async () => {
  for (const entry of roleTable.filter(({ run }) => run.kind === 'module')) {
    const told = engineEnvironment(entry, standardConfig());
    expect(told.BUN_JSC_forceRAMSize, entry.role).toBeDefined();
    const child = Bun.spawn([process.execPath, '-e', '0'], {
      env: { ...told, BUN_JSC_dumpOptions: '2' },
      stdout: 'pipe',
      stderr: 'pipe',
    });
    const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    expect({ role: entry.role, code }).toEqual({ role: entry.role, code: 0 });
    const options = new Map(
      [...`${out}\n${err}`.matchAll(/^\s*(\w+)=(\S+)/gm)].map(([, name, value]) => [name, value]),
    );
    for (const [name, value] of Object.entries(told)) {
      const option = name.replace(/^BUN_JSC_/, '');
      if (option === name) continue;
      expect(options.get(option), `${entry.role} ${option}`).toBe(value === '0' ? 'false' : value);
    }
  }
});

test('with the engine ceph the storage roles are programs of the user ceph, with the same names, needs and deadlines', () => {
  const ours = instanceSpecs(standardConfig());
  const theirs = instanceSpecs(standardConfig('storage: {engine: ceph}'));
  const order = (specs: typeof ours) => specs.map(({ entry: _entry, ...spec }) => spec);
  expect(order(theirs)).toEqual(order(ours));
  const changed = theirs.filter(({ entry }) => entry.user === 'ceph').map(({ name, entry }) => [name, entry.run.kind]);
  expect(changed).toEqual(['mon', 'mgr', 'osd.0', 'osd.1', 'osd.2'].map((name) => [name, 'program']));
  expect(ours.some(({ entry }) => entry.user === 'ceph')).toBe(false);
});
