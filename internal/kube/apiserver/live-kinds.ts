import { type KindInfo, type KindTable, makeKindTable } from '../api/kinds.ts';
import type { Schema, SchemaSource } from '../machinery/openapi.ts';

/** What bodies of custom resources are decoded as: ObjectMeta is known, the rest is for the structural schema. */
export const customEnvelope = 'custom resource';
const envelope: Schema = {
  type: 'object',
  properties: {
    apiVersion: { type: 'string' },
    kind: { type: 'string' },
    metadata: { ref: 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' },
  },
  preserveUnknownFields: true,
};

/** Kinds of one CustomResourceDefinition with the definitions that they refer to. */
export interface CustomKinds {
  readonly kinds: readonly KindInfo[];
  readonly schemas: ReadonlyMap<string, Schema>;
}

/** The table of kinds while the server runs: the built-in ones and those of CustomResourceDefinitions, which come and go. */
export class LiveKinds implements KindTable, SchemaSource {
  readonly #builtin: KindTable;
  readonly #builtinSchemas: SchemaSource;
  readonly #custom = new Map<string, CustomKinds>();
  #table: KindTable;
  #byGroupResource = new Map<string, KindInfo>();
  #revision = 0;

  constructor(builtin: KindTable, schemas: SchemaSource) {
    this.#builtin = builtin;
    this.#builtinSchemas = schemas;
    this.#table = builtin;
    this.#index();
  }

  get all(): readonly KindInfo[] {
    return this.#table.all;
  }

  /** Kinds of CustomResourceDefinitions alone. */
  get custom(): readonly KindInfo[] {
    return [...this.#custom.values()].flatMap(({ kinds }) => kinds);
  }

  /** Grows with every change. */
  get revision(): number {
    return this.#revision;
  }

  byResource(group: string, version: string, plural: string): KindInfo | undefined {
    return this.#table.byResource(group, version, plural);
  }

  byKind(group: string, version: string, kind: string): KindInfo | undefined {
    return this.#table.byKind(group, version, kind);
  }

  groups(): { group: string; versions: string[] }[] {
    return this.#table.groups();
  }

  /** The resource in its preferred version. */
  byGroupResource(group: string, plural: string): KindInfo | undefined {
    return this.#byGroupResource.get(`${group}/${plural}`);
  }

  definition(name: string): Schema {
    if (name === customEnvelope) return envelope;
    for (const { schemas } of this.#custom.values()) {
      const found = schemas.get(name);
      if (found !== undefined) return found;
    }
    return this.#builtinSchemas.definition(name);
  }

  /** Takes the kinds of a definition, or with undefined away. */
  set(definition: string, kinds: CustomKinds | undefined): void {
    if (kinds === undefined) {
      if (!this.#custom.delete(definition)) return;
    } else this.#custom.set(definition, kinds);
    const sorted = this.custom.toSorted((a, b) => (a.group < b.group ? -1 : a.group > b.group ? 1 : byVersion(a, b)));
    this.#table = makeKindTable([...this.#builtin.all, ...sorted]);
    this.#index();
    this.#revision++;
  }

  #index(): void {
    this.#byGroupResource = new Map();
    for (const kind of this.#table.all) {
      const key = `${kind.group}/${kind.plural}`;
      if (!this.#byGroupResource.has(key)) this.#byGroupResource.set(key, kind);
    }
  }
}

const stages = ['alpha', 'beta', ''];

/** GA before beta before alpha, higher numbers first (k8s.io/apimachinery/pkg/version); other names last, in order. */
export function compareVersions(a: string, b: string): number {
  const parse = (text: string): number[] | undefined => {
    const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(text);
    return match === null ? undefined : [stages.indexOf(match[2] ?? ''), Number(match[1]), Number(match[3] ?? 0)];
  };
  const left = parse(a);
  const right = parse(b);
  if (left === undefined || right === undefined) {
    if (left === undefined && right === undefined) return a < b ? -1 : a > b ? 1 : 0;
    return left === undefined ? 1 : -1;
  }
  for (const [index, one] of left.entries()) if (one !== right[index]) return right[index]! - one;
  return 0;
}

const byVersion = (a: KindInfo, b: KindInfo): number => compareVersions(a.version, b.version);
