import type { Draft } from './draft.ts';
import type { Health, HealthCheck } from './health.ts';
import type { Mon } from './mon.ts';
import { LOG_ERROR, LOG_INFO, LOG_WARN } from '../wire/messages/log.ts';

/** Changes of the text of a check are written at most so often (`mon_health_log_update_period`). */
const updateEveryMs = 5000;

/** Changes of health for the cluster log, and mutes that end with what they muted (`HealthMonitor::check_mutes`, `log_health`). */
export class HealthWatch {
  /** What was said last of each check. */
  #last: Map<string, HealthCheck> | undefined;
  #updatedMs = 0;

  /** Another mon has said since what changed: begins with what there is. */
  forget(): void {
    this.#last = undefined;
  }

  /** Compares with the last time; writes what changed. */
  follow(mon: Mon, health: Health): void {
    const now = new Map(health.checks.map((check) => [check.code, check]));
    const before = this.#last;
    this.#last = new Map(now);
    const updates = mon.clock.monotonic() - this.#updatedMs >= updateEveryMs;
    const lines: [level: number, message: string][] = [];
    if (before !== undefined) {
      for (const [code, check] of now) {
        const old = before.get(code);
        const level = check.severity === 'HEALTH_ERR' ? LOG_ERROR : LOG_WARN;
        if (old === undefined) lines.push([level, `Health check failed: ${check.summary} (${code})`]);
        else if (old.summary !== check.summary) {
          if (!updates) {
            this.#last.set(code, old);
            continue;
          }
          this.#updatedMs = mon.clock.monotonic();
          lines.push([level, `Health check update: ${check.summary} (${code})`]);
        }
      }
      for (const [code, check] of before)
        if (!now.has(code)) lines.push([LOG_INFO, `Health check cleared: ${code} (was: ${check.summary})`]);
      if (before.size > 0 && now.size === 0) lines.push([LOG_INFO, 'Cluster is now healthy']);
    }
    const ended = endedMutes(health, now);
    if (lines.length === 0 && ended.length === 0) return;
    mon.background('changes of health', (draft) => {
      for (const [level, message] of lines) draft.log(mon.line(level, message));
      if (ended.length > 0) dropMutes(draft, ended);
    });
  }
}

/** Mutes that are not sticky end when the check is gone or got worse. */
function endedMutes(health: Health, now: ReadonlyMap<string, HealthCheck>): string[] {
  return health.mutes
    .filter((mute) => {
      if (mute.sticky) return false;
      const check = now.get(mute.code);
      return check === undefined || check.count > mute.count;
    })
    .map(({ code }) => code);
}

function dropMutes(draft: Draft, codes: readonly string[]): void {
  const kept = draft.state.mutes.filter(({ code }) => !codes.includes(code));
  if (kept.length !== draft.state.mutes.length) draft.setMutes(kept);
}
