import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { AdmissionChain, AdmissionRequest, Operation } from '../admission/types.ts';
import type { ServiceAllocation } from '../admission/service-allocation.ts';
import type { KindInfo, StrategyContext } from '../api/kinds.ts';
import type { TokenUser } from '../auth/authenticator.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import type { UserInfo } from '../auth/identity.ts';
import type { ServiceAccountTokens } from '../auth/service-account-tokens.ts';
import type { FieldValidation } from '../machinery/decode.ts';
import type { JsonObject } from '../machinery/json.ts';
import type { SchemaSource } from '../machinery/openapi.ts';
import { badRequest, invalid, tooLarge } from '../machinery/status.ts';
import type { LiveKinds } from './live-kinds.ts';
import type { Registry } from './registry.ts';
import type { RequestInfo } from './request-info.ts';
import type { WatchHub } from './watch-hub.ts';

/** What every handler works with; one a server. */
export interface Core {
  readonly kinds: LiveKinds;
  readonly schemas: SchemaSource;
  /** The CustomResourceDefinition of that name, as this server knows it. */
  definition(name: string): JsonObject | undefined;
  readonly registry: Registry;
  readonly hub: WatchHub;
  readonly admission: AdmissionChain;
  readonly authorizer: Authorizer;
  readonly tokens: ServiceAccountTokens;
  /** Who has a token that is no service account's. */
  readonly tokenUser: TokenUser;
  readonly allocation: ServiceAllocation;
  readonly strategy: StrategyContext;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** One request for a resource, authenticated and authorized. */
export interface RequestContext {
  readonly core: Core;
  readonly info: RequestInfo;
  readonly kind: KindInfo;
  readonly user: UserInfo;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  /** The body, bounded. Throws 413. */
  body(): Promise<Uint8Array>;
  /** Texts for `Warning` headers of the answer. */
  readonly warnings: string[];
  /** Notes something in the audit event. */
  readonly annotate?: (key: string, value: string, level?: 'Metadata' | 'Request') => void;
}

/** Upstream's limit on a request body. */
export const bodyBytesMax = 3 * 1024 * 1024;

/** Nesting that no API object has; deeper bodies are refused before they are parsed. */
const depthMax = 200;

/** Refuses a JSON body that nests too deep. One pass over the bytes. */
export function checkDepth(body: Uint8Array): void {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < body.length; i++) {
    const byte = body[i]!;
    if (inString) {
      if (byte === 0x5c) i++;
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > depthMax) throw badRequest(`the body nests deeper than ${depthMax} levels`);
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
}

/** Reads a request's body up to `bodyBytesMax`. */
export async function readBody(request: Request): Promise<Uint8Array> {
  const limit = `limit is ${bodyBytesMax}`;
  const length = Number(request.headers.get('content-length') ?? 0);
  if (length > bodyBytesMax) throw tooLarge(limit);
  if (request.body === null) return new Uint8Array(0);
  const reader = request.body.getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > bodyBytesMax) {
      await reader.cancel().catch(() => undefined);
      throw tooLarge(limit);
    }
    pieces.push(value);
  }
  if (pieces.length === 1) return pieces[0]!;
  return Buffer.concat(pieces);
}

export interface WriteParameters {
  readonly dryRun: boolean;
  readonly fieldManager: string;
  /** Whether fieldManager was in the query. */
  readonly namedManager: boolean;
  readonly fieldValidation: FieldValidation;
  readonly force: boolean;
}

const validations: readonly string[] = ['Ignore', 'Warn', 'Strict'];

/** The query parameters of writes (metav1.CreateOptions, UpdateOptions, PatchOptions). Throws 422. */
export function writeParameters(
  context: RequestContext,
  options: 'CreateOptions' | 'UpdateOptions' | 'PatchOptions',
): WriteParameters {
  const { query } = context;
  const refuse = (field: string, type: 'FieldValueNotSupported' | 'FieldValueInvalid', detail: string): never => {
    throw invalid('meta.k8s.io', options, '', [{ type, field, detail }]);
  };
  const dryRuns = query.getAll('dryRun').filter((value) => value !== '');
  for (const value of dryRuns)
    if (value !== 'All')
      refuse(
        'dryRun',
        'FieldValueNotSupported',
        `Unsupported value: ${JSON.stringify(value)}: supported values: "All"`,
      );
  const fieldValidation = query.get('fieldValidation') ?? '';
  if (fieldValidation !== '' && !validations.includes(fieldValidation))
    refuse(
      'fieldValidation',
      'FieldValueNotSupported',
      `Unsupported value: ${JSON.stringify(fieldValidation)}: supported values: "Ignore", "Strict", "Warn"`,
    );
  const manager = query.get('fieldManager') ?? '';
  if (manager.length > 128) refuse('fieldManager', 'FieldValueInvalid', 'Too long: may not be more than 128 bytes');
  if (/[^\x20-\x7e\u00a0-\uffff]/.test(manager))
    refuse(
      'fieldManager',
      'FieldValueInvalid',
      `Invalid value: ${JSON.stringify(manager)}: should contain only printable characters`,
    );
  return {
    dryRun: dryRuns.length > 0,
    fieldManager: manager !== '' ? manager : managerOfAgent(context.headers.get('user-agent')),
    namedManager: manager !== '',
    fieldValidation: (fieldValidation === '' ? 'Warn' : fieldValidation) as FieldValidation,
    force: query.get('force') === 'true' || query.get('force') === '1',
  };
}

/** Upstream's default manager: the agent's name up to the first slash. */
function managerOfAgent(agent: string | null): string {
  const name = (agent ?? '')
    .split('/', 1)[0]!
    .replace(/[^\x20-\x7e]/g, '')
    .slice(0, 128);
  return name === '' ? 'unknown' : name;
}

const optionKinds = {
  CREATE: 'CreateOptions',
  UPDATE: 'UpdateOptions',
  DELETE: 'DeleteOptions',
  CONNECT: 'ConnectOptions',
} as const;

function optionFields(query: URLSearchParams): JsonObject {
  const out: JsonObject = {};
  for (const name of ['fieldManager', 'fieldValidation']) {
    const value = query.get(name);
    if (value !== null && value !== '') out[name] = value;
  }
  const dryRun = query.getAll('dryRun').filter((value) => value !== '');
  if (dryRun.length > 0) out.dryRun = dryRun;
  return out;
}

export function admissionRequest(
  context: RequestContext,
  operation: Operation,
  fields: { name: string; object: JsonObject | undefined; old: JsonObject | undefined; dryRun: boolean },
): AdmissionRequest {
  return {
    operation,
    kind: context.kind,
    subresource: context.info.subresource,
    namespace: context.kind.namespaced ? context.info.namespace : '',
    user: context.user,
    warnings: context.warnings,
    options: { kind: optionKinds[operation], apiVersion: 'meta.k8s.io/v1', ...optionFields(context.query) },
    ...(context.annotate === undefined ? {} : { annotate: context.annotate }),
    ...fields,
  };
}

export function groupResource(kind: KindInfo): { group: string; resource: string } {
  return { group: kind.group, resource: kind.plural };
}
