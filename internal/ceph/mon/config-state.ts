/** Who a value is for: `global`, `osd`, `osd.1`, with a mask `osd/class:hdd`, `osd/host:node1`. */
export interface ConfigChange {
  readonly version: number;
  readonly timeMs: number;
  readonly name: string;
  readonly changes: readonly { who: string; name: string; previous: string | undefined; value: string | undefined }[];
}

export interface ConfigState {
  readonly version: number;
  /** By who, then by option. */
  readonly values: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** The newest changes, oldest first. */
  readonly history: readonly ConfigChange[];
}

export const emptyConfig: ConfigState = Object.freeze({ version: 0, values: new Map(), history: [] });

export const configHistoryLength = 100;

/** What an entity is asked for by masks. */
export interface ConfigTarget {
  /** `osd.1`, `client.admin`. */
  readonly entity: string;
  readonly host?: string;
  readonly deviceClass?: string;
}

export interface EffectiveValue {
  readonly value: string;
  readonly who: string;
}

interface Section {
  who: string;
  entity: string;
  mask: string | undefined;
}

export function parseWho(who: string): Section | undefined {
  // A mask without an entity is one of `global`.
  if (/^(host|class):[^/]+$/.test(who)) return { who, entity: 'global', mask: who };
  const slash = who.indexOf('/');
  const entity = slash < 0 ? who : who.slice(0, slash);
  const mask = slash < 0 ? undefined : who.slice(slash + 1);
  if (mask !== undefined && !/^(host|class):[^/]+$/.test(mask)) return undefined;
  if (!/^(global|mon|mgr|osd|mds|client)(\.[^/]+)?$/.test(entity) || entity.startsWith('global.')) return undefined;
  return { who, entity, mask };
}

/** Higher wins: global, then the type, then longer names of `client.rgw.a`; a mask over none. */
function rank(section: Section): number {
  const base = section.entity === 'global' ? 0 : section.entity.split('.').length;
  return base * 4 + (section.mask === undefined ? 0 : section.mask.startsWith('class:') ? 1 : 2);
}

function applies(section: Section, target: ConfigTarget): boolean {
  const { entity, mask } = section;
  if (entity !== 'global' && entity !== target.entity && !target.entity.startsWith(`${entity}.`)) return false;
  if (mask === undefined) return true;
  if (mask.startsWith('class:')) return target.deviceClass === mask.slice(6);
  return target.host === mask.slice(5);
}

/** The values that hold for an entity, by option name. */
export function effectiveConfig(config: ConfigState, target: ConfigTarget): Map<string, EffectiveValue> {
  const sections = [...config.values.keys()]
    .flatMap((who) => parseWho(who) ?? [])
    .filter((section) => applies(section, target))
    .sort((a, b) => rank(a) - rank(b));
  const out = new Map<string, EffectiveValue>();
  for (const { who } of sections) for (const [name, value] of config.values.get(who)!) out.set(name, { value, who });
  return new Map([...out].sort(([a], [b]) => (a < b ? -1 : 1)));
}
