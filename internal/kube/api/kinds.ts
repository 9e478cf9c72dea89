import type { Random } from '../../base/random.ts';
import type { JsonObject } from '../machinery/json.ts';
import type { FieldError } from '../machinery/status.ts';
import type { Structural } from '../machinery/structural/schema.ts';
import { nameAndAge, type Printer } from '../machinery/table.ts';

/**
 * The one table of kinds. Whatever serves, prints, validates or discovers a resource reads a row of it; a new kind is a new row.
 */

export type Verb = 'create' | 'delete' | 'deletecollection' | 'get' | 'list' | 'patch' | 'update' | 'watch';

export const allVerbs: readonly Verb[] = [
  'create',
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'update',
  'watch',
];

/** What strategies may ask of the shell. */
export interface StrategyContext {
  /** Wall time in ms. */
  now(): number;
  random: Random;
  /** Who makes the request; absent where nobody does (a change that the server itself makes to what is stored). */
  user?: {
    readonly name: string;
    readonly uid?: string;
    readonly groups: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

/**
 * What upstream's registry strategies do, for the parts that differ by kind. All functions are pure; those named prepare… and defaults change
 * the object they are given. `beforeCreate` and `beforeUpdate` in `lifecycle.ts` call them in the right order, with the metadata rules.
 */
export interface Strategy {
  /** Fills defaults; also applied to objects read from an older writer and to every result of a patch. */
  defaults?(object: JsonObject): void;
  /** Whether a new object may come with a status (nodes register with theirs). Else it is dropped when there is a status subresource. */
  statusOnCreate?: boolean;
  /** Sets and drops what a client may not choose on create. */
  prepareForCreate?(object: JsonObject, context: StrategyContext): void;
  validate?(object: JsonObject): FieldError[];
  /** Keeps from `old` what a client may not change through the main resource. Default: keep the old status when there is a status subresource. */
  prepareForUpdate?(object: JsonObject, old: JsonObject, context: StrategyContext): void;
  validateUpdate?(object: JsonObject, old: JsonObject): FieldError[];
  /** By subresource: `status` and others that write the parent object. Default for status: everything but status and managedFields is kept from old. */
  subresources?: Record<
    string,
    {
      prepareForUpdate?(object: JsonObject, old: JsonObject, context: StrategyContext): void;
      validateUpdate?(object: JsonObject, old: JsonObject): FieldError[];
    }
  >;
  /** Whether metadata.generation is kept (1 on create, +1 when spec changes). */
  generation?: boolean;
  /** What counts for generation; default: everything but metadata and status. */
  specChanged?(object: JsonObject, old: JsonObject): boolean;
  /** PUT of a name that does not exist creates it. */
  allowCreateOnUpdate?: boolean;
  /** PUT without resourceVersion is accepted; default true. */
  allowUnconditionalUpdate?: boolean;
  /** Changes an object at its first DELETE: finalizers that keep it until something is done. */
  prepareForDelete?(object: JsonObject, context: StrategyContext): void;
  /** What a DELETE that names no policy does with dependents; without it they go in the background. */
  defaultPropagation?: {
    readonly policy: 'Orphan';
    /** `Warning:` header text for who left the policy out. */
    readonly warning?: string;
  };
  /** `Warning:` header texts for an object that is accepted; `old` is what it was before an update. */
  warnings?(object: JsonObject, old: JsonObject | undefined): string[];
  /** Default grace period in seconds; undefined means the kind is deleted at once. Only pods have one. */
  gracePeriodSeconds?(object: JsonObject, requested: number | undefined): number | undefined;
}

export interface SubresourceInfo {
  /** Verbs as discovery shows them. */
  verbs: readonly string[];
  /** GVK of the body when it is not the parent's (Scale, Eviction, Binding, TokenRequest). */
  group?: string;
  version?: string;
  kind: string;
  /** Where Scale finds things in the parent: only for `scale`. */
  scale?: {
    specReplicas: string[];
    statusReplicas: string[];
    /** Path to a LabelSelector object or (ReplicationController) a plain map of labels. */
    selector: string[];
  };
}

/** What a kind of a CustomResourceDefinition has beyond others: its objects are stored in one version and served in several. */
export interface CustomKind {
  /** metadata.name of the definition. */
  readonly definition: string;
  /** metadata.uid of the definition: another one may have its name later. */
  readonly definitionUid: string;
  readonly structural: Structural;
  /** Stands for everything that the stored form depends on: bytes that bear this mark are served as they are. */
  readonly schemaId: string;
  readonly storageVersion: string;
  /** Versions that differ in more than apiVersion are converted by a webhook. */
  readonly conversion: 'None' | 'Webhook';
  /** The definition is being deleted: nothing is created any more. */
  readonly terminating: boolean;
}

export interface KindInfo {
  /** '' for core. */
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  listKind: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  verbs: readonly Verb[];
  /** Never stored: answered from the request alone (TokenReview, SubjectAccessReview, …). */
  virtual: boolean;
  subresources: Readonly<Record<string, SubresourceInfo>>;
  /** Definition name, as in OpenAPI. */
  schema: string;
  printer: Printer;
  /** By field name, beyond metadata.name and metadata.namespace: the value to compare in a field selector. */
  selectableFields: Readonly<Record<string, (object: JsonObject) => string>>;
  strategy: Strategy;
  /** What the name must look like; default `subdomain`. */
  nameRule: 'subdomain' | 'label' | 'label1035' | 'path' | 'any';
  /** Which store the objects go to: Leases of nodes and Events are volatile on a single server (architecture.md, Control-plane store). */
  volatile: boolean;
  /**
   * Where and how the objects are stored, for a kind that is another kind's second face (events.k8s.io). Absent: its own group and plural, as it is.
   */
  storage?: {
    group: string;
    resource: string;
    /** To the stored form (apiVersion included). */
    encode(object: JsonObject): JsonObject;
    decode(object: JsonObject): JsonObject;
  };
  /** Set for the kinds of CustomResourceDefinitions. */
  custom?: CustomKind;
  /** Told with every answer about the kind. */
  deprecation?: string;
}

/** What a row must say; the rest has defaults. */
export type KindRow = Pick<KindInfo, 'group' | 'version' | 'kind' | 'plural' | 'schema'> & Partial<KindInfo>;

/** The `status` subresource that most kinds have. */
export function statusSubresource(kind: string): SubresourceInfo {
  return { kind, verbs: ['get', 'patch', 'update'] };
}

/** Scale of a workload whose selector is a LabelSelector. */
export const scaleSubresource: SubresourceInfo = {
  group: 'autoscaling',
  version: 'v1',
  kind: 'Scale',
  verbs: ['get', 'patch', 'update'],
  scale: { specReplicas: ['spec', 'replicas'], statusReplicas: ['status', 'replicas'], selector: ['spec', 'selector'] },
};

/** Completes a row of the table. */
export function defineKind(row: KindRow): KindInfo {
  return {
    singular: row.kind.toLowerCase(),
    listKind: `${row.kind}List`,
    shortNames: [],
    categories: [],
    namespaced: true,
    verbs: allVerbs,
    virtual: false,
    subresources: {},
    printer: nameAndAge,
    selectableFields: {},
    strategy: {},
    nameRule: 'subdomain',
    volatile: false,
    ...row,
  };
}

/** A kind that is only created, never stored: a question to the server. */
export function defineReview(row: KindRow): KindInfo {
  return defineKind({ namespaced: false, verbs: ['create'], virtual: true, nameRule: 'any', ...row });
}

/** Looks kinds up. Built once; CRDs make a new table. */
export interface KindTable {
  readonly all: readonly KindInfo[];
  byResource(group: string, version: string, plural: string): KindInfo | undefined;
  byKind(group: string, version: string, kind: string): KindInfo | undefined;
  /** Groups in discovery order with their versions, preferred first. */
  groups(): { group: string; versions: string[] }[];
}

export function makeKindTable(kinds: readonly KindInfo[]): KindTable {
  const byResource = new Map<string, KindInfo>();
  const byKind = new Map<string, KindInfo>();
  const groups = new Map<string, string[]>();
  for (const kind of kinds) {
    byResource.set(`${kind.group}/${kind.version}/${kind.plural}`, kind);
    byKind.set(`${kind.group}/${kind.version}/${kind.kind}`, kind);
    const versions = groups.get(kind.group) ?? [];
    if (!versions.includes(kind.version)) versions.push(kind.version);
    groups.set(kind.group, versions);
  }
  return {
    all: kinds,
    byResource: (group, version, plural) => byResource.get(`${group}/${version}/${plural}`),
    byKind: (group, version, kind) => byKind.get(`${group}/${version}/${kind}`),
    groups: () => [...groups].map(([group, versions]) => ({ group, versions })),
  };
}

/** `apps/v1`, `v1`. */
export function apiVersionOf(kind: { group: string; version: string }): string {
  return kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;
}
