import { dlopen, FFIType, ptr } from 'bun:ffi';
import { AppError } from './errors.ts';

/** mount(2) by itself: the mount program looks at other mounts too, and hangs when one of them does. */

export const MS_NOATIME = 1024;

let libc: { mount(source: number, target: number, type: number, flags: number, data: number): number } | undefined;

/** Mounts `source` on the directory `target`. Throws AppError MOUNT when the kernel refuses. */
export function mountFileSystem(source: string, target: string, type: string, flags: number): void {
  libc ??= dlopen('libc.so.6', {
    mount: { args: [FFIType.ptr, FFIType.ptr, FFIType.ptr, FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
  }).symbols as unknown as typeof libc;
  // Held until the call is over.
  const texts = [source, target, type].map((value) => Buffer.from(`${value}\0`));
  if (libc!.mount(ptr(texts[0]!), ptr(texts[1]!), ptr(texts[2]!), flags, 0) !== 0)
    throw new AppError('MOUNT', `cannot mount ${source} (${type}) on ${target}`, {
      hint: 'it needs root; the kernel log (dmesg) tells why it was refused',
    });
}
