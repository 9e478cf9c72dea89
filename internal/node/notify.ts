/** The notification protocol of a service manager: sd_notify(3), sd_watchdog_enabled(3), and unix(7) for addresses. */

/** Assignments of one message, in order. */
export type NotifyFields = Readonly<Record<string, string | number | bigint>>;

/** A line an assignment; a value is one line. */
export function notifyText(fields: NotifyFields): string {
  return Object.entries(fields)
    .map(([key, value]) => `${key}=${String(value).replace(/[\r\n]+/g, ' ')}`)
    .join('\n');
}

const AF_UNIX = 1;
/** Of `sun_path`. */
const maxPathBytes = 108;

/** `struct sockaddr_un` of NOTIFY_SOCKET: a path, or `@` and a name in the abstract namespace. Undefined when it is neither. */
export function notifyAddress(socket: string): Uint8Array | undefined {
  const name = Buffer.from(socket);
  const abstract = socket.startsWith('@');
  if ((!abstract && !socket.startsWith('/')) || name.length < 2 || name.length >= maxPathBytes) return undefined;
  const address = Buffer.alloc(2 + name.length + (abstract ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  if (abstract) address[2] = 0;
  return address;
}

/** How often the watchdog wants to hear of this process, in ms: half of its patience. Undefined when it does not. */
export function watchdogPingMs(
  environment: Readonly<Record<string, string | undefined>>,
  pid: number,
): number | undefined {
  const { WATCHDOG_USEC: patience, WATCHDOG_PID: whose } = environment;
  if (patience === undefined || !/^[1-9]\d{0,15}$/.test(patience)) return undefined;
  if (whose !== undefined && whose !== String(pid)) return undefined;
  return Math.max(1, Math.floor(Number(patience) / 2000));
}
