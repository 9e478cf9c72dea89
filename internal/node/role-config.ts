import type { Config } from '../config/config.ts';

/**
 * What a role's process is told of the configuration: everything but secrets that are not its own (`secret` and `role` of the rows in
 * `config/keys.ts`, which is not loaded here: it is large, and the supervisor is small).
 */
export function roleConfig(config: Config, role: string): Config {
  // What a node joins with is no role's business.
  const { token: _, ...given } = config;
  // It is in a keyring, and there it is read.
  const { key: _key, ...externalCeph } = given.externalCeph;
  if (role === 'server') return { ...given, externalCeph };
  const { s3AccessKey: _access, s3SecretKey: _secret, ...snapshots } = given.snapshots;
  return { ...given, externalCeph, snapshots };
}
