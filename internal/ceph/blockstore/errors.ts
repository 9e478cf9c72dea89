import { AppError, errorCode, errorText } from '../../base/errors.ts';

/** The store has no room for a transaction; nothing of it was applied. An OSD answers ENOSPC. */
export class NoSpaceError extends AppError {
  constructor(store: string, neededBytes: number, availableBytes: number) {
    super('ENOSPC', `${store}: a transaction needs ${neededBytes} bytes, ${availableBytes} are available`, {
      hint: 'Delete data or add an OSD.',
    });
  }
}

/** The disk returned other bytes than were written. The OSD reads from another replica and repairs. */
export class ChecksumError extends AppError {
  constructor(
    store: string,
    readonly cid: string,
    readonly key: Uint8Array,
    /** Offset in the object of the first damaged 4 KiB block. */
    readonly offset: number,
    where: string,
  ) {
    super('CHECKSUM', `${store}: object ${keyText(key)} of ${cid} is damaged at offset ${offset} (${where})`, {
      hint: 'The disk returned other bytes than were written: check it with smartctl; the copy is repaired from a replica.',
    });
  }
}

/** The entry of an object in the index is damaged: nothing of the object can be told, only that it is there. The OSD takes it as `ChecksumError`. */
export class DamagedEntryError extends AppError {
  constructor(
    readonly cid: string,
    readonly key: Uint8Array,
    cause: unknown,
  ) {
    super('CHECKSUM', `object ${keyText(key)} of ${cid}: its entry in the index is damaged: ${errorText(cause)}`, {
      cause,
      hint: 'The disk returned other bytes than were written. A scrub tells of it; `ceph pg repair`, or `appliance osd repair` while the OSD does not run, has it fetched from another copy.',
    });
  }
}

/** Whether a read failed because this copy cannot be had: the disk returned other bytes than were written (CHECKSUM), or could not read them (EIO). */
export function isDamage(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'CHECKSUM' || code === 'EIO';
}

/** A transaction asked for something impossible (a missing collection, a clone of a missing object); nothing of it was applied. */
export class TransactionError extends AppError {
  constructor(code: 'ENOENT' | 'EEXIST' | 'ENOTEMPTY' | 'EINVAL', message: string) {
    super(code, message);
  }
}

/** A key for people: its printable bytes, others as \xNN. */
export function keyText(key: Uint8Array): string {
  let out = '';
  for (const byte of key.subarray(0, 200))
    out += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`;
  return out;
}

/** Names and omap keys are stored with 16-bit lengths. Errors: TransactionError. */
export function checkName(name: string): void {
  // A unit of UTF-16 takes at most three bytes.
  if (name.length * 3 > 0xffff && Buffer.byteLength(name) > 0xffff)
    throw new TransactionError('EINVAL', `a name of ${name.length} characters`);
}
