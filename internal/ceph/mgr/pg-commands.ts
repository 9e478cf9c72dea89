import { AppError } from '../../base/errors.ts';
import type { CommandResult } from '../client/api.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { pgText } from '../wire/types.ts';
import type { Adjustments, Wishes } from './pg-adjust.ts';

interface MonCommands {
  command(command: Record<string, unknown>): Promise<CommandResult>;
}

/** Has the mon make the changes; `wishes` of the autoscaler first. Errors: those of the mon. */
export async function carryOut(mon: MonCommands, map: OsdMap, changes: Adjustments, wishes: Wishes): Promise<void> {
  const run = async (command: Record<string, unknown>): Promise<void> => {
    const { code, status } = await mon.command(command);
    if (code < 0) throw new AppError('MON', `${JSON.stringify(command)}: ${status}`);
  };
  const set = (id: number, name: string, value: number): Promise<void> =>
    run({ prefix: 'osd pool set', pool: map.poolNames.get(id) ?? '', var: name, val: String(value) });
  for (const [id, pgNum] of wishes) await set(id, 'pg_num', pgNum);
  for (const [id, pgNum] of changes.pgNum) await set(id, 'pg_num_actual', pgNum);
  for (const [id, pgpNum] of changes.pgpNum) await set(id, 'pgp_num_actual', pgpNum);
  for (const pg of changes.clearUpmaps) await run({ prefix: 'osd rm-pg-upmap-items', pgid: pgText(pg) });
}
