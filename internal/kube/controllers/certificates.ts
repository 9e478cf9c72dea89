import { errorText } from '../../base/errors.ts';
import {
  certificateEnd,
  type KeyPair,
  type RequestedCertificate,
  requestedCertificate,
  signRequest,
} from '../../pki/certificates.ts';
import type { KubeObject, ResourceRef } from '../client/api.ts';
import { formatTime, parseTime } from '../machinery/time.ts';
import type { ControllerContext, SetUpController } from './context.ts';
import { unlessGone } from './unless-gone.ts';

/** CertificateSigningRequests (docs: reference/access-authn-authz/certificate-signing-requests): which are approved by themselves, signed, and removed. */
const requestsRef: ResourceRef = {
  group: 'certificates.k8s.io',
  version: 'v1',
  resource: 'certificatesigningrequests',
};

export interface RequestCondition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastUpdateTime?: string;
  lastTransitionTime?: string;
}

export interface SigningRequest extends KubeObject {
  spec: {
    request: string;
    signerName: string;
    usages?: string[];
    expirationSeconds?: number;
    username?: string;
    uid?: string;
    groups?: string[];
    extra?: Record<string, string[]>;
  };
  status?: { conditions?: RequestCondition[]; certificate?: string };
}

const apiClient = 'kubernetes.io/kube-apiserver-client';
const kubeletClient = 'kubernetes.io/kube-apiserver-client-kubelet';
const kubeletServing = 'kubernetes.io/kubelet-serving';
const clientSigners = new Set([apiClient, kubeletClient]);
const signers = new Set([apiClient, kubeletClient, kubeletServing, 'kubernetes.io/legacy-unknown']);

const dayMs = 86_400_000;
/** kube-controller-manager's --cluster-signing-duration, and the least that it gives. */
const lifeMaxMs = 365 * dayMs;
const lifeMinMs = 600_000;
/** When requests are removed: signed or refused ones after an hour, others after a day (pkg/controller/certificates/cleaner). */
const settledMs = 3_600_000;
const pendingMs = dayMs;

export function conditionOf(request: SigningRequest, type: string): RequestCondition | undefined {
  return request.status?.conditions?.find((one) => one.type === type && one.status !== 'False');
}

const sameUsages = (usages: readonly string[], required: readonly string[], optional: string): boolean =>
  required.every((one) => usages.includes(one)) && usages.every((one) => required.includes(one) || one === optional);

/** Why a signer does not sign a request for these uses; '' when it does (pkg/apis/certificates/helpers.go, and signer.go). */
export function signerProblem(signer: string, asked: RequestedCertificate, usages: readonly string[]): string {
  const of = (use: string): string =>
    sameUsages(usages, ['digital signature', use], 'key encipherment')
      ? ''
      : `usages did not match [${['digital signature', 'key encipherment', use].sort().join(' ')}]`;
  const node = (): string => {
    if (asked.organizations.join() !== 'system:nodes') return 'subject organization is not system:nodes';
    if (!asked.commonName.startsWith('system:node:')) return 'subject common name does not begin with system:node:';
    return '';
  };
  switch (signer) {
    case apiClient: {
      const wrong = usages.find((one) => !['client auth', 'digital signature', 'key encipherment'].includes(one));
      if (wrong !== undefined) return `unexpected usage ${wrong}`;
      return usages.includes('client auth') ? '' : 'client auth usage is required';
    }
    case kubeletClient: {
      const names: [boolean, string][] = [
        [asked.dnsNames.length > 0, 'DNS'],
        [asked.otherNames.email, 'Email'],
        [asked.ipAddresses.length > 0, 'IP'],
        [asked.otherNames.uri, 'URI'],
      ];
      const wrong = names.find(([has]) => has)?.[1];
      return node() || (wrong === undefined ? of('client auth') : `${wrong} subjectAltNames are not allowed`);
    }
    case kubeletServing: {
      if (asked.dnsNames.length + asked.ipAddresses.length === 0) return 'DNS or IP subjectAltName is required';
      if (asked.otherNames.email) return 'Email subjectAltNames are not allowed';
      if (asked.otherNames.uri) return 'URI subjectAltNames are not allowed';
      return node() || of('server auth');
    }
    default:
      return '';
  }
}

/** How long a certificate lives, in ms. */
export function lifeOf(expirationSeconds: number | undefined): number {
  if (expirationSeconds === undefined) return lifeMaxMs;
  return Math.min(lifeMaxMs, Math.max(lifeMinMs, expirationSeconds * 1000));
}

/** When a request is removed, in ms since the epoch. `endMs`: of its certificate. */
export function removalMs(request: SigningRequest, endMs: number | undefined): number {
  const created = parseTime(request.metadata.creationTimestamp ?? '') ?? 0;
  const since = (type: string): number | undefined => {
    const condition = conditionOf(request, type);
    return condition === undefined ? undefined : (parseTime(condition.lastUpdateTime ?? '') ?? created);
  };
  const approved = since('Approved');
  const [denied, failed] = [since('Denied'), since('Failed')];
  if (denied !== undefined) return denied + settledMs;
  if (failed !== undefined) return failed + settledMs;
  if (endMs !== undefined) return Math.min(endMs, (approved ?? created) + settledMs);
  return (approved ?? created) + pendingMs;
}

const pemOf = (request: SigningRequest): string => Buffer.from(request.spec.request, 'base64').toString('utf8');

/** Authorities by what is proved with their certificates, as K3s' signers: clients to the API server, servers to everybody. */
export type Authorities = (name: 'client-ca' | 'server-ca') => KeyPair;

/** `authority` is read each time that something is signed. */
export function certificatesController(authority: Authorities): SetUpController {
  return (context: ControllerContext): void => {
    const { client, clock, random } = context;
    const requests = context.informers.of<SigningRequest>(requestsRef);
    const queue = context.queue('certificates', reconcile);
    const changed = (request: SigningRequest): void => queue.add(request.metadata.name);
    requests.handle({ onAdd: changed, onUpdate: changed });

    async function reconcile(name: string): Promise<void> {
      const request = requests.get(name);
      if (request === undefined || request.metadata.deletionTimestamp !== undefined) return;
      if (await remove(request)) return;
      if (!signers.has(request.spec.signerName) || request.status?.certificate !== undefined) return;
      if (conditionOf(request, 'Denied') || conditionOf(request, 'Failed')) return;
      if (conditionOf(request, 'Approved')) await sign(request);
      else if (request.spec.signerName === kubeletClient) await approve(request);
    }

    /** Whether the request is gone, or due to be looked at when it is. */
    async function remove(request: SigningRequest): Promise<boolean> {
      const { name, uid } = request.metadata;
      const { certificate } = request.status ?? {};
      const end = certificate === undefined ? undefined : endOf(certificate);
      const left = removalMs(request, end) - clock.now();
      if (left > 0) {
        queue.addAfter(name, left + 10);
        return false;
      }
      const preconditions = uid === undefined ? {} : { preconditions: { uid } };
      await unlessGone(client.delete(requestsRef, name, undefined, preconditions), { orReplaced: true });
      return true;
    }

    async function sign(request: SigningRequest): Promise<void> {
      const { signerName, usages = [], expirationSeconds } = request.spec;
      const problem = signerProblem(signerName, requestedCertificate(pemOf(request)), usages);
      const now = clock.now();
      if (problem !== '') {
        await setStatus(request, {
          ...request.status,
          conditions: withCondition(request, 'Failed', 'SignerValidationFailure', problem),
        });
        return;
      }
      const wanted = { usages, lifeMs: lifeOf(expirationSeconds) };
      const text = await signRequest(
        authority(clientSigners.has(signerName) ? 'client-ca' : 'server-ca'),
        pemOf(request),
        wanted,
        now,
        random.bytes(16),
      );
      await setStatus(request, { ...request.status, certificate: Buffer.from(text).toString('base64') });
    }

    async function setStatus(request: SigningRequest, status: SigningRequest['status']): Promise<void> {
      await unlessGone(
        client.update<SigningRequest>(requestsRef, { ...request, status: status! }, { subresource: 'status' }),
      );
    }

    function withCondition(request: SigningRequest, type: string, reason: string, message: string): RequestCondition[] {
      const at = formatTime(clock.now());
      const condition = { type, status: 'True', reason, message, lastUpdateTime: at, lastTransitionTime: at };
      return [...(request.status?.conditions ?? []), condition];
    }

    /** A kubelet's own client certificate: who asks has to be allowed to (pkg/controller/certificates/approver/sarapprove.go). */
    async function approve(request: SigningRequest): Promise<void> {
      const { usages = [], username } = request.spec;
      let asked: RequestedCertificate;
      try {
        asked = requestedCertificate(pemOf(request));
      } catch (error) {
        context.log.info('a certificate request cannot be read', {
          name: request.metadata.name,
          error: errorText(error),
        });
        return;
      }
      if (signerProblem(kubeletClient, asked, usages) !== '') return;
      const ways = [
        ...(username === asked.commonName
          ? [['selfnodeclient', 'Auto approving self kubelet client certificate after SubjectAccessReview.'] as const]
          : []),
        ['nodeclient', 'Auto approving kubelet client certificate after SubjectAccessReview.'] as const,
      ];
      for (const [subresource, message] of ways) {
        if (!(await allowed(request, subresource))) continue;
        const conditions = withCondition(request, 'Approved', 'AutoApproved', message);
        const body = { ...request, status: { ...request.status, conditions } };
        await unlessGone(client.update<SigningRequest>(requestsRef, body, { subresource: 'approval' }));
        return;
      }
    }

    async function allowed(request: SigningRequest, subresource: string): Promise<boolean> {
      const { username, uid, groups, extra } = request.spec;
      const answer = await client.raw('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: {
          user: username,
          ...(uid === undefined ? {} : { uid }),
          ...(groups === undefined ? {} : { groups }),
          ...(extra === undefined ? {} : { extra }),
          resourceAttributes: {
            group: 'certificates.k8s.io',
            resource: 'certificatesigningrequests',
            verb: 'create',
            subresource,
            version: '*',
          },
        },
      });
      return (answer as { status?: { allowed?: boolean } }).status?.allowed === true;
    }
  };
}

function endOf(certificate: string): number | undefined {
  try {
    return certificateEnd(Buffer.from(certificate, 'base64').toString('utf8'));
  } catch {
    return undefined;
  }
}
