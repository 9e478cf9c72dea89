import type { KindInfo, KindTable } from '../kinds.ts';
import { apiVersionOf } from '../kinds.ts';

/** Every request that the API answers, in a form from which both OpenAPI documents are written. */
export interface Operation {
  method: 'get' | 'put' | 'post' | 'delete' | 'patch';
  /** `x-kubernetes-action`; undefined for discovery. */
  action?: 'get' | 'list' | 'post' | 'put' | 'patch' | 'delete' | 'deletecollection' | 'connect';
  operationId: string;
  description: string;
  tag: string;
  /** Names of `parameterTable`. */
  parameters: readonly string[];
  /** Definition of the body; `required` unless it is DeleteOptions. */
  body?: string;
  /** Definition of the answer; undefined for text. */
  answer?: string;
  codes: readonly number[];
  gvk?: { group: string; version: string; kind: string } | undefined;
  watch: boolean;
  /** Of the kind of a CustomResourceDefinition. */
  custom?: boolean;
}

export interface PathOperations {
  path: string;
  /** Parameters of the path itself. */
  parameters: readonly string[];
  operations: Operation[];
}

const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1.';
const listParameters = [
  'allowWatchBookmarks',
  'continue',
  'fieldSelector',
  'labelSelector',
  'limit',
  'resourceVersion',
  'resourceVersionMatch',
  'sendInitialEvents',
  'timeoutSeconds',
  'watch',
];
const deleteParameters = ['dryRun', 'gracePeriodSeconds', 'orphanDependents', 'propagationPolicy'];
const writeParameters = ['dryRun', 'fieldManager', 'fieldValidation'];

/** `a Pod`, `an Event`, `Endpoints`. */
function withArticle(kind: string): string {
  if (/[^s]s$/.test(kind)) return kind;
  return `${/^[AEIOU]/.test(kind) ? 'an' : 'a'} ${kind}`;
}

/** Kinds whose delete answers the object; the others answer a Status. */
const answersDeleted: ReadonlySet<string> = new Set([
  'Pod',
  'Service',
  'ServiceAccount',
  'PersistentVolume',
  'PersistentVolumeClaim',
  'StorageClass',
  'CSIDriver',
  'CSINode',
  'VolumeAttachment',
  'VolumeAttributesClass',
  'PodTemplate',
  'ResourceQuota',
  'DeviceClass',
  'ResourceClaim',
  'ResourceClaimTemplate',
  'ResourceSlice',
]);

/** Definitions of bodies that are no kinds of the table. */
const bodyDefinitions: Readonly<Record<string, string>> = {
  Scale: 'io.k8s.api.autoscaling.v1.Scale',
  Eviction: 'io.k8s.api.policy.v1.Eviction',
  Binding: 'io.k8s.api.core.v1.Binding',
  TokenRequest: 'io.k8s.api.authentication.v1.TokenRequest',
};

/** `rbac.authorization.k8s.io` -> `rbacAuthorization`. */
function groupWord(group: string): string {
  if (group === '') return 'core';
  return group
    .replace(/\.k8s\.io$/, '')
    .split('.')
    .map((part, index) => (index === 0 ? part : capital(part)))
    .join('');
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Names of subresources as they are written in operation ids. */
function subresourceWord(name: string): string {
  return name === 'ephemeralcontainers'
    ? 'Ephemeralcontainers'
    : name === 'portforward'
      ? 'Portforward'
      : capital(name);
}

function kindOperations(kind: KindInfo): PathOperations[] {
  const root = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const word = `${capital(groupWord(kind.group))}${capital(kind.version)}`;
  const tag = `${groupWord(kind.group)}_${kind.version}`;
  const gvk = { group: kind.group, version: kind.version, kind: kind.kind };
  const scope = kind.namespaced ? 'Namespaced' : '';
  const list = `${kind.schema}List`;
  const out: PathOperations[] = [];
  const make = (
    operation: Omit<Operation, 'tag' | 'gvk' | 'watch'> & { watch?: boolean; gvk?: Operation['gvk'] },
  ): Operation => ({
    watch: false,
    gvk,
    ...operation,
    tag,
    custom: kind.custom !== undefined,
  });
  const collection = kind.namespaced ? `${root}/namespaces/{namespace}/${kind.plural}` : `${root}/${kind.plural}`;
  const placeParameters = kind.namespaced ? ['namespace', 'pretty'] : ['pretty'];
  const has = (verb: KindInfo['verbs'][number]): boolean => kind.verbs.includes(verb);

  const onCollection: Operation[] = [];
  if (has('list'))
    onCollection.push(
      make({
        method: 'get',
        action: 'list',
        operationId: `list${word}${scope}${kind.kind}`,
        description: `list ${kind.verbs.includes('watch') ? 'or watch ' : ''}objects of kind ${kind.kind}`,
        parameters: listParameters,
        answer: list,
        codes: [200],
        watch: true,
      }),
    );
  if (has('create'))
    onCollection.push(
      make({
        method: 'post',
        action: 'post',
        operationId: `create${word}${scope}${kind.kind}`,
        description: `create ${withArticle(kind.kind)}`,
        parameters: writeParameters,
        body: kind.schema,
        answer: kind.schema,
        codes: [200, 201, 202],
      }),
    );
  if (has('deletecollection'))
    onCollection.push(
      make({
        method: 'delete',
        action: 'deletecollection',
        operationId: `delete${word}Collection${scope}${kind.kind}`,
        description: `delete collection of ${kind.kind}`,
        parameters: [
          ...deleteParameters,
          ...listParameters.filter((name) => name !== 'watch' && name !== 'allowWatchBookmarks'),
        ],
        body: `${meta}DeleteOptions`,
        answer: `${meta}Status`,
        codes: [200],
      }),
    );
  if (onCollection.length > 0) out.push({ path: collection, parameters: placeParameters, operations: onCollection });
  if (kind.namespaced && has('list'))
    out.push({
      path: `${root}/${kind.plural}`,
      parameters: [...listParameters, 'pretty'],
      operations: [
        make({
          method: 'get',
          action: 'list',
          operationId: `list${word}${kind.kind}ForAllNamespaces`,
          description: `list or watch objects of kind ${kind.kind}`,
          parameters: [],
          answer: list,
          codes: [200],
          watch: true,
        }),
      ],
    });
  const onItem = itemOperations(kind, make, `${word}${scope}${kind.kind}`, kind.schema, kind.verbs);
  if (onItem.length > 0)
    out.push({ path: `${collection}/{name}`, parameters: ['name', ...placeParameters], operations: onItem });
  for (const [name, sub] of Object.entries(kind.subresources)) {
    const path = `${collection}/{name}/${name}`;
    const ending = `${word}${scope}${kind.kind}${subresourceWord(name)}`;
    const subGvk = { group: sub.group ?? kind.group, version: sub.version ?? kind.version, kind: sub.kind };
    const definition = sub.kind === kind.kind ? kind.schema : bodyDefinitions[sub.kind];
    const operations: Operation[] = [];
    if (/^Pod(Attach|Exec|PortForward)Options$/.test(sub.kind)) {
      for (const method of ['get', 'post'] as const)
        operations.push(
          make({
            method,
            action: 'connect',
            operationId: `connect${capital(groupWord(kind.group))}${capital(kind.version)}${capital(method)}${scope}${kind.kind}${subresourceWord(name)}`,
            description: `connect ${method.toUpperCase()} requests to ${name} of ${kind.kind}`,
            parameters: [],
            codes: [200],
            gvk: subGvk,
          }),
        );
      out.push({
        path,
        parameters: ['name', ...placeParameters.filter((p) => p !== 'pretty'), ...connectParameters[name]!],
        operations,
      });
      continue;
    }
    if (name === 'log') {
      operations.push(
        make({
          method: 'get',
          action: 'get',
          operationId: `read${ending}`,
          description: `read ${name} of the specified ${kind.kind}`,
          parameters: [],
          codes: [200],
          gvk: subGvk,
        }),
      );
      out.push({ path, parameters: ['name', ...placeParameters, ...logParameters], operations });
      continue;
    }
    if (definition === undefined) continue;
    if (sub.verbs.includes('create'))
      operations.push(
        make({
          method: 'post',
          action: 'post',
          operationId: `create${ending}`,
          description: `create ${name} of a ${kind.kind}`,
          parameters: [],
          body: definition,
          answer: definition,
          codes: [200, 201, 202],
          gvk: subGvk,
        }),
      );
    operations.push(...itemOperations({ ...kind, kind: kind.kind }, make, ending, definition, sub.verbs, name, subGvk));
    out.push({
      path,
      parameters: sub.verbs.includes('create')
        ? [...writeParameters, 'name', ...placeParameters]
        : ['name', ...placeParameters],
      operations,
    });
  }
  return out;
}

function itemOperations(
  kind: KindInfo,
  make: (operation: Omit<Operation, 'tag' | 'gvk' | 'watch'> & { gvk?: Operation['gvk'] }) => Operation,
  ending: string,
  definition: string,
  verbs: readonly string[],
  subresource?: string,
  gvk?: Operation['gvk'],
): Operation[] {
  const of = subresource === undefined ? `the specified ${kind.kind}` : `${subresource} of the specified ${kind.kind}`;
  const extra = gvk === undefined ? {} : { gvk };
  const out: Operation[] = [];
  if (verbs.includes('get'))
    out.push(
      make({
        method: 'get',
        action: 'get',
        operationId: `read${ending}`,
        description: `read ${of}`,
        parameters: [],
        answer: definition,
        codes: [200],
        ...extra,
      }),
    );
  if (verbs.includes('update'))
    out.push(
      make({
        method: 'put',
        action: 'put',
        operationId: `replace${ending}`,
        description: `replace ${of}`,
        parameters: writeParameters,
        body: definition,
        answer: definition,
        codes: [200, 201],
        ...extra,
      }),
    );
  if (verbs.includes('delete') && subresource === undefined) {
    const deleted = answersDeleted.has(kind.kind);
    out.push(
      make({
        method: 'delete',
        action: 'delete',
        operationId: `delete${ending}`,
        description: `delete ${withArticle(kind.kind)}`,
        parameters: deleteParameters,
        body: `${meta}DeleteOptions`,
        answer: deleted ? definition : `${meta}Status`,
        codes: [200, 202],
      }),
    );
  }
  if (verbs.includes('patch'))
    out.push(
      make({
        method: 'patch',
        action: 'patch',
        operationId: `patch${ending}`,
        description: `partially update ${of}`,
        parameters: [...writeParameters, 'force'],
        body: `${meta}Patch`,
        answer: definition,
        codes: [200, 201],
        ...extra,
      }),
    );
  return out;
}

const connectParameters: Readonly<Record<string, readonly string[]>> = {
  attach: ['container', 'stderr', 'stdin', 'stdout', 'tty'],
  exec: ['command', 'container', 'stderr', 'stdin', 'stdout', 'tty'],
  portforward: ['ports'],
};
const logParameters = [
  'container',
  'follow',
  'insecureSkipTLSVerifyBackend',
  'limitBytes',
  'previous',
  'sinceSeconds',
  'stream',
  'tailLines',
  'timestamps',
];

function discovery(
  path: string,
  operationId: string,
  tag: string,
  description: string,
  definition: string,
): PathOperations {
  return {
    path,
    parameters: [],
    operations: [
      {
        method: 'get',
        operationId,
        description,
        tag,
        parameters: [],
        answer: `${meta}${definition}`,
        codes: [200],
        watch: false,
      },
    ],
  };
}

/** Paths of one group and version. */
export function groupVersionPaths(kinds: KindTable, group: string, version: string): PathOperations[] {
  const word = groupWord(group);
  const root = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
  return [
    discovery(
      `${root}/`,
      `get${capital(word)}${capital(version)}APIResources`,
      `${word}_${version}`,
      'get available resources',
      'APIResourceList',
    ),
    ...kinds.all.filter((kind) => kind.group === group && kind.version === version).flatMap(kindOperations),
  ];
}

/** Paths of a group itself. */
export function groupPaths(group: string): PathOperations[] {
  const word = groupWord(group);
  if (group === '')
    return [discovery('/api/', 'getCoreAPIVersions', 'core', 'get available API versions', 'APIVersions')];
  return [discovery(`/apis/${group}/`, `get${capital(word)}APIGroup`, word, 'get information of a group', 'APIGroup')];
}

/** Everything, for the one document of OpenAPI v2. */
export function allPaths(kinds: KindTable): PathOperations[] {
  return [
    discovery('/apis/', 'getAPIVersions', 'apis', 'get available API versions', 'APIGroupList'),
    {
      path: '/version/',
      parameters: [],
      operations: [
        {
          method: 'get',
          operationId: 'getCodeVersion',
          description: 'get the version information for this server',
          tag: 'version',
          parameters: [],
          answer: 'io.k8s.apimachinery.pkg.version.Info',
          codes: [200],
          watch: false,
        },
      ],
    },
    ...kinds
      .groups()
      .flatMap(({ group, versions }) => [
        ...groupPaths(group),
        ...versions.flatMap((version) => groupVersionPaths(kinds, group, version)),
      ]),
  ];
}

/** Which definitions are which kinds: `x-kubernetes-group-version-kind`. */
export function definitionKinds(kinds: KindTable): Map<string, { group: string; version: string; kind: string }[]> {
  const out = new Map<string, { group: string; version: string; kind: string }[]>();
  const add = (name: string, group: string, version: string, kind: string): void => {
    const list = out.get(name) ?? [];
    if (!list.some((other) => other.group === group && other.version === version && other.kind === kind))
      list.push({ group, kind, version });
    out.set(name, list);
  };
  for (const kind of kinds.all) {
    add(kind.schema, kind.group, kind.version, kind.kind);
    if (kind.verbs.includes('list')) add(`${kind.schema}List`, kind.group, kind.version, kind.listKind);
    for (const sub of Object.values(kind.subresources)) {
      const definition = bodyDefinitions[sub.kind];
      if (definition !== undefined) add(definition, sub.group ?? kind.group, sub.version ?? kind.version, sub.kind);
    }
  }
  const versions = new Set(kinds.all.map((kind) => apiVersionOf(kind)));
  for (const apiVersion of [...versions].sort()) {
    const slash = apiVersion.indexOf('/');
    const group = slash < 0 ? '' : apiVersion.slice(0, slash);
    const version = apiVersion.slice(slash + 1);
    add(`${meta}DeleteOptions`, group, version, 'DeleteOptions');
    add(`${meta}WatchEvent`, group, version, 'WatchEvent');
  }
  for (const kind of ['Status', 'APIGroup', 'APIGroupList', 'APIResourceList', 'APIVersions'])
    add(`${meta}${kind}`, '', 'v1', kind);
  return out;
}
