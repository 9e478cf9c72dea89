import { utf8Text } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { readFileIfThere, writeFileAtomic } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { parseCryptoKey } from '../ceph/auth/crypto.ts';
import { formatKeyring } from '../ceph/auth/keyring.ts';
import { joinedMgr } from '../ceph/mgr/name.ts';
import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import { connectMonAs } from './ceph-connect-client.ts';

const monMs = 30_000;

/** The key of a joined node's mgr, got once from the mons as client.admin and kept (0600). Errors: MON, NO_MON, KEYRING. */
export async function ensureMgrKey(config: Config, paths: Paths, log: Logger): Promise<void> {
  const entity = `mgr.${joinedMgr(config.node.name)}`;
  if (readFileIfThere(paths.keyring(entity)) !== undefined) return;
  const mon = await connectMonAs(paths, 'client.admin', log, monMs);
  try {
    const caps = { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' };
    const answer = await mon.command({
      prefix: 'auth get-or-create',
      entity,
      caps: Object.entries(caps).flat(),
      format: 'json',
    });
    if (answer.code !== 0)
      throw new AppError('MON', `the mon gives no key for ${entity}: ${answer.status || `error ${answer.code}`}`);
    const [{ key }] = JSON.parse(utf8Text(answer.output)) as [{ key: string }];
    writeFileAtomic(
      paths.keyring(entity),
      formatKeyring(new Map([[entity, { key: parseCryptoKey(key), caps }]])),
      0o600,
    );
    log.info('the mon gave a key', { entity });
  } finally {
    await mon.close();
  }
}
