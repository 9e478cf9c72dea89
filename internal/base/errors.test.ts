import { describe, expect, test } from 'vitest';
import { AppError, errorText, isRefused } from './errors.ts';

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

test('a cause that the message tells already is not told again', () => {
  const refused = new Error('connect ECONNREFUSED 127.0.0.1:2379');
  const middle = new AppError('GRPC', refused.message, { cause: refused });
  const outer = new AppError('DATASTORE', `the etcd does not answer: ${errorText(middle)}`, { cause: middle });
  expect(errorText(outer)).toBe('the etcd does not answer: connect ECONNREFUSED 127.0.0.1:2379');
  expect(errorText(new Error('outer', { cause: refused }))).toBe('outer: connect ECONNREFUSED 127.0.0.1:2379');
});
