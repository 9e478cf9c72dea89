import type { LogLevel } from '../base/log.ts';

/**
 * What a role's process tells its supervisor. Both sides are the same executable, so no versions are needed. `waits`: its start waits for something
 * that is not on this machine.
 */
export type FromRole =
  | { t: 'ready' }
  | { t: 'waits'; detail: string }
  | { t: 'health'; ok: boolean; detail: string }
  | { t: 'failed'; message: string };

/** What the supervisor tells a role's process. `reload`: files that it reads at its start have changed. */
export type ToRole = { t: 'stop' } | { t: 'log-level'; level: LogLevel } | { t: 'reload' };
