import { randomName } from '../../base/random.ts';
import { isMirrorPod } from '../auth/pod-references.ts';
import { isObject, type JsonObject } from '../machinery/json.ts';
import { forbidden } from '../machinery/status.ts';
import { type AdmissionPlugin, isFor } from './types.ts';

const pods = { group: '', resource: 'pods' };
const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Upstream asks for one hour and seven seconds, so that its server can tell these tokens from those that clients ask for. */
const tokenSeconds = 3607;

/**
 * ServiceAccount: a pod runs as the account `default` unless it says otherwise, the account exists, its image pull secrets and the projected
 * `kube-api-access-…` volume (token, ca.crt, namespace) are added.
 */
export const serviceAccount: AdmissionPlugin = {
  name: 'ServiceAccount',
  async admit(request, { reader, random }) {
    if (request.operation !== 'CREATE' || !isFor(request, '', 'pods') || request.object === undefined) return;
    const pod = request.object;
    if (!isObject(pod.spec)) return;
    const spec = pod.spec;
    // Mirror pods stand for what a kubelet already runs: nothing is added, and they may not use an account.
    if (isMirrorPod(pod)) {
      if (typeof spec.serviceAccountName === 'string' && spec.serviceAccountName !== '')
        throw forbidden(pods, request.name, 'a mirror pod may not reference service accounts');
      return;
    }
    if (typeof spec.serviceAccountName !== 'string' || spec.serviceAccountName === '') {
      spec.serviceAccountName =
        typeof spec.serviceAccount === 'string' && spec.serviceAccount !== '' ? spec.serviceAccount : 'default';
    }
    const name = spec.serviceAccountName;
    spec.serviceAccount = name;
    const account = await reader.get('', 'serviceaccounts', request.namespace, name);
    if (account === undefined)
      throw forbidden(
        pods,
        request.name,
        `error looking up service account ${request.namespace}/${name}: serviceaccount "${name}" not found`,
      );
    if (!Array.isArray(spec.imagePullSecrets) || spec.imagePullSecrets.length === 0) {
      if (Array.isArray(account.imagePullSecrets) && account.imagePullSecrets.length > 0)
        spec.imagePullSecrets = account.imagePullSecrets.map((secret) => ({
          name: isObject(secret) ? secret.name : undefined,
        }));
    }
    const automount = spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true;
    if (automount === true) mountToken(spec, () => `kube-api-access-${randomName(random)}`);
  },
};

function mountToken(spec: JsonObject, volumeName: () => string): void {
  const volumes = Array.isArray(spec.volumes) ? spec.volumes.filter(isObject) : [];
  let name = volumes.map((volume) => String(volume.name)).find((text) => text.startsWith('kube-api-access-'));
  const existing = name !== undefined;
  name ??= volumeName();
  let used = false;
  for (const list of [spec.initContainers, spec.containers]) {
    if (!Array.isArray(list)) continue;
    for (const container of list) {
      if (!isObject(container)) continue;
      const mounts = Array.isArray(container.volumeMounts) ? container.volumeMounts : [];
      if (mounts.some((mount) => isObject(mount) && mount.mountPath === mountPath)) continue;
      container.volumeMounts = [...mounts, { name, readOnly: true, mountPath }];
      used = true;
    }
  }
  if (!used || existing) return;
  spec.volumes = [
    ...(Array.isArray(spec.volumes) ? spec.volumes : []),
    {
      name,
      projected: {
        defaultMode: 0o644,
        sources: [
          { serviceAccountToken: { expirationSeconds: tokenSeconds, path: 'token' } },
          { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
          {
            downwardAPI: {
              items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
            },
          },
        ],
      },
    },
  ];
}
