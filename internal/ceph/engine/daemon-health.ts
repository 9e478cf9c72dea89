import type { CephDaemon } from './daemon-conf.ts';

/** What each daemon is asked over its admin socket. */
export const healthQuestion: Readonly<Record<CephDaemon, string>> = {
  mon: 'mon_status',
  mgr: 'mgr_status',
  osd: 'status',
};

export interface DaemonHealth {
  /** It has begun its work. A daemon that waits for others has, too: to start it again would not help. */
  readonly serves: boolean;
  /** One plain sentence. */
  readonly detail: string;
}

const word = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '?');

/** From the answer to `healthQuestion`. */
export function daemonHealth(daemon: CephDaemon, answer: Readonly<Record<string, unknown>>): DaemonHealth {
  if (daemon === 'mon') {
    const { state, quorum } = answer;
    const serves = state === 'leader' || state === 'peon';
    return { serves, detail: `${word(state)}, ${Array.isArray(quorum) ? quorum.length : 0} in quorum` };
  }
  if (daemon === 'mgr') return { serves: answer.initialized === true, detail: `mgrmap e${word(answer.mgrmap_epoch)}` };
  const { state, newest_map, num_pgs } = answer;
  return {
    serves: typeof state === 'string' && state !== 'initializing',
    detail: `${word(state)}, osdmap e${word(newest_map)}, ${word(num_pgs)} ${num_pgs === 1 ? 'PG' : 'PGs'}`,
  };
}
