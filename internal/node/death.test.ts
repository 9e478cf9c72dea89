import { describe, expect, test } from 'vitest';
import { type Death, deathReason } from './death.ts';

const death = (more: Partial<Death>): Death => ({
  exitCode: null,
  signal: null,
  oom: { kills: 0, limitHits: 0 },
  limitBytes: 200 << 20,
  ...more,
});

describe('the reason of a death', () => {
  test.each<[string, Death, string]>([
    ['it ended by itself', death({ exitCode: 0 }), 'exit 0'],
    ['it said why', death({ exitCode: 1, failure: 'port 6443 is taken' }), 'port 6443 is taken (exit 1)'],
    ['it could not be run', death({ exitCode: 127 }), 'exit 127 (not found, or not executable for its user)'],
    ['somebody killed it', death({ signal: 'SIGKILL' }), 'killed by SIGKILL'],
    ['native code failed', death({ signal: 'SIGSEGV' }), 'killed by SIGSEGV (a fault in native code)'],
    ['over its budget', death({ signal: 'SIGKILL', oom: { kills: 1, limitHits: 1 } }), 'out of memory: limit 200 MiB'],
    [
      'within its budget, on a machine without memory',
      death({ signal: 'SIGKILL', oom: { kills: 1, limitHits: 0 } }),
      'out of memory: the machine had none left; its own limit of 200 MiB was not reached',
    ],
    [
      'the machine had no memory left',
      death({ signal: 'SIGKILL', oom: { kills: 1, limitHits: 0 }, limitBytes: undefined }),
      'out of memory: the machine had none left',
    ],
    [
      'a helper of it ran out of memory, and then it ended',
      death({ exitCode: 1, oom: { kills: 1, limitHits: 1 } }),
      'exit 1',
    ],
    [
      'the supervisor killed it',
      death({ signal: 'SIGKILL', killedFor: 'did not stop within 10 s' }),
      'killed: did not stop within 10 s',
    ],
  ])('%s', (_name, what, reason) => expect(deathReason(what)).toBe(reason));
});
