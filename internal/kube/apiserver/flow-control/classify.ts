import type { UserInfo } from '../../auth/identity.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { RequestInfo } from '../request-info.ts';
import { defaultSchemas } from './defaults.ts';

/** Which FlowSchema a request belongs to (k8s.io/apiserver/pkg/util/flowcontrol, rule.go). */
export interface FlowSchema {
  readonly name: string;
  /** '' for one that has no object. */
  readonly uid: string;
  readonly level: string;
  readonly precedence: number;
  /** What keeps requests of one schema apart. */
  readonly distinguisher: 'ByUser' | 'ByNamespace' | undefined;
  readonly rules: readonly Rule[];
}

interface Rule {
  readonly subjects: readonly ((user: UserInfo) => boolean)[];
  readonly resources: readonly ((info: RequestInfo) => boolean)[];
  readonly paths: readonly ((info: RequestInfo) => boolean)[];
}

const texts = (value: Json | undefined): readonly string[] => (Array.isArray(value) ? value.map(String) : []);
const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);
const nameOf = (value: Json | undefined): string => (isObject(value) ? String(value.name ?? '') : '');
const accountPrefix = 'system:serviceaccount:';

function subject(value: JsonObject): (user: UserInfo) => boolean {
  switch (value.kind) {
    case 'User': {
      const name = nameOf(value.user);
      return (user) => name === '*' || user.name === name;
    }
    case 'Group': {
      const name = nameOf(value.group);
      return (user) => name === '*' || user.groups.includes(name);
    }
    case 'ServiceAccount': {
      const name = nameOf(value.serviceAccount);
      const namespace = isObject(value.serviceAccount) ? String(value.serviceAccount.namespace ?? '') : '';
      const prefix = `${accountPrefix}${namespace}:`;
      return name === '*' ? (user) => user.name.startsWith(prefix) : (user) => user.name === prefix + name;
    }
    default:
      return () => false;
  }
}

/** Whether a list names a word; `*` is every word. */
function names(list: readonly string[]): (word: string) => boolean {
  if (list.includes('*')) return () => true;
  const set = new Set(list);
  return (word) => set.has(word);
}

function resourceRule(rule: JsonObject): (info: RequestInfo) => boolean {
  const verb = names(texts(rule.verbs));
  const group = names(texts(rule.apiGroups));
  const resource = names(texts(rule.resources));
  const namespace = names(texts(rule.namespaces));
  const whole = rule.clusterScope === true;
  return (info) =>
    verb(info.verb) &&
    group(info.group) &&
    resource(info.subresource === '' ? info.resource : `${info.resource}/${info.subresource}`) &&
    (info.namespace === '' ? whole : namespace(info.namespace));
}

function pathRule(rule: JsonObject): (info: RequestInfo) => boolean {
  const verb = names(texts(rule.verbs));
  const urls = texts(rule.nonResourceURLs);
  const exact = names(urls);
  const prefixes = urls.filter((url) => url.endsWith('*')).map((url) => url.slice(0, -1));
  return (info) => verb(info.verb) && (exact(info.path) || prefixes.some((prefix) => info.path.startsWith(prefix)));
}

export function flowSchema(object: JsonObject): FlowSchema {
  const metadata = isObject(object.metadata) ? object.metadata : {};
  const spec = isObject(object.spec) ? object.spec : {};
  const method = isObject(spec.distinguisherMethod) ? spec.distinguisherMethod.type : undefined;
  return {
    name: String(metadata.name),
    uid: String(metadata.uid ?? ''),
    level: nameOf(spec.priorityLevelConfiguration),
    precedence: Number(spec.matchingPrecedence ?? 1000),
    distinguisher: method === 'ByUser' || method === 'ByNamespace' ? method : undefined,
    rules: objects(spec.rules).map((rule) => ({
      subjects: objects(rule.subjects).map(subject),
      resources: objects(rule.resourceRules).map(resourceRule),
      paths: objects(rule.nonResourceRules).map(pathRule),
    })),
  };
}

const callersMax = 1000;

/** The schemas that are in force, in the order in which they are tried: by precedence, then by name. */
export class Classifier {
  readonly #schemas: readonly FlowSchema[];
  /** Of a user only those rules that name them: users come again and again. */
  readonly #byUser = new Map<string, readonly FlowSchema[]>();
  readonly #last: FlowSchema;

  /** `levels` are the priority levels that exist: schemas of others are not in force. */
  constructor(schemas: readonly FlowSchema[], levels: ReadonlySet<string>) {
    const known = schemas.filter(({ level }) => levels.has(level));
    const have = new Set(known.map(({ name }) => name));
    // What is mandatory is in force also where the object is missing.
    const missing = defaultSchemas
      .map(flowSchema)
      .filter(({ name }) => (name === 'exempt' || name === 'catch-all') && !have.has(name));
    const all = [...known, ...missing];
    all.sort((a, b) => a.precedence - b.precedence || (a.name < b.name ? -1 : 1));
    this.#schemas = all;
    this.#last = all.find(({ name }) => name === 'catch-all')!;
  }

  classify(user: UserInfo, info: RequestInfo): FlowSchema {
    for (const schema of this.#of(user))
      for (const rule of schema.rules) {
        const tests = info.isResource ? rule.resources : rule.paths;
        for (const test of tests) if (test(info)) return schema;
      }
    return this.#last;
  }

  #of(user: UserInfo): readonly FlowSchema[] {
    const key = `${user.name}\0${user.groups.join('\0')}`;
    let found = this.#byUser.get(key);
    if (found === undefined) {
      found = this.#schemas.flatMap((schema) => {
        const rules = schema.rules.filter(({ subjects }) => subjects.some((test) => test(user)));
        return rules.length === 0 ? [] : [{ ...schema, rules }];
      });
      if (this.#byUser.size >= callersMax) this.#byUser.clear();
      this.#byUser.set(key, found);
    }
    return found;
  }
}

/** What tells the flows of a schema apart for this request. */
export function flowOf(schema: FlowSchema, user: UserInfo, info: RequestInfo): string {
  const by =
    schema.distinguisher === 'ByUser' ? user.name : schema.distinguisher === 'ByNamespace' ? info.namespace : '';
  return `${schema.name}\0${by}`;
}
