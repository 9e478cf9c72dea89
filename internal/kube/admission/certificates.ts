import { errorText } from '../../base/errors.ts';
import { requestedCertificate } from '../../pki/certificates.ts';
import type { Authorizer } from '../auth/authorizer.ts';
import { mastersGroup } from '../auth/identity.ts';
import { getPath, isObject, jsonEqual, type JsonObject } from '../machinery/json.ts';
import { forbidden } from '../machinery/status.ts';
import { type AdmissionPlugin, type AdmissionRequest, isFor } from './types.ts';

const resource = { group: 'certificates.k8s.io', resource: 'certificatesigningrequests' };

/** Whether the user has the verb on the signer, or on all of its domain (docs: certificate-signing-requests, "Authorization"). */
async function mayUseSigner(
  authorizer: Authorizer,
  request: AdmissionRequest,
  signer: string,
  verb: string,
): Promise<boolean> {
  const attributes = {
    user: request.user,
    verb,
    resourceRequest: true,
    group: 'certificates.k8s.io',
    version: '*',
    resource: 'signers',
    subresource: '',
    namespace: '',
    path: '',
  };
  for (const name of [signer, `${signer.split('/')[0]}/*`])
    if ((await authorizer.authorize({ ...attributes, name })).allowed) return true;
  return false;
}

const signerOf = (object: JsonObject | undefined): string => String(getPath(object, 'spec', 'signerName') ?? '');

/** CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may approve and sign for which signer. */
export function certificateSigning(authorizer: Authorizer): AdmissionPlugin {
  return {
    name: 'CertificateSigning',
    async validate(request) {
      const { group, plural } = request.kind;
      if (group !== resource.group || plural !== resource.resource) return;
      const signer = signerOf(request.old ?? request.object);
      const need = async (verb: string): Promise<void> => {
        if (await mayUseSigner(authorizer, request, signer, verb)) return;
        throw forbidden(
          resource,
          request.name,
          `user not permitted to ${verb} requests with signerName ${JSON.stringify(signer)}`,
        );
      };
      if (request.operation === 'UPDATE' && request.subresource === 'approval') await need('approve');
      if (request.operation === 'UPDATE' && request.subresource === 'status') {
        const certificate = (object: JsonObject | undefined): unknown => getPath(object, 'status', 'certificate');
        if (certificate(request.old) !== certificate(request.object) || failedChanged(request)) await need('sign');
      }
      if (request.operation === 'CREATE' && request.subresource === '') refuseMasters(request);
    },
  };
}

function failedChanged(request: AdmissionRequest): boolean {
  const failed = (object: JsonObject | undefined): unknown => {
    const list = getPath(object, 'status', 'conditions');
    return Array.isArray(list) ? list.filter((one) => isObject(one) && one.type === 'Failed') : [];
  };
  return !jsonEqual(failed(request.old), failed(request.object));
}

/** Nobody gets a client certificate of the group that may do everything. What the signer will read is asked, so that the two cannot differ. */
function refuseMasters(request: AdmissionRequest): void {
  if (signerOf(request.object) !== 'kubernetes.io/kube-apiserver-client') return;
  const text = getPath(request.object, 'spec', 'request');
  let organizations: readonly string[];
  try {
    const pem = Buffer.from(typeof text === 'string' ? text : '', 'base64').toString('utf8');
    organizations = requestedCertificate(pem).organizations;
  } catch (error) {
    throw forbidden(resource, request.name, `failed to parse CSR: ${errorText(error)}`);
  }
  if (organizations.includes(mastersGroup))
    throw forbidden(
      resource,
      request.name,
      'use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed',
    );
}

/** OwnerReferencesPermissionEnforcement: who blocks the deletion of an owner has to be allowed to set its finalizers. */
export function ownerReferences(authorizer: Authorizer): AdmissionPlugin {
  return {
    name: 'OwnerReferencesPermissionEnforcement',
    async validate(request, { kindOf }) {
      if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
      if (request.subresource === 'status' || request.object === undefined) return;
      const blocking = (object: JsonObject | undefined): JsonObject[] => {
        const list = getPath(object, 'metadata', 'ownerReferences');
        return Array.isArray(list) ? list.filter(isObject).filter((one) => one.blockOwnerDeletion === true) : [];
      };
      const before = blocking(request.old);
      const added = blocking(request.object).filter((one) => !before.some((old) => old.uid === one.uid));
      for (const owner of added) {
        const [version = '', group = ''] = String(owner.apiVersion).split('/').reverse();
        const kind = kindOf(group, version, String(owner.kind));
        const refuse = (why: string): Error =>
          forbidden(
            { group: request.kind.group, resource: request.kind.plural },
            request.name,
            `cannot set blockOwnerDeletion ${why}`,
          );
        if (kind === undefined)
          throw refuse(
            `in this case because cannot find RESTMapping for APIVersion ${String(owner.apiVersion)} Kind ${String(owner.kind)}`,
          );
        const decision = await authorizer.authorize({
          user: request.user,
          verb: 'update',
          resourceRequest: true,
          group,
          version,
          resource: kind.plural,
          subresource: 'finalizers',
          namespace: kind.namespaced ? request.namespace : '',
          name: String(owner.name),
          path: '',
        });
        if (!decision.allowed)
          throw refuse(
            `if an ownerReference refers to a resource you can't set finalizers on: ${decision.reason}`.replace(
              /: $/,
              ': ',
            ),
          );
      }
    },
  };
}

/** DefaultIngressClass: an Ingress without a class gets the default one. */
export const defaultIngressClass: AdmissionPlugin = {
  name: 'DefaultIngressClass',
  async admit(request, { reader }) {
    if (request.operation !== 'CREATE' || !isFor(request, 'networking.k8s.io', 'ingresses')) return;
    const ingress = request.object;
    if (ingress === undefined || !isObject(ingress.spec) || ingress.spec.ingressClassName !== undefined) return;
    if (getPath(ingress, 'metadata', 'annotations', 'kubernetes.io/ingress.class') !== undefined) return;
    const defaults = (await reader.list('networking.k8s.io', 'ingressclasses', '')).filter(
      (one) => getPath(one, 'metadata', 'annotations', 'ingressclass.kubernetes.io/is-default-class') === 'true',
    );
    const age = (one: JsonObject): string => String(getPath(one, 'metadata', 'creationTimestamp'));
    defaults.sort((a, b) => (age(a) < age(b) ? 1 : age(a) > age(b) ? -1 : 0));
    const newest = defaults[0];
    if (newest !== undefined) ingress.spec.ingressClassName = String(getPath(newest, 'metadata', 'name'));
  },
};
