import { AppError } from '../../base/errors.ts';
import { ErasureCode } from './code.ts';
import { maxChunks } from './kernel.ts';
import { type CodingRows, isaCauchy, jerasureVandermonde, powerRows } from './matrix.ts';

/** An erasure-code profile as the OSDMap keeps it. */
export type Profile = ReadonlyMap<string, string>;

/** What a profile means once its defaults are filled in. */
export interface CodeSpec {
  plugin: 'jerasure' | 'isa';
  technique: string;
  k: number;
  m: number;
}

/** Errors carry upstream's words where it has some. */
function refuse(message: string): never {
  throw new AppError('EINVAL', message);
}

/** The alignment of ISA-L's chunks, and of jerasure's with w=8 (`LARGEST_VECTOR_WORDSIZE` times 2), in bytes. */
const chunkAlignment = 32;

const techniques: Readonly<Record<CodeSpec['plugin'], Readonly<Record<string, (k: number, m: number) => CodingRows>>>> =
  {
    jerasure: { reed_sol_van: jerasureVandermonde, reed_sol_r6_op: powerRows },
    isa: { reed_sol_van: powerRows, cauchy: isaCauchy },
  };

/** `k` and `m` where a profile does not say (`ErasureCodeJerasure.h`, `ErasureCodeIsa.h`). */
const defaults = { jerasure: { k: '2', m: '1' }, isa: { k: '7', m: '3' } } as const;

function whole(profile: Map<string, string>, name: string, fallback: string): number {
  const text = profile.get(name) ?? '';
  if (text === '') profile.set(name, fallback);
  const value = text === '' ? fallback : text;
  if (!/^-?\d+$/.test(value)) refuse(`could not convert ${name}=${value} to int`);
  return Number(value);
}

function text(profile: Map<string, string>, name: string, fallback: string): string {
  const value = profile.get(name) ?? '';
  if (value !== '') return value;
  profile.set(name, fallback);
  return fallback;
}

/** Fills in what the plugin of a profile would and checks it (`ErasureCodeInterface::init`). Errors: EINVAL. */
export function normalizeProfile(given: Profile): { profile: Map<string, string>; spec: CodeSpec } {
  const profile = new Map(given);
  const plugin = profile.get('plugin');
  if (plugin === undefined)
    refuse(
      `cannot determine the erasure code plugin because there is no 'plugin' entry in the erasure_code_profile ${profileText(given)}`,
    );
  if (plugin !== 'jerasure' && plugin !== 'isa')
    refuse(`erasure code plugin ${plugin} is not supported: there are jerasure and isa`);
  text(profile, 'crush-root', 'default');
  text(profile, 'crush-failure-domain', 'host');
  if (!profile.has('crush-device-class')) profile.set('crush-device-class', '');
  const technique = text(profile, 'technique', 'reed_sol_van');
  const rows = techniques[plugin][technique];
  if (rows === undefined)
    refuse(
      `technique=${technique} of the erasure code plugin ${plugin} is not supported: there are ${Object.keys(techniques[plugin]).join(' and ')}`,
    );
  const k = whole(profile, 'k', defaults[plugin].k);
  const m = technique === 'reed_sol_r6_op' ? 2 : whole(profile, 'm', defaults[plugin].m);
  if (technique === 'reed_sol_r6_op') profile.delete('m');
  if (k < 2) refuse(`k=${k} must be >= 2`);
  if (m < 1) refuse(`m=${m} must be >= 1`);
  if (k + m > maxChunks) refuse(`k=${k} and m=${m} are more than ${maxChunks} chunks`);
  if (plugin === 'jerasure') {
    const w = whole(profile, 'w', '8');
    if (w !== 8) refuse(`w=${w} is not supported: there is 8`);
    text(profile, 'jerasure-per-chunk-alignment', 'false');
  } else if (technique === 'reed_sol_van') {
    if (m > 4) refuse(`Vandermonde: m=${m} should be less than 5 to guarantee an MDS codec: revert to m=4`);
    if (k > 32) refuse(`Vandermonde: k=${k} should be less/equal than 32 : revert to k=32`);
    if (m === 4 && k > 21)
      refuse(`Vandermonde: k=${k} should be less than 22 to guarantee an MDS codec with m=4: revert to k=21`);
  }
  if (profile.has('mapping')) refuse('mapping is not supported');
  stripeUnit(profile);
  return { profile: new Map([...profile].sort(([a], [b]) => (a < b ? -1 : 1))), spec: { plugin, technique, k, m } };
}

/** `osd_pool_erasure_code_stripe_unit`. */
const defaultStripeUnit = 4096;

/** Bytes of each chunk of a stripe that a profile asks for. Errors: EINVAL. */
function stripeUnit(profile: Profile): number {
  const given = profile.get('stripe_unit');
  if (given === undefined) return defaultStripeUnit;
  const match = /^(\d+)\s*([KMG])?i?B?$/.exec(given.trim());
  const bytes =
    match === null ? Number.NaN : Number(match[1]) * 1024 ** (match[2] === undefined ? 0 : 'KMG'.indexOf(match[2]) + 1);
  if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > 2 ** 26) refuse(`could not parse stripe_unit '${given}'`);
  return bytes;
}

/** Length of each chunk for `size` bytes of object (`get_chunk_size`). */
export function chunkSize({ k }: { k: number }, size: number): number {
  return Math.ceil(size / (k * chunkAlignment)) * chunkAlignment;
}

/** A pool's stripe width (`OSDMonitor::prepare_pool_stripe_width`): k chunks. Errors: EINVAL. */
export function stripeWidth(profile: Profile): number {
  const { spec } = normalizeProfile(profile);
  return spec.k * chunkSize(spec, stripeUnit(profile) * spec.k);
}

/** The code of a profile. Errors: EINVAL. */
export function codeOf(profile: Profile): ErasureCode {
  const { plugin, technique, k, m } = normalizeProfile(profile).spec;
  return new ErasureCode(k, techniques[plugin][technique]!(k, m));
}

/** `{k=2,m=1}`: as upstream prints maps of text in messages. */
export function profileText(profile: Profile): string {
  return `{${[...profile]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .join(',')}}`;
}
