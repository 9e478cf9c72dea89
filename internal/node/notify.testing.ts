import { dlopen, FFIType, ptr } from 'bun:ffi';

const { symbols: libc } = dlopen('libc.so.6', {
  socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
  bind: { args: [FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
  recv: { args: [FFIType.i32, FFIType.ptr, FFIType.u64, FFIType.i32], returns: FFIType.i64 },
  close: { args: [FFIType.i32], returns: FFIType.i32 },
});

/** A service manager's socket for tests: a real datagram socket that nothing of ours is behind. */
export class NotifyReceiver {
  readonly #fd = libc.socket(1, 2, 0);

  constructor(name: string) {
    // Written here again, so that a mistake in ours does not cancel out.
    const path = name.startsWith('@') ? `\0${name.slice(1)}` : `${name}\0`;
    const address = Buffer.concat([Buffer.from([1, 0]), Buffer.from(path)]);
    if (libc.bind(this.#fd, ptr(address), address.length) !== 0) throw new Error(`cannot bind ${name}`);
  }

  /** What has arrived since the last call. */
  messages(): string[] {
    const out: string[] = [];
    const buffer = Buffer.alloc(8192);
    for (;;) {
      const length = Number(libc.recv(this.#fd, ptr(buffer), buffer.length, 0x40));
      if (length < 0) return out;
      out.push(buffer.toString('utf8', 0, length));
    }
  }

  close(): void {
    libc.close(this.#fd);
  }
}
