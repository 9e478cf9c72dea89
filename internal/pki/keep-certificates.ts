import { type Clock, sleep } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

/** Looked at so often: an address that changed is in the certificates soon after. */
export const addressCheckMs = 60_000;
/** The certificates themselves are looked at so often, and after an address has changed. */
export const certificateCheckMs = 3_600_000;

/**
 * Keeps certificates good while a program runs: calls `ensure` every hour, and within a minute of a change of the machine's addresses; what failed is tried
 * again a minute later. `ensure` renews what has to be and returns what is new, for `changed`. Ends when `stopping` aborts.
 */
export async function keepCertificates(options: {
  addresses: () => readonly string[];
  ensure: (addresses: readonly string[]) => Promise<readonly string[]>;
  changed: (names: readonly string[]) => void;
  clock: Clock;
  log: Logger;
  stopping: AbortSignal;
}): Promise<void> {
  const { clock, log, stopping } = options;
  let seen = options.addresses().join();
  let checkedMs = clock.now();
  while (!stopping.aborted) {
    await sleep(clock, addressCheckMs, stopping);
    if (stopping.aborted) return;
    const addresses = options.addresses();
    const now = clock.now();
    // By the wall clock: certificates end by it, also after a jump.
    if (addresses.join() === seen && Math.abs(now - checkedMs) < certificateCheckMs) continue;
    try {
      const names = await options.ensure(addresses);
      if (names.length > 0) {
        log.info('certificates renewed', { names: names.join(), addresses: addresses.join() });
        options.changed(names);
      }
      seen = addresses.join();
      checkedMs = now;
    } catch (error) {
      log.warn('certificates could not be renewed; tried again in a minute', { error: errorText(error) });
    }
  }
}
