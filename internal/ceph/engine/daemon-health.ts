import type { CephDaemon } from './daemon-conf.ts';

/** Those that say over their admin socket how they are; an rgw has no word for it there. */
export type AskedDaemon = Exclude<CephDaemon, 'rgw'>;

/** What each daemon is asked over its admin socket. */
export const healthQuestion: Readonly<Record<AskedDaemon, string>> = {
  mon: 'mon_status',
  mgr: 'mgr_status',
  osd: 'status',
  mds: 'status',
};

export interface DaemonHealth {
  /** It has begun its work. A daemon that waits for others has, too: to start it again would not help. */
  readonly serves: boolean;
  /** One plain sentence. */
  readonly detail: string;
}

const word = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '?');

/** From the answer to `healthQuestion`. */
export function daemonHealth(daemon: AskedDaemon, answer: Readonly<Record<string, unknown>>): DaemonHealth {
  if (daemon === 'mon') {
    const { state, quorum } = answer;
    const serves = state === 'leader' || state === 'peon';
    return { serves, detail: `${word(state)}, ${Array.isArray(quorum) ? quorum.length : 0} in quorum` };
  }
  if (daemon === 'mgr') return { serves: answer.initialized === true, detail: `mgrmap e${word(answer.mgrmap_epoch)}` };
  if (daemon === 'mds') {
    const { state, mdsmap_epoch } = answer;
    // Until the mons have it in the map it is nothing to anybody.
    const serves = typeof state === 'string' && state.startsWith('up:') && state !== 'up:boot';
    return { serves, detail: `${word(state).replace(/^up:/, '')}, fsmap e${word(mdsmap_epoch)}` };
  }
  const { state, newest_map, num_pgs } = answer;
  return {
    serves: typeof state === 'string' && state !== 'initializing',
    detail: `${word(state)}, osdmap e${word(newest_map)}, ${word(num_pgs)} ${num_pgs === 1 ? 'PG' : 'PGs'}`,
  };
}
