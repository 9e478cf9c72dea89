import { dlopen, FFIType, ptr } from 'bun:ffi';
import { notifyAddress, type NotifyFields, notifyText, watchdogPingMs } from './notify.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const CLOCK_MONOTONIC = 1;
const retryMs = 1000;

/** Tells the service manager that started this process how it is. Without one it does nothing. */
export class ServiceManager {
  readonly #send: ((text: string) => boolean) | undefined;
  readonly #pingMs: number | undefined;
  readonly #monotonicUsec: () => bigint;
  /** What the manager had no room for yet, in order. Only the few messages of a service's life come here. */
  readonly #waiting: string[] = [];
  #watchdog: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setInterval> | undefined;
  #status = '';
  #toldStatus = '';

  /** Takes the variables of the protocol out of the environment: what this process starts does not speak for it. */
  constructor(environment: Record<string, string | undefined> = process.env) {
    const { NOTIFY_SOCKET: socket } = environment;
    this.#pingMs = watchdogPingMs(environment, process.pid);
    for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete environment[name];
    const address = socket === undefined ? undefined : notifyAddress(socket);
    const system = address && openSocket(address);
    this.#send = system?.send;
    this.#monotonicUsec = system?.monotonicUsec ?? (() => 0n);
  }

  get present(): boolean {
    return this.#send !== undefined;
  }

  /** It serves; also the end of a reload. */
  ready(sentence: string): void {
    this.#status = sentence;
    this.#toldStatus = sentence;
    this.#tell({ READY: 1, MAINPID: process.pid, STATUS: sentence });
  }

  /** One sentence for `systemctl status`. Only the newest matters. */
  status(sentence: string): void {
    this.#status = sentence;
    this.#flush();
  }

  /** `ready` ends it. */
  reloading(): void {
    this.#tell({ RELOADING: 1, MONOTONIC_USEC: this.#monotonicUsec() });
  }

  stopping(): void {
    this.#tell({ STOPPING: 1 });
  }

  /** From now on tells the watchdog that all is well, as long as `trouble` gives undefined. What it gives is told as the status before the watchdog acts. */
  watch(trouble: () => string | undefined): void {
    if (this.#pingMs === undefined || !this.#send) return;
    this.#watchdog = setInterval(() => {
      const why = trouble();
      if (why === undefined) this.#send?.(notifyText({ WATCHDOG: 1 }));
      else this.status(why);
    }, this.#pingMs);
  }

  close(): void {
    clearInterval(this.#watchdog);
    clearInterval(this.#retry);
  }

  #tell(fields: NotifyFields): void {
    if (!this.#send) return;
    this.#waiting.push(notifyText(fields));
    this.#flush();
  }

  /** Sends what waits, in order, then the status; what the manager has no room for is sent again until it has. */
  #flush(): void {
    if (!this.#send) return;
    while (this.#waiting.length > 0 && this.#send(this.#waiting[0]!)) this.#waiting.shift();
    if (
      this.#waiting.length === 0 &&
      this.#status !== this.#toldStatus &&
      this.#send(notifyText({ STATUS: this.#status }))
    )
      this.#toldStatus = this.#status;
    const done = this.#waiting.length === 0 && this.#status === this.#toldStatus;
    if (!done) this.#retry ??= setInterval(() => this.#flush(), retryMs);
    else {
      clearInterval(this.#retry);
      this.#retry = undefined;
    }
  }
}

function openSocket(address: Uint8Array): { send(text: string): boolean; monotonicUsec(): bigint } | undefined {
  const { symbols } = dlopen('libc.so.6', {
    socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    sendto: {
      args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32, FFIType.ptr, FFIType.u32],
      returns: FFIType.i64,
    },
    clock_gettime: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
  });
  const fd = symbols.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return undefined;
  return {
    send: (text) => {
      const bytes = Buffer.from(text);
      const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
      return Number(symbols.sendto(fd, ptr(bytes), bytes.length, flags, ptr(address), address.length)) === bytes.length;
    },
    monotonicUsec: () => {
      const time = Buffer.alloc(16);
      symbols.clock_gettime(CLOCK_MONOTONIC, ptr(time));
      return time.readBigInt64LE(0) * 1_000_000n + time.readBigInt64LE(8) / 1000n;
    },
  };
}
