import { expect, test } from 'vitest';
import { keyPaths, keys } from '../config/keys.ts';
import { roleConfig } from './role-config.ts';
import { roleTable } from './role-table.ts';
import { standardConfig } from './standard-config.testing.ts';

test('secrets of the configuration reach no role but the one that they are for', () => {
  const secrets = keyPaths.filter((path) => keys[path].secret);
  const config = {
    ...standardConfig(),
    token: 'secret of token',
  };
  const given = {
    ...config,
    externalCeph: { ...config.externalCeph, key: 'secret of externalCeph.key' },
    snapshots: {
      ...config.snapshots,
      s3AccessKey: 'secret of snapshots.s3AccessKey',
      s3SecretKey: 'secret of snapshots.s3SecretKey',
    },
  };
  for (const path of secrets) expect(JSON.stringify(given)).toContain(`secret of ${path}`);
  for (const { role } of roleTable) {
    const told = JSON.stringify(roleConfig(given, role));
    expect(secrets.filter((path) => told.includes(`secret of ${path}`))).toEqual(
      secrets.filter((path) => keys[path].role === role),
    );
  }
});
