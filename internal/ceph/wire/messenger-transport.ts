import { bunNetwork } from './bun-transport.ts';
import type { Messenger, MessengerOptions } from './messenger.ts';
import { MessengerCore } from './messenger-core.ts';

/** A messenger over TCP (msgr2.1, CRC and secure mode). */
export function createMessenger(options: MessengerOptions): Messenger {
  return new MessengerCore(options, bunNetwork);
}
