import type { Health, HealthCheck } from '../health.ts';
import type { HealthMute } from '../state.ts';
import type { Json } from './json.ts';
import { timespanText } from './units.ts';

function muteOf(health: Health, check: HealthCheck): HealthMute | undefined {
  return health.mutes.find(({ code }) => code === check.code);
}

/** `{"status", "checks", "mutes"}`. */
export function healthJson(health: Health, detail: boolean, now: { timeText(ms: number): string }): Json {
  return {
    status: health.status,
    checks: new Map(
      health.checks.map((check): [string, Json] => [
        check.code,
        {
          severity: check.severity,
          summary: { message: check.summary, count: check.count },
          ...(detail && { detail: check.detail.map((message) => ({ message })) }),
          muted: muteOf(health, check) !== undefined,
        },
      ]),
    ),
    mutes: health.mutes.map((mute) => ({
      code: mute.code,
      ...(mute.expiresMs > 0 && { ttl: now.timeText(mute.expiresMs) }),
      sticky: mute.sticky,
      summary: mute.summary,
      count: mute.count,
    })),
  };
}

function muteText(mute: HealthMute, nowMs: number): string {
  return mute.expiresMs > 0 ? `${mute.code}(${timespanText((mute.expiresMs - nowMs) / 1000)})` : mute.code;
}

/** The part in brackets that names what is muted; empty when nothing is. */
export function mutedText(health: Health, nowMs: number): string {
  if (health.mutes.length === 0) return '';
  const sorted = [...health.mutes].sort((a, b) => (a.code < b.code ? -1 : 1));
  return `(muted: ${sorted.map((mute) => muteText(mute, nowMs)).join(' ')})`;
}

/** Summaries of what is not muted. */
export function heardSummaries(health: Health): string[] {
  return health.checks.filter((check) => muteOf(health, check) === undefined).map(({ summary }) => summary);
}

/** `ceph health [detail]`. */
export function healthText(health: Health, detail: boolean, nowMs: number): string {
  const muted = mutedText(health, nowMs);
  const parts = heardSummaries(health);
  let line = health.status;
  if (parts.length > 0) line += ` ${parts.join('; ')}${muted === '' ? '' : `; ${muted}`}`;
  else if (muted !== '') line += ` ${muted}`;
  if (!detail) return `${line}\n`;
  let out = `${line}\n`;
  for (const check of health.checks) {
    const mute = muteOf(health, check);
    let prefix = '';
    if (mute !== undefined) {
      prefix = '(MUTED';
      if (mute.expiresMs > 0) prefix += ` ttl ${timespanText((mute.expiresMs - nowMs) / 1000)}`;
      if (mute.sticky) prefix += ', STICKY';
      prefix += ') ';
    }
    const tag = check.severity === 'HEALTH_ERR' ? '[ERR]' : '[WRN]';
    out += `${prefix}${tag} ${check.code}: ${check.summary}\n`;
    for (const message of check.detail) out += `    ${message}\n`;
  }
  return out;
}
