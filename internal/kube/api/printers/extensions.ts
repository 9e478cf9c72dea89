import type { JsonObject } from '../../machinery/json.ts';
import type { Printer } from '../../machinery/table.ts';
import { humanDuration } from '../../machinery/time.ts';
import { objects } from '../defaults/helpers.ts';
import { ageColumn, ageOf, column, count, nameColumn, nameOf, part, text } from './cells.ts';

/** Columns of the kinds that extend or steer the API server: admission, aggregation, flow control, certificates, classes. */
const integer = { type: 'integer' } as const;

export const webhookConfigurationPrinter: Printer = {
  columns: [nameColumn, column('Webhooks', 'How many webhooks it has.', integer), ageColumn],
  row: (configuration, nowMs) => [
    nameOf(configuration),
    objects(configuration.webhooks).length,
    ageOf(configuration, nowMs),
  ],
};

function kindText(reference: JsonObject): string {
  return `${text(reference.apiVersion)}/${text(reference.kind)}`;
}

function policyPrinter(name: string, field: string): Printer {
  return {
    columns: [
      nameColumn,
      column(name, `How many ${field} it has.`, integer),
      column('ParamKind', 'The kind of its parameters.'),
      ageColumn,
    ],
    row(policy, nowMs) {
      const spec = part(policy, 'spec');
      return [
        nameOf(policy),
        objects(spec[field]).length,
        spec.paramKind === undefined ? '<unset>' : kindText(part(spec, 'paramKind')),
        ageOf(policy, nowMs),
      ];
    },
  };
}

export const validatingPolicyPrinter: Printer = policyPrinter('Validations', 'validations');
export const mutatingPolicyPrinter: Printer = policyPrinter('Mutations', 'mutations');

export const policyBindingPrinter: Printer = {
  columns: [
    nameColumn,
    column('PolicyName', 'The policy that is bound.'),
    column('ParamRef', 'Where its parameters are.'),
    ageColumn,
  ],
  row(binding, nowMs) {
    const spec = part(binding, 'spec');
    const parameters = part(spec, 'paramRef');
    const namespace = text(parameters.namespace);
    const shown =
      spec.paramRef === undefined
        ? '<unset>'
        : text(parameters.name) === ''
          ? '*/*'
          : `${namespace === '' ? '*' : namespace}/${text(parameters.name)}`;
    return [nameOf(binding), text(spec.policyName), shown, ageOf(binding, nowMs)];
  },
};

export const apiServicePrinter: Printer = {
  columns: [
    nameColumn,
    column('Service', 'The reference to the service that hosts this API endpoint.'),
    column('Available', 'Whether this service is available.'),
    ageColumn,
  ],
  row(apiService, nowMs) {
    const spec = part(apiService, 'spec');
    const service = part(spec, 'service');
    const available = objects(part(apiService, 'status').conditions).find(
      (condition) => condition.type === 'Available',
    );
    const shown =
      available === undefined
        ? 'Unknown'
        : available.status === 'True'
          ? 'True'
          : `${text(available.status)} (${text(available.reason)})`;
    return [
      nameOf(apiService),
      spec.service === undefined ? 'Local' : `${text(service.namespace)}/${text(service.name)}`,
      shown,
      ageOf(apiService, nowMs),
    ];
  },
};

export const flowSchemaPrinter: Printer = {
  columns: [
    nameColumn,
    column('PriorityLevel', 'The priority level of the requests that match.'),
    column('MatchingPrecedence', 'Lower numbers are tried first.', integer),
    column('DistinguisherMethod', 'What tells the flows apart.'),
    ageColumn,
    column('MissingPL', 'Whether the priority level does not exist.'),
  ],
  row(flow, nowMs) {
    const spec = part(flow, 'spec');
    const dangling = objects(part(flow, 'status').conditions).find((condition) => condition.type === 'Dangling');
    return [
      nameOf(flow),
      text(part(spec, 'priorityLevelConfiguration').name),
      count(spec.matchingPrecedence),
      spec.distinguisherMethod === undefined ? '<none>' : text(part(spec, 'distinguisherMethod').type),
      ageOf(flow, nowMs),
      dangling === undefined ? '?' : text(dangling.status),
    ];
  },
};

export const priorityLevelPrinter: Printer = {
  columns: [
    nameColumn,
    column('Type', 'Limited or Exempt.'),
    column('NominalConcurrencyShares', 'Its part of the seats of the server.'),
    column('Queues', 'How many queues it has.'),
    column('HandSize', 'How many of them a flow may use.'),
    column('QueueLengthLimit', 'How many requests may wait in a queue.'),
    ageColumn,
  ],
  row(level, nowMs) {
    const spec = part(level, 'spec');
    const limited = part(spec, 'limited');
    const exempt = part(spec, 'exempt');
    const response = part(limited, 'limitResponse');
    const queuing = part(response, 'queuing');
    const queues = response.type === 'Queue' && response.queuing !== undefined;
    const shown = (value: JsonObject[string] | undefined): string | number => (queues ? count(value) : '<none>');
    const shares = spec.type === 'Limited' ? limited.nominalConcurrencyShares : exempt.nominalConcurrencyShares;
    return [
      nameOf(level),
      text(spec.type),
      shares === undefined ? '<none>' : count(shares),
      shown(queuing.queues),
      shown(queuing.handSize),
      shown(queuing.queueLengthLimit),
      ageOf(level, nowMs),
    ];
  },
};

function certificateState(request: JsonObject): string {
  const status = part(request, 'status');
  const conditions = objects(status.conditions);
  const has = (type: string): boolean => conditions.some((condition) => condition.type === type);
  const words: string[] = [];
  if (has('Denied')) words.push('Denied');
  if (has('Approved')) words.push('Approved');
  if (has('Failed')) words.push('Failed');
  if (words.length === 0) words.push('Pending');
  if (text(status.certificate) !== '') words.push('Issued');
  return words.join(',');
}

export const certificateRequestPrinter: Printer = {
  columns: [
    nameColumn,
    ageColumn,
    column('SignerName', 'Who is to sign.'),
    column('Requestor', 'Who asks for the certificate.'),
    column('RequestedDuration', 'For how long it is to be valid.'),
    column('Condition', 'How far the request is.'),
  ],
  row(request, nowMs) {
    const spec = part(request, 'spec');
    return [
      nameOf(request),
      ageOf(request, nowMs),
      text(spec.signerName) || '<none>',
      text(spec.username),
      typeof spec.expirationSeconds === 'number' ? humanDuration(spec.expirationSeconds * 1000) : '<none>',
      certificateState(request),
    ];
  },
};

export const runtimeClassPrinter: Printer = {
  columns: [nameColumn, column('Handler', 'The runtime of the nodes that runs such pods.'), ageColumn],
  row: (runtimeClass, nowMs) => [nameOf(runtimeClass), text(runtimeClass.handler), ageOf(runtimeClass, nowMs)],
};

export const volumeAttributesClassPrinter: Printer = {
  columns: [nameColumn, column('DriverName', 'The CSI driver.'), ageColumn],
  row: (attributes, nowMs) => [nameOf(attributes), text(attributes.driverName), ageOf(attributes, nowMs)],
};

/** Only name and age. */
export const plainPrinter: Printer = {
  columns: [nameColumn, ageColumn],
  row: (object, nowMs) => [nameOf(object), ageOf(object, nowMs)],
};

export const resourceClaimPrinter: Printer = {
  columns: [nameColumn, column('State', 'Whether it is allocated, reserved or being deleted.'), ageColumn],
  row(claim, nowMs) {
    const status = part(claim, 'status');
    const words: string[] = [];
    if (part(claim, 'metadata').deletionTimestamp !== undefined) words.push('deleted');
    if (status.allocation === undefined) {
      if (words.length === 0) words.push('pending');
    } else words.push('allocated', ...(objects(status.reservedFor).length > 0 ? ['reserved'] : []));
    return [nameOf(claim), words.join(','), ageOf(claim, nowMs)];
  },
};

export const resourceSlicePrinter: Printer = {
  columns: [
    nameColumn,
    column('Node', 'The node that has the devices.'),
    column('Driver', 'The driver of the devices.'),
    column('Pool', 'The pool that they belong to.'),
    ageColumn,
  ],
  row(slice, nowMs) {
    const spec = part(slice, 'spec');
    return [
      nameOf(slice),
      text(spec.nodeName) || '<unset>',
      text(spec.driver),
      text(part(spec, 'pool').name),
      ageOf(slice, nowMs),
    ];
  },
};
