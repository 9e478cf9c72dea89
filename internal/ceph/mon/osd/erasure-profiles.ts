import { addSimpleRule } from '../../crush/rules.ts';
import { normalizeProfile, type Profile, profileText, stripeWidth } from '../../erasure/profile.ts';
import type { OsdMapIncremental } from '../../maps/incremental.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { isErasure, POOL_TYPE_ERASURE } from '../../maps/pool.ts';
import { EBUSY, EINVAL, EPERM, Refusal } from '../errno.ts';
import { changeCrush } from './daemons.ts';

/** What of a pool follows from its profile. */
export interface ErasureShape {
  size: number;
  minSize: number;
  stripeWidth: number;
}

/** `k=2 m=1` as words. */
function pairs(words: readonly string[]): Map<string, string> {
  return new Map(
    words.map((word): [string, string] => {
      const at = word.indexOf('=');
      return at < 0 ? [word, ''] : [word.slice(0, at), word.slice(at + 1)];
    }),
  );
}

/** `OSDMonitor::parse_erasure_code_profile`: the words over the defaults, unless they name another plugin. Errors: EINVAL. */
export function parseProfile(words: readonly string[], defaults: string): Map<string, string> {
  const base = pairs(defaults.split(/\s+/).filter((word) => word !== ''));
  const given = pairs(words);
  for (const name of given.keys())
    if (name.startsWith('ruleset-'))
      throw new Refusal(EINVAL, `property '${name}' is no longer supported; try 'crush-${name.slice(8)}'`);
  if (given.has('plugin') && given.get('plugin') !== base.get('plugin')) return given;
  return new Map([...base, ...given]);
}

function poolsOf(map: OsdMap, profile: string): string[] {
  return [...map.pools]
    .filter(([, pool]) => isErasure(pool) && pool.erasureCodeProfile === profile)
    .map(([id]) => map.poolNames.get(id) ?? '');
}

/** The names of what a profile says of placement: changing them changes nothing of the chunks. */
function codeOnly(profile: Profile): string {
  return profileText(new Map([...profile].filter(([name]) => !name.startsWith('crush-'))));
}

/**
 * `osd erasure-code-profile set`. False: it is so already. Errors: EINVAL, EPERM (another one has the name), EBUSY (forced, but pools have data in its
 * chunks).
 */
export function setProfile(inc: OsdMapIncremental, map: OsdMap, name: string, given: Profile, force: boolean): boolean {
  const domain = given.get('crush-failure-domain');
  if (domain !== undefined && domain !== '' && map.crush.typeOfName(domain) === undefined)
    throw new Refusal(
      EINVAL,
      `erasure-code-profile ${profileText(given)} contains an invalid failure-domain "${domain}"`,
    );
  if (!given.has('plugin'))
    throw new Refusal(EINVAL, `erasure-code-profile ${profileText(given)} must contain a plugin entry`);
  const { profile } = normalizeProfile(given);
  const present = map.erasureCodeProfiles.get(name);
  if (present !== undefined) {
    const existing = normalizeProfile(present).profile;
    if (profileText(existing) === profileText(profile)) return false;
    if (!force)
      throw new Refusal(
        EPERM,
        `will not override erasure code profile ${name} because the existing profile ${profileText(existing)} is different from the proposed profile ${profileText(profile)}`,
      );
    const users = poolsOf(map, name);
    if (users.length > 0 && codeOnly(existing) !== codeOnly(profile))
      throw new Refusal(EBUSY, `${users.join(' ')} pool(s) have data in chunks of the erasure code profile '${name}'`);
  }
  inc.newErasureCodeProfiles.set(name, profile);
  return true;
}

/** `osd erasure-code-profile rm` of one that is there. Errors: EBUSY. */
export function removeProfile(inc: OsdMapIncremental, map: OsdMap, name: string): void {
  const users = poolsOf(map, name);
  if (users.length > 0)
    throw new Refusal(EBUSY, `${users.join(' ')} pool(s) are using the erasure code profile '${name}'`);
  inc.oldErasureCodeProfiles.push(name);
}

/** The profile of a name as pools see it; an unknown one is empty, and refused for that. */
function profileOf(map: OsdMap, name: string): Profile {
  return map.erasureCodeProfiles.get(name) ?? new Map<string, string>();
}

/** Size, min_size and stripe width that a profile gives a pool (`prepare_pool_size`, `prepare_pool_stripe_width`). Errors: EINVAL. */
export function shapeOf(map: OsdMap, name: string): ErasureShape {
  const profile = profileOf(map, name);
  const { k, m } = normalizeProfile(profile).spec;
  return { size: k + m, minSize: k + Math.min(1, m - 1), stripeWidth: stripeWidth(profile) };
}

/** Data chunks of a pool; undefined when its profile cannot be understood. */
export function dataChunks(map: OsdMap, profile: string): number | undefined {
  const k = Number(profileOf(map, profile).get('k') ?? Number.NaN);
  return Number.isSafeInteger(k) ? k : undefined;
}

/** `osd crush rule create-erasure` (`ErasureCode::create_rule`); a rule of this name must not be there. Gives its id. Errors: ENOENT, EINVAL. */
export function createErasureRule(inc: OsdMapIncremental, map: OsdMap, name: string, profileName: string): number {
  const { profile, spec } = normalizeProfile(profileOf(map, profileName));
  let id = -1;
  changeCrush(inc, map, (crush) => {
    id = addSimpleRule(crush, {
      name,
      root: profile.get('crush-root')!,
      failureDomain: profile.get('crush-failure-domain')!,
      deviceClass: profile.get('crush-device-class')!,
      mode: 'indep',
      type: POOL_TYPE_ERASURE,
      maxSize: spec.k + spec.m,
    });
  });
  return id;
}
