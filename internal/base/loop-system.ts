import { dlopen, FFIType, ptr } from 'bun:ffi';
import { closeSync, openSync } from 'node:fs';
import { AppError } from './errors.ts';

/** Loop devices by the kernel's own calls (linux/loop.h). `mount -o loop` and `losetup -j` look at every loop device of the machine, which hangs for as
 * long as the file behind any of them does: an OSD could then not come back because a volume waits for it. */

const LOOP_CTL_GET_FREE = 0x4c82;
const LOOP_CONFIGURE = 0x4c0a;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;
/** `struct loop_config`: u32 fd, u32 block_size, `struct loop_info64` (232 bytes), 8 reserved u64. */
const configBytes = 304;
const flagsAt = 8 + 52;
const nameAt = 8 + 56;
const attempts = 50;

let libc: { ioctl(fd: number, request: number, argument: number | bigint): number } | undefined;

function ioctl(fd: number, request: number, argument: number): number {
  libc ??= dlopen('libc.so.6', {
    ioctl: { args: [FFIType.i32, FFIType.u64, FFIType.u64], returns: FFIType.i32 },
  }).symbols;
  return libc.ioctl(fd, request, argument);
}

/**
 * Puts a loop device on `file`. With `autoclear` it is gone when nobody has it open or mounted any more: keep `hold` until then, and close it after. Throws
 * AppError LOOP when there is no loop device to be had.
 */
export function attachLoop(
  file: string,
  options: { autoclear: boolean; directIo?: boolean },
): { device: string; hold: { close(): void } } {
  const control = openSync('/dev/loop-control', 'r+');
  const backing = openSync(file, 'r+');
  try {
    for (let attempt = 0; attempt < attempts; attempt++) {
      const number = ioctl(control, LOOP_CTL_GET_FREE, 0);
      if (number < 0) break;
      const device = `/dev/loop${number}`;
      const fd = openSync(device, 'r+');
      const config = Buffer.alloc(configBytes);
      config.writeUInt32LE(backing, 0);
      config.writeUInt32LE(
        (options.autoclear ? LO_FLAGS_AUTOCLEAR : 0) | (options.directIo ? LO_FLAGS_DIRECT_IO : 0),
        flagsAt,
      );
      Buffer.from(file).copy(config, nameAt, 0, 63);
      // Somebody may have taken it since: then the next free one.
      if (ioctl(fd, LOOP_CONFIGURE, ptr(config)) === 0) return { device, hold: { close: () => closeSync(fd) } };
      closeSync(fd);
    }
  } finally {
    closeSync(backing);
    closeSync(control);
  }
  throw new AppError('LOOP', `no loop device could be put on ${file}`, {
    hint: 'it needs root and loop devices: modprobe loop',
  });
}
