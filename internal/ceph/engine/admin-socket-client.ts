import { connect } from 'node:net';
import { AppError, errorText } from '../../base/errors.ts';

/** Longer answers are none of those that are asked for here. */
const answerBytesMax = 1 << 20;
const answerMs = 5000;

/**
 * Asks a Ceph daemon over its admin socket (src/common/admin_socket.cc): the command as JSON ended by NUL; the answer is its length in 4 bytes, big-endian, and
 * JSON. Errors: ADMIN_SOCKET.
 */
export function askDaemon(path: string, prefix: string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const chunks: Buffer[] = [];
    let got = 0;
    const fail = (why: string): void => {
      socket.destroy();
      reject(new AppError('ADMIN_SOCKET', `its admin socket: ${why}`));
    };
    socket.setTimeout(answerMs, () => fail(`no answer within ${answerMs / 1000} s`));
    socket.once('error', (error) => fail(errorText(error)));
    socket.once('connect', () => socket.write(`${JSON.stringify({ prefix, format: 'json' })}\0`));
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      got += chunk.length;
      if (got > answerBytesMax) fail('its answer is too long');
    });
    socket.once('close', () => {
      const answer = parseAnswer(Buffer.concat(chunks));
      if (answer === undefined) fail('no whole answer');
      else resolve(answer);
    });
  });
}

/** Undefined for anything but one whole object. */
export function parseAnswer(bytes: Buffer): Record<string, unknown> | undefined {
  if (bytes.length < 4 || bytes.readUInt32BE(0) !== bytes.length - 4) return undefined;
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8', 4));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
