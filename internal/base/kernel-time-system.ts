import { dlopen, FFIType, ptr } from 'bun:ffi';
import { AppError } from './errors.ts';

/** `struct timex` of 64-bit Linux (adjtimex(2)): sizes and places in bytes. With modes 0 it is only read. */
const timex = { bytes: 208, maxErrorUs: 24, status: 40 } as const;
const STA_UNSYNC = 0x40;

/** What the kernel thinks of its clock: whether somebody keeps it in step, and how far off it is then at most. Throws AppError TIME when it does not tell. */
export function kernelTime(): { synchronized: boolean; maxErrorMs: number | undefined } {
  const { symbols, close } = dlopen('libc.so.6', { adjtimex: { args: [FFIType.ptr], returns: FFIType.i32 } });
  try {
    const buffer = Buffer.alloc(timex.bytes);
    if (symbols.adjtimex(ptr(buffer)) < 0) throw new AppError('TIME', 'adjtimex fails');
    const synchronized = (buffer.readInt32LE(timex.status) & STA_UNSYNC) === 0;
    return {
      synchronized,
      maxErrorMs: synchronized ? Number(buffer.readBigInt64LE(timex.maxErrorUs)) / 1000 : undefined,
    };
  } finally {
    close();
  }
}
