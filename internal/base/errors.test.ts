import { describe, expect, test } from 'vitest';
import { AppError, isRefused } from './errors.ts';

describe('isRefused', () => {
  test.each(['http', 'https'])('%s: nobody listens any more', async (scheme) => {
    const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('') });
    const { port } = server;
    await server.stop(true);
    const error = await fetch(`${scheme}://127.0.0.1:${port}/`).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Error);
    expect(isRefused(error)).toBe(true);
  });

  test('another failure is none', () => {
    for (const error of [new AppError('TIMEOUT', 'late'), new Error('ECONNREFUSED'), undefined])
      expect(isRefused(error)).toBe(false);
  });
});
