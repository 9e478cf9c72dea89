import { type PemBlock, pemBlocks } from '../../../base/pem.ts';
import { certificateRequestProblem } from '../../machinery/certificate-request.ts';
import type { Json, JsonObject } from '../../machinery/json.ts';
import { jsonEqual } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidValue,
  notSupported,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { oneOf, part, specOf, texts } from './common.ts';

/** Rules of CertificateSigningRequests (pkg/apis/certificates/validation/validation.go). */
const expirationMin = 600;
const usages = [
  'any',
  'cert sign',
  'client auth',
  'code signing',
  'content commitment',
  'crl sign',
  'data encipherment',
  'decipher only',
  'digital signature',
  'email protection',
  'encipher only',
  'ipsec end system',
  'ipsec tunnel',
  'ipsec user',
  'key agreement',
  'key encipherment',
  'microsoft sgc',
  'netscape sgc',
  'ocsp signing',
  's/mime',
  'server auth',
  'signing',
  'timestamping',
];
const decisions = ['Approved', 'Denied'];
const lasting = [...decisions, 'Failed'];

const blocksOf = (base64: Json | undefined): PemBlock[] =>
  pemBlocks(Buffer.from(String(base64 ?? ''), 'base64').toString('latin1'));

/** Whether the bytes are one DER SEQUENCE and nothing more: what every certificate and every request is. */
function isSequence(bytes: Uint8Array): boolean {
  if (bytes.length < 2 || bytes[0] !== 0x30) return false;
  const first = bytes[1]!;
  if (first < 0x80) return bytes.length === 2 + first;
  const count = first & 0x7f;
  let length = 0;
  for (let i = 0; i < count && i < 4; i++) length = length * 256 + (bytes[2 + i] ?? 0);
  return count > 0 && count <= 4 && bytes.length === 2 + count + length;
}

function requestErrors(request: Json | undefined): FieldError[] {
  const wrong = (why: string): FieldError[] => [invalidValue('spec.request', request ?? '', why)];
  const block = blocksOf(request)[0];
  if (block === undefined || (block.type !== 'CERTIFICATE REQUEST' && block.type !== 'NEW CERTIFICATE REQUEST'))
    return wrong('PEM block type must be CERTIFICATE REQUEST');
  const problem = certificateRequestProblem(block.bytes);
  return problem === undefined ? [] : wrong(problem);
}

function certificateErrors(certificate: Json | undefined): FieldError[] {
  const wrong = (why: string): FieldError[] => [invalidValue('status.certificate', '<certificate data>', why)];
  if (certificate === undefined || certificate === '') return [];
  const blocks = blocksOf(certificate);
  if (blocks.length === 0) return wrong('must contain at least one CERTIFICATE PEM block');
  for (const block of blocks) {
    if (block.type !== 'CERTIFICATE')
      return wrong(`only CERTIFICATE PEM blocks are allowed, found ${JSON.stringify(block.type)}`);
    if (block.headers) return wrong('no PEM block headers are permitted');
    if (!isSequence(block.bytes)) return wrong('x509: malformed certificate');
  }
  return [];
}

/** `example.com/my-signer`. */
export function signerNameErrors(name: string, path: string): FieldError[] {
  if (name === '') return [required(path)];
  const slash = name.indexOf('/');
  if (slash < 0 || name.indexOf('/', slash + 1) >= 0)
    return [
      invalidValue(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
    ];
  const [domain, signer] = [name.slice(0, slash), name.slice(slash + 1)];
  const errors = dns1123SubdomainErrors(domain).map((why) =>
    invalidValue(path, domain, `validating label ${JSON.stringify(domain)}: ${why}`),
  );
  if (!domain.includes('.'))
    errors.push(invalidValue(path, domain, 'should be a domain with at least two segments separated by dots'));
  for (const why of dns1123SubdomainErrors(signer))
    errors.push(invalidValue(path, signer, `validating label ${JSON.stringify(signer)}: ${why}`));
  return errors;
}

function conditionErrors(conditions: readonly JsonObject[]): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, condition] of conditions.entries()) {
    const at = `status.conditions[${index}]`;
    const type = String(condition.type ?? '');
    if (type === '') errors.push(required(`${at}.type`));
    const allowed = lasting.includes(type) ? ['True'] : ['False', 'True', 'Unknown'];
    errors.push(...oneOf(condition.status, allowed, `${at}.status`));
    if (decisions.includes(type) && decisions.some((other) => other !== type && seen.has(other)))
      errors.push(invalidValue(`${at}.type`, type, 'Approved and Denied conditions are mutually exclusive'));
    if (seen.has(type)) errors.push(duplicate(`${at}.type`, type));
    seen.add(type);
  }
  return errors;
}

export function certificateRequestErrors(request: JsonObject): FieldError[] {
  const spec = specOf(request);
  const errors = requestErrors(spec.request);
  const given = texts(spec.usages);
  if (given.length === 0) errors.push(required('spec.usages'));
  for (const [index, usage] of given.entries()) {
    if (!usages.includes(usage)) errors.push(notSupported(`spec.usages[${index}]`, usage, usages));
    if (given.indexOf(usage) < index) errors.push(duplicate(`spec.usages[${index}]`, usage));
  }
  const signer = String(spec.signerName ?? '');
  if (signer === 'kubernetes.io/legacy-unknown')
    errors.push(invalidValue('spec.signerName', signer, 'the legacy signerName is not allowed via this API version'));
  else errors.push(...signerNameErrors(signer, 'spec.signerName'));
  if (typeof spec.expirationSeconds === 'number' && spec.expirationSeconds < expirationMin)
    errors.push(
      invalidValue(
        'spec.expirationSeconds',
        spec.expirationSeconds,
        `may not specify a duration less than ${expirationMin} seconds (10 minutes)`,
      ),
    );
  return [...errors, ...conditionErrors(objects(part(request, 'status').conditions))];
}

/** `through` says which part of the status the subresource may write: approval the decisions, status the certificate. */
function updateErrors(request: JsonObject, old: JsonObject, through: 'approval' | 'status' | ''): FieldError[] {
  const status = part(request, 'status');
  const before = part(old, 'status');
  const errors = certificateRequestErrors(request);
  const at = 'status.conditions';
  const of = (from: JsonObject, type: string): JsonObject[] =>
    objects(from.conditions).filter((condition) => condition.type === type);
  for (const type of lasting) {
    const [now, then] = [of(status, type), of(before, type)];
    if (now.length < then.length)
      errors.push(forbiddenField(at, `updates may not remove a condition of type ${JSON.stringify(type)}`));
    else if (through !== 'approval' && decisions.includes(type)) {
      if (now.length > then.length)
        errors.push(forbiddenField(at, `updates may not add a condition of type ${JSON.stringify(type)}`));
      else if (!jsonEqual(now, then))
        errors.push(forbiddenField(at, `updates may not modify a condition of type ${JSON.stringify(type)}`));
    }
  }
  if ((status.certificate ?? '') === (before.certificate ?? '')) return errors;
  errors.push(...certificateErrors(status.certificate));
  if (through !== 'status')
    errors.push(forbiddenField('status.certificate', 'updates may not set certificate content'));
  else if ((before.certificate ?? '') !== '')
    errors.push(forbiddenField('status.certificate', 'updates may not modify existing certificate content'));
  return errors;
}

export const certificateRequestUpdateErrors = (request: JsonObject, old: JsonObject): FieldError[] =>
  updateErrors(request, old, '');
export const certificateApprovalErrors = (request: JsonObject, old: JsonObject): FieldError[] =>
  updateErrors(request, old, 'approval');
export const certificateStatusErrors = (request: JsonObject, old: JsonObject): FieldError[] =>
  updateErrors(request, old, 'status');
