import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { MonClient } from '../client/api.ts';
import { MMonGetOSDMap, type MMonGetOSDMapValue, MOSDMap, type MOSDMapValue } from '../wire/messages/mon.ts';

/** Resolves when a mon has taken the OSD in: there may be none yet. Rejects when it stops meanwhile. */
export async function startMon(mon: MonClient, log: Logger, stopping: () => boolean): Promise<void> {
  for (;;) {
    try {
      await mon.start(30_000);
      return;
    } catch (error) {
      if (stopping()) throw error;
      log.warn('no monitor answers yet', { error: errorText(error) });
    }
  }
}

/** Maps of the past, by a session of its own, which ends: an OSD needs them before it can begin. */
export async function fetchMaps(
  mon: MonClient,
  asked: MMonGetOSDMapValue,
  log: Logger,
  stopping: () => boolean,
): Promise<MOSDMapValue> {
  const found = Promise.withResolvers<MOSDMapValue>();
  mon.on(MOSDMap, found.resolve);
  mon.onSession(() => mon.send(MMonGetOSDMap, asked));
  try {
    await startMon(mon, log, stopping);
    return await found.promise;
  } finally {
    await mon.close();
  }
}
