import { utf8, utf8Text } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import type { MonCommand } from './module-options.ts';

/** A health check since it was first seen. Times in seconds since 1970. */
export interface SeenCheck {
  name: string;
  severity: string;
  first_seen: number;
  last_seen: number;
  /** How often it came. */
  count: number;
  active: boolean;
}

/** Where upstream's module prometheus keeps it. */
const key = 'mgr/prometheus/health_history';
/** Codes are few; this bounds what somebody else put under the key. */
const maxChecks = 1000;

/** Which health checks there were (`HealthHistory` of upstream's module prometheus): what `ceph_health_detail` shows as 1 or 0. */
export class HealthHistory {
  readonly #mon: MonCommand;
  #checks: Map<string, SeenCheck> | undefined;

  constructor(mon: MonCommand) {
    this.#mon = mon;
  }

  /** By code. Read once: only the active mgr changes them. */
  async all(): Promise<ReadonlyMap<string, SeenCheck>> {
    return await this.#load();
  }

  async #load(): Promise<Map<string, SeenCheck>> {
    if (this.#checks !== undefined) return this.#checks;
    const { code, output } = await this.#mon({ prefix: 'config-key get', key });
    const checks = new Map<string, SeenCheck>();
    if (code >= 0) for (const check of readChecks(utf8Text(output))) checks.set(check.name, check);
    this.#checks ??= checks;
    return this.#checks;
  }

  /** `severities`: those that are raised now, by code. Errors: MON when the history cannot be kept. */
  async see(severities: ReadonlyMap<string, string>, nowMs: number): Promise<void> {
    const checks = await this.#load();
    let changed = false;
    for (const check of checks.values())
      if (check.active && !severities.has(check.name)) {
        check.active = false;
        changed = true;
      }
    const now = nowMs / 1000;
    for (const [name, severity] of severities) {
      const known = checks.get(name);
      if (known?.active === true || (known === undefined && checks.size >= maxChecks)) continue;
      checks.set(name, {
        ...{ name, severity: known?.severity ?? severity, first_seen: known?.first_seen ?? now, last_seen: now },
        ...{ count: (known?.count ?? 0) + 1, active: true },
      });
      changed = true;
    }
    if (changed) await this.#save();
  }

  async clear(): Promise<void> {
    this.#checks = new Map();
    await this.#save();
  }

  async #save(): Promise<void> {
    const text = JSON.stringify(Object.fromEntries(this.#checks ?? []));
    const { code, status } = await this.#mon({ prefix: 'config-key set', key }, utf8(text));
    if (code < 0) throw new AppError('MON', `${key} could not be kept: ${status}`);
  }
}

/** What was kept; nothing of what does not look like it. */
function readChecks(text: string): SeenCheck[] {
  let kept: unknown;
  try {
    kept = JSON.parse(text);
  } catch {
    return [];
  }
  if (typeof kept !== 'object' || kept === null) return [];
  return Object.entries(kept as Record<string, Partial<SeenCheck> | null>)
    .slice(0, maxChecks)
    .map(([name, check]) => ({
      name,
      severity: String(check?.severity ?? ''),
      first_seen: Number(check?.first_seen ?? 0),
      last_seen: Number(check?.last_seen ?? 0),
      count: Number(check?.count ?? 1),
      active: check?.active !== false,
    }));
}
