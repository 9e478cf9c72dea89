import { describe, expect, test } from 'vitest';
import { createLogger } from '../../base/log.ts';
import { ClusterError } from '../../store/errors.ts';
import { errorStatus } from './reply.ts';

describe('failures of the store as a Status', () => {
  const lines: string[] = [];
  const log = createLogger({ write: (line) => lines.push(line), now: () => 0, level: { value: 'debug' } });

  test.each([
    [
      'without a majority nothing was done: unavailable',
      new ClusterError('NO_LEADER', 'no leader'),
      503,
      'ServiceUnavailable',
    ],
    ['what may have been done is a timeout', new ClusterError('TIMEOUT', 'no answer in time'), 504, 'Timeout'],
    ['so is what the leader changed under', new ClusterError('LEADER_CHANGED', 'it changed'), 504, 'Timeout'],
  ])('%s', (_what, error, code, reason) => {
    const status = errorStatus(error, log, 'PUT /x');
    expect(status).toMatchObject({ code, reason, status: 'Failure' });
    expect(status.message).toContain(error.message);
    // Clients send what has it again by themselves.
    expect(status.details?.retryAfterSeconds).toBeUndefined();
    expect(lines).toEqual([]);
  });

  test('a defect is logged', () => {
    expect(errorStatus(new Error('oops'), log, 'PUT /x').code).toBe(500);
    expect(lines.length).toBe(1);
  });
});
