import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../machinery/json.ts';
import type { Attributes } from './identity.ts';
import { authorizeNode, type NodeGraph } from './node-authorizer.ts';
import { podReferences } from './pod-references.ts';

const container = (more: JsonObject): JsonObject => ({ name: 'c', image: 'i', ...more });
const env = { env: [{ name: 'E', valueFrom: { secretKeyRef: { name: 'it', key: 'k' } } }] };
const volume = (source: JsonObject): JsonObject => ({ volumes: [{ name: 'v', ...source }] });
const projected = (source: JsonObject): JsonObject => volume({ projected: { sources: [source] } });

/** Every field of a pod that names another object (k8s.io/api/core/v1), one a row. */
const ways: [string, JsonObject, string][] = [
  ['env', { containers: [container(env)] }, 'secrets it'],
  ['env of an init container', { initContainers: [container(env)] }, 'secrets it'],
  ['env of an ephemeral container', { ephemeralContainers: [container(env)] }, 'secrets it'],
  [
    'env from a configMap',
    { containers: [container({ env: [{ name: 'E', valueFrom: { configMapKeyRef: { name: 'it', key: 'k' } } }] })] },
    'configmaps it',
  ],
  ['envFrom', { containers: [container({ envFrom: [{ secretRef: { name: 'it' } }] })] }, 'secrets it'],
  [
    'envFrom a configMap',
    { containers: [container({ envFrom: [{ configMapRef: { name: 'it' } }] })] },
    'configmaps it',
  ],
  ['imagePullSecrets', { imagePullSecrets: [{ name: 'it' }] }, 'secrets it'],
  ['account', { serviceAccountName: 'it' }, 'serviceaccounts it'],
  ['secret volume', volume({ secret: { secretName: 'it' } }), 'secrets it'],
  ['configMap volume', volume({ configMap: { name: 'it' } }), 'configmaps it'],
  ['claim volume', volume({ persistentVolumeClaim: { claimName: 'it' } }), 'persistentvolumeclaims it'],
  ['ephemeral volume', volume({ ephemeral: { volumeClaimTemplate: {} } }), 'persistentvolumeclaims p-v'],
  ['azureFile volume', volume({ azureFile: { secretName: 'it', shareName: 's' } }), 'secrets it'],
  ['csi volume', volume({ csi: { driver: 'd', nodePublishSecretRef: { name: 'it' } } }), 'secrets it'],
  ...['cephfs', 'cinder', 'flexVolume', 'iscsi', 'rbd', 'scaleIO', 'storageos'].map(
    (kind): [string, JsonObject, string] => [
      `${kind} volume`,
      volume({ [kind]: { secretRef: { name: 'it' } } }),
      'secrets it',
    ],
  ),
  ['projected secret', projected({ secret: { name: 'it' } }), 'secrets it'],
  ['projected configMap', projected({ configMap: { name: 'it' } }), 'configmaps it'],
  ['projected token', projected({ serviceAccountToken: { path: 't' } }), 'serviceaccounts '],
  ['projected certificate', projected({ podCertificate: { signerName: 's' } }), 'serviceaccounts '],
  ['projected bundle', projected({ clusterTrustBundle: { name: 'it', path: 't' } }), 'clustertrustbundles it'],
  ['resource claim', { resourceClaims: [{ name: 'r', resourceClaimName: 'it' }] }, 'resourceclaims it'],
  [
    'resource claim template',
    { resourceClaims: [{ name: 'r', resourceClaimTemplateName: 'it' }] },
    'resourceclaimtemplates it',
  ],
];
const pod = (spec: JsonObject, metadata: JsonObject = {}): JsonObject => ({
  metadata: { name: 'p', namespace: 'a', ...metadata },
  spec: { containers: [container({})], ...spec },
});

test.each(ways)('a pod refers to an object: %s', (_way, spec, expected) => {
  expect(podReferences(pod(spec)).map(({ resource, name }) => `${resource} ${name}`)).toEqual([expected]);
});

test('a pod of its own refers to nothing', () => {
  expect(
    podReferences(pod({ ...volume({ emptyDir: {} }), containers: [container({ env: [{ name: 'A' }] })] })),
  ).toEqual([]);
  expect(podReferences({})).toEqual([]);
});

describe('the Node authorizer', () => {
  const read = async (one: JsonObject, resource: string, verb = 'get', subresource = ''): Promise<boolean> => {
    const graph: NodeGraph = {
      podsOnNode: async (node, namespace) => (node === 'n1' && namespace === 'a' ? [one] : []),
      claimsNeedingSecret: async () => [],
      claimOfVolume: async () => undefined,
      nodeOfAttachment: async () => undefined,
      nodeOfSlice: async () => undefined,
    };
    const attributes: Attributes = {
      user: { name: 'system:node:n1', groups: ['system:nodes'] },
      verb,
      resourceRequest: true,
      group: '',
      version: 'v1',
      resource,
      subresource,
      namespace: 'a',
      name: 'it',
      path: '',
    };
    return (await authorizeNode(attributes, graph))?.allowed === true;
  };

  test.each(ways.filter(([, , to]) => to === 'secrets it'))('lets a kubelet read the secret: %s', async (_w, spec) => {
    expect(await read(pod(spec), 'secrets')).toBe(true);
    expect(await read(pod(spec), 'configmaps')).toBe(false);
    // Mirror pods are of the kubelet's own making.
    expect(await read(pod(spec, { annotations: { 'kubernetes.io/config.mirror': 'x' } }), 'secrets')).toBe(false);
  });

  test('tokens are for the account that the pod names, and for no default', async () => {
    const token = (spec: JsonObject): Promise<boolean> => read(pod(spec), 'serviceaccounts', 'create', 'token');
    expect(await token({ serviceAccountName: 'it' })).toBe(true);
    expect(await token({ serviceAccountName: 'other' })).toBe(false);
    expect(await token({})).toBe(false);
  });
});
