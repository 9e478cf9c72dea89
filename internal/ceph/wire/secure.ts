import { createCipheriv, createDecipheriv } from 'node:crypto';
import { DecodeError } from '../../base/bytes.ts';

export const GCM_TAG_BYTES = 16;
const algorithm = 'aes-128-gcm';
/** What is given to the cipher at once: its outputs are new buffers, and large ones cost page faults and wait long for the collector. */
const chunkBytes = 64 * 1024;

/** Nonce of 12 bytes: a fixed le32 and a le64 counter that grows by one for each operation (`src/msg/async/crypto_onwire.cc`). */
class Nonce {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  readonly #first: bigint;
  #used = false;

  constructor(initial: Uint8Array) {
    this.bytes = initial.slice();
    this.#view = new DataView(this.bytes.buffer);
    this.#first = this.#view.getBigUint64(4, true);
  }

  /** The nonce for the next operation; valid until the call after. */
  next(): Uint8Array {
    const counter = this.#view.getBigUint64(4, true);
    if (this.#used) {
      const after = BigInt.asUintN(64, counter + 1n);
      if (after === this.#first) throw new DecodeError('secure mode: nonces are used up');
      this.#view.setBigUint64(4, after, true);
    }
    this.#used = true;
    return this.bytes;
  }
}

/** One direction of a secure connection. */
export class SecureSender {
  readonly #key: Uint8Array;
  readonly #nonce: Nonce;
  constructor(key: Uint8Array, nonce: Uint8Array) {
    this.#key = key;
    this.#nonce = new Nonce(nonce);
  }

  /** The pieces as one operation: their ciphertext, and the tag. */
  seal(pieces: readonly Uint8Array[]): Uint8Array[] {
    const cipher = createCipheriv(algorithm, this.#key, this.#nonce.next());
    const out: Uint8Array[] = [];
    for (const piece of pieces)
      for (let at = 0; at < piece.length; at += chunkBytes)
        out.push(cipher.update(piece.length <= chunkBytes ? piece : piece.subarray(at, at + chunkBytes)));
    cipher.final();
    out.push(cipher.getAuthTag());
    return out;
  }
}

export class SecureReceiver {
  readonly #key: Uint8Array;
  readonly #nonce: Nonce;
  constructor(key: Uint8Array, nonce: Uint8Array) {
    this.#key = key;
    this.#nonce = new Nonce(nonce);
  }

  /** Plain pieces of the lengths given, which with the tag fill `sealed`: views into it, for it is decrypted in place. */
  open(sealed: Uint8Array, lengths: readonly number[]): Uint8Array[] {
    const decipher = createDecipheriv(algorithm, this.#key, this.#nonce.next());
    const body = sealed.length - GCM_TAG_BYTES;
    decipher.setAuthTag(sealed.subarray(body));
    for (let from = 0; from < body; from += chunkBytes)
      sealed.set(decipher.update(sealed.subarray(from, Math.min(from + chunkBytes, body))), from);
    let at = 0;
    const out: Uint8Array[] = [];
    for (const length of lengths) {
      out.push(sealed.subarray(at, at + length));
      at += length;
    }
    try {
      decipher.final();
    } catch {
      throw new DecodeError('secure mode: a frame does not decrypt');
    }
    return out;
  }
}

/**
 * Both directions from the connection secret: key, nonce of the accepting side's sender, nonce of the dialling side's sender. The secret has 64
 * bytes, the last 24 are unused.
 */
export function secureChannel(
  secret: Uint8Array,
  dialled: boolean,
): { sender: SecureSender; receiver: SecureReceiver } {
  if (secret.length < 40) throw new DecodeError(`secure mode: connection secret of ${secret.length} bytes`);
  const key = secret.slice(0, 16);
  const a = secret.slice(16, 28);
  const b = secret.slice(28, 40);
  return {
    sender: new SecureSender(key, dialled ? b : a),
    receiver: new SecureReceiver(key, dialled ? a : b),
  };
}
