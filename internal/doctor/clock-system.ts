import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { request } from 'node:https';
import { errorText } from '../base/errors.ts';
import { kernelTime } from '../base/kernel-time-system.ts';
import { lastTime } from '../base/last-time-system.ts';
import type { Config } from '../config/config.ts';
import { nodePaths } from '../config/paths.ts';
import { readServers } from '../join/identity-system.ts';
import { readAuthorityLives } from '../pki/authority-ends-system.ts';
import type { Fact, TimeFacts } from './facts.ts';

function kernelClock(): { synchronized: Fact<boolean>; maxErrorMs: number | undefined } {
  try {
    return kernelTime();
  } catch (error) {
    return { synchronized: { unknown: errorText(error) }, maxErrorMs: undefined };
  }
}

/** Undefined as well when it cannot be read. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

const services = ['chronyd', 'ntpd', 'systemd-timesyn', 'ntpsec', 'openntpd'];

function runningServices(): string[] {
  const found = new Set<string>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
    try {
      // The kernel cuts names at 15 characters.
      const name = readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
      if (services.includes(name)) found.add(name === 'systemd-timesyn' ? 'systemd-timesyncd' : name);
    } catch {
      // It ended meanwhile.
    }
  return [...found].sort();
}

/** The newest change of a file in the first levels of the data directory. */
function lastWrite(directory: string, depth: number): number | undefined {
  let newest: number | undefined;
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true }).slice(0, 200)) {
      const path = join(directory, entry.name);
      const at = entry.isDirectory()
        ? depth > 0
          ? lastWrite(path, depth - 1)
          : undefined
        : statSync(path, { throwIfNoEntry: false })?.mtimeMs;
      if (at !== undefined && at > (newest ?? 0)) newest = at;
    }
  } catch {
    // Not there yet, or not for us to read.
  }
  return newest;
}

/** The `Date` header of a server less this machine's clock: no secret is sent and nothing else is read, so its certificate does not matter. */
function serverSkew(server: string): Promise<number | undefined> {
  return new Promise((resolve) => {
    const began = Date.now();
    const asked = request(
      `https://${server}/cacerts`,
      { method: 'GET', rejectUnauthorized: false, timeout: 3_000 },
      (answer) => {
        const then = Date.parse(answer.headers.date ?? '');
        answer.destroy();
        // The header has whole seconds, cut off: its middle is compared with the middle of the round trip.
        resolve(Number.isFinite(then) ? then + 500 - (began + Date.now()) / 2 : undefined);
      },
    );
    asked.on('timeout', () => asked.destroy());
    asked.on('error', () => resolve(undefined));
    asked.end();
  });
}

export async function timeFacts(config: Config, builtMs: number | undefined): Promise<TimeFacts> {
  const paths = nodePaths(config.dataDir, config.runDir);
  const server = config.roles.includes('server') ? undefined : readServers(paths)[0];
  return {
    nowMs: Date.now(),
    builtMs,
    lastMs: lastWrite(config.dataDir, 2),
    lastKnownMs: readable(() => lastTime(config.dataDir)),
    authorities: readable(() => readAuthorityLives(paths)) ?? [],
    ...kernelClock(),
    services: runningServices(),
    serverSkewMs: server === undefined ? undefined : await serverSkew(server),
  };
}
