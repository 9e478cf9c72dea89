/** Plugins of admission that nobody configures, each by its name, against a whole server. Those with objects of their own are in `admission.test.ts`. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { UserInfo } from '../auth/identity.ts';
import type { JsonObject } from '../machinery/json.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
const space = '/api/v1/namespaces/default';
const alice: UserInfo = { name: 'alice', groups: ['system:authenticated'] };
const node: UserInfo = { name: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] };
const merge = { headers: { 'content-type': 'application/merge-patch+json' } };

beforeAll(async () => {
  server = await startTestServer();
  await post(`${space}/serviceaccounts`, { metadata: { name: 'default' } });
});
afterAll(() => server.close());

const post = (path: string, body: JsonObject, as?: UserInfo): ReturnType<TestServer['call']> =>
  server.call('POST', path, body, as === undefined ? {} : { as });
const pod = (name: string, spec: JsonObject = {}, metadata: JsonObject = {}): JsonObject => ({
  metadata: { name, ...metadata },
  spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
});
/** Lets alice do what the rules say. */
async function allow(name: string, ...rules: JsonObject[]): Promise<void> {
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  await post(`${rbac}/clusterroles`, { metadata: { name }, rules });
  await post(`${rbac}/clusterrolebindings`, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
    subjects: [{ kind: 'User', name: 'alice', apiGroup: 'rbac.authorization.k8s.io' }],
  });
  await Bun.sleep(50);
}

describe('NamespaceLifecycle', () => {
  test('nothing is made where there is no namespace, nor where one is going; some are never taken away', async () => {
    const missing = await post('/api/v1/namespaces/nowhere/configmaps', { metadata: { name: 'c' } });
    expect(missing).toMatchObject({ status: 404, body: { message: 'namespaces "nowhere" not found' } });
    await post('/api/v1/namespaces', { metadata: { name: 'going' } });
    await server.call('DELETE', '/api/v1/namespaces/going');
    const going = await post('/api/v1/namespaces/going/configmaps', { metadata: { name: 'c' } });
    expect(going).toMatchObject({
      status: 403,
      body: {
        message:
          'configmaps "c" is forbidden: unable to create new content in namespace going because it is being terminated',
        details: { causes: [{ reason: 'NamespaceTerminating', field: 'metadata.namespace' }] },
      },
    });
    const immortal = await server.call('DELETE', '/api/v1/namespaces/kube-system');
    expect(immortal.body.message).toBe('namespaces "kube-system" is forbidden: this namespace may not be deleted');
  });
});

describe('DefaultTolerationSeconds, Priority', () => {
  test('a pod stays five minutes on a node that is away, unless it says otherwise', async () => {
    const tolerations = async (spec: JsonObject): Promise<unknown> =>
      (await post(`${space}/pods?dryRun=All`, pod('t', spec))).body.spec.tolerations;
    const away = (name: string): JsonObject => ({
      key: `node.kubernetes.io/${name}`,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: 300,
    });
    expect(await tolerations({})).toEqual([away('not-ready'), away('unreachable')]);
    const own = [{ operator: 'Exists' }];
    expect(await tolerations({ tolerations: own })).toEqual(own);
  });

  test('its class gives a pod its priority; a number of its own, or a class that is not there, is refused', async () => {
    const made = async (spec: JsonObject): Promise<JsonObject> =>
      (await post(`${space}/pods?dryRun=All`, pod('p', spec))).body;
    expect((await made({ priorityClassName: 'system-node-critical' })).spec).toMatchObject({
      priority: 2_000_001_000,
      preemptionPolicy: 'PreemptLowerPriority',
    });
    expect((await made({})).spec).toMatchObject({ priority: 0 });
    expect((await made({ priorityClassName: 'none' })).message).toBe(
      'pods "p" is forbidden: no PriorityClass with name none was found',
    );
    expect((await made({ priority: 5 })).message).toContain(
      'the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name',
    );
  });
});

describe('RuntimeClass', () => {
  test("what the class costs and where it runs becomes the pod's", async () => {
    await post('/apis/node.k8s.io/v1/runtimeclasses', {
      metadata: { name: 'vm' },
      handler: 'vm',
      overhead: { podFixed: { cpu: '50m' } },
      scheduling: { nodeSelector: { vm: 'yes' }, tolerations: [{ key: 'vm', operator: 'Exists' }] },
    });
    const made = await post(`${space}/pods?dryRun=All`, pod('r', { runtimeClassName: 'vm', nodeSelector: { a: 'b' } }));
    expect(made.body.spec).toMatchObject({ overhead: { cpu: '50m' }, nodeSelector: { a: 'b', vm: 'yes' } });
    expect(made.body.spec.tolerations).toContainEqual({ key: 'vm', operator: 'Exists' });
    const conflict = await post(`${space}/pods`, pod('r', { runtimeClassName: 'vm', nodeSelector: { vm: 'no' } }));
    expect(conflict.body.message).toContain('conflict: runtimeClass.scheduling.nodeSelector conflicts');
  });
});

describe('PodTopologyLabels', () => {
  test('a pod gets zone and region of its node when it is bound or made there, and keeps what it says itself', async () => {
    const [zone, region] = ['topology.kubernetes.io/zone', 'topology.kubernetes.io/region'];
    await post('/api/v1/nodes', { metadata: { name: 'here', labels: { [zone]: 'z1', [region]: 'r1', other: 'x' } } });
    const labels = { a: 'b', [region]: 'own' };
    const made = await post(`${space}/pods?dryRun=All`, pod('there', { nodeName: 'here' }, { labels }));
    expect(made.body.metadata.labels).toEqual({ a: 'b', [zone]: 'z1', [region]: 'own' });
    const { metadata } = (await post(`${space}/pods`, pod('bound', {}, { labels: { a: 'b', [zone]: 'old' } }))).body;
    const bind = (more: JsonObject) =>
      post(`${space}/pods/bound/binding`, {
        metadata: { name: 'bound', ...more },
        target: { kind: 'Node', name: 'here' },
      });
    const late = await bind({ resourceVersion: '1' });
    expect(late).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('Precondition failed: ResourceVersion in precondition: 1,') },
    });
    expect((await bind({ resourceVersion: metadata.resourceVersion, labels: { by: 'me' } })).status).toBe(201);
    const { body } = await server.call('GET', `${space}/pods/bound`);
    expect(body.metadata.labels).toEqual({ a: 'b', by: 'me', [zone]: 'z1', [region]: 'r1' });
    expect((await post(`${space}/pods?dryRun=All`, pod('t', { nodeName: 'gone' }))).status).toBe(201);
    await server.call('DELETE', '/api/v1/nodes/here');
  });
});

describe('DefaultStorageClass, StorageObjectInUseProtection, PersistentVolumeClaimResize', () => {
  const claims = `${space}/persistentvolumeclaims`;
  const claim = (name: string, spec: JsonObject = {}): JsonObject => ({
    metadata: { name },
    spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...spec },
  });
  const grow = (name: string): ReturnType<TestServer['call']> =>
    server.call('PATCH', `${claims}/${name}`, { spec: { resources: { requests: { storage: '2Gi' } } } }, merge);

  test('a claim gets the default class and its finalizer; it grows when it is bound and the class lets it', async () => {
    for (const [name, allowVolumeExpansion] of [
      ['fixed', false],
      ['grows', true],
    ] as const)
      await post('/apis/storage.k8s.io/v1/storageclasses', {
        metadata: {
          name,
          ...(name === 'fixed' ? { annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } } : {}),
        },
        provisioner: 'example.com/x',
        allowVolumeExpansion,
      });
    const made = await post(claims, claim('one'));
    expect(made.body.spec.storageClassName).toBe('fixed');
    expect(made.body.metadata.finalizers).toEqual(['kubernetes.io/pvc-protection']);
    expect((await grow('one')).body.message).toContain('spec is immutable after creation except resources.requests');
    const bind = (name: string): ReturnType<TestServer['call']> =>
      server.call('PATCH', `${claims}/${name}/status`, { status: { phase: 'Bound' } }, merge);
    await bind('one');
    expect((await grow('one')).body.message).toContain(
      'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
    );
    await post(claims, claim('two', { storageClassName: 'grows' }));
    await bind('two');
    expect((await grow('two')).status).toBe(200);
  });
});

describe('DefaultIngressClass', () => {
  test('an Ingress without a class gets the default one', async () => {
    const group = '/apis/networking.k8s.io/v1';
    await post(`${group}/ingressclasses`, {
      metadata: { name: 'edge', annotations: { 'ingressclass.kubernetes.io/is-default-class': 'true' } },
      spec: { controller: 'example.com/edge' },
    });
    const backend = { service: { name: 's', port: { number: 80 } } };
    const ingress = (name: string, spec: JsonObject = {}): JsonObject => ({
      metadata: { name },
      spec: { defaultBackend: backend, ...spec },
    });
    const made = async (object: JsonObject): Promise<unknown> =>
      (await post(`${group}/namespaces/default/ingresses`, object)).body.spec.ingressClassName;
    expect(await made(ingress('plain'))).toBe('edge');
    expect(await made(ingress('own', { ingressClassName: 'other' }))).toBe('other');
  });
});

describe('NodeRestriction, TaintNodesByCondition', () => {
  const refusal = async (answer: ReturnType<TestServer['call']>): Promise<string> => {
    const { status, body } = await answer;
    expect(status).toBe(403);
    return body.message as string;
  };

  test('a kubelet makes its own node, which takes no pods yet, with the labels that are its business', async () => {
    const made = await post(
      '/api/v1/nodes',
      { metadata: { name: 'n1', labels: { 'kubernetes.io/os': 'linux' } } },
      node,
    );
    expect(made.body.spec.taints).toEqual([{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]);
    expect(await refusal(post('/api/v1/nodes', { metadata: { name: 'n2' } }, node))).toContain(
      'node "n1" is not allowed to modify node "n2"',
    );
    const label = (labels: JsonObject): ReturnType<TestServer['call']> =>
      server.call('PATCH', '/api/v1/nodes/n1', { metadata: { labels } }, { ...merge, as: node });
    expect((await label({ mine: 'yes' })).status).toBe(200);
    expect(await refusal(label({ 'node-restriction.kubernetes.io/x': 'y' }))).toContain(
      'is not allowed to modify labels: node-restriction.kubernetes.io/x',
    );
    const restricted = { 'node-restriction.kubernetes.io/x': 'y', 'example.com.k8s.io/z': 'y' };
    expect((await server.call('PATCH', '/api/v1/nodes/n1', { metadata: { labels: restricted } }, merge)).status).toBe(
      200,
    );
    expect(await refusal(label({ 'node-restriction.kubernetes.io/x': null, 'example.com.k8s.io/z': 'n' }))).toContain(
      'is not allowed to modify labels: example.com.k8s.io/z, node-restriction.kubernetes.io/x',
    );
    const throughStatus = server.call(
      'PATCH',
      '/api/v1/nodes/n1/status',
      { metadata: { labels: { 'node-restriction.kubernetes.io/x': 'n' } } },
      { ...merge, as: node },
    );
    expect(await refusal(throughStatus)).toContain('is not allowed to modify labels: node-restriction.kubernetes.io/x');
    const taints = server.call('PATCH', '/api/v1/nodes/n1', { spec: { taints: [] } }, { ...merge, as: node });
    expect(await refusal(taints)).toContain('node "n1" is not allowed to modify taints');
  });

  test('… its own lease and storage node, and the pods that are bound to it', async () => {
    const leases = '/apis/coordination.k8s.io/v1/namespaces';
    expect((await post(`${leases}/kube-node-lease/leases`, { metadata: { name: 'n1' } }, node)).status).toBe(201);
    expect(await refusal(post(`${leases}/kube-node-lease/leases`, { metadata: { name: 'n2' } }, node))).toContain(
      'can only access node lease with the same name as the requesting node',
    );
    expect(await refusal(post(`${leases}/default/leases`, { metadata: { name: 'n1' } }, node))).toContain(
      'can only access leases in the "kube-node-lease" system namespace',
    );
    const storage = '/apis/storage.k8s.io/v1/csinodes';
    expect(await refusal(post(storage, { metadata: { name: 'n2' }, spec: { drivers: [] } }, node))).toContain(
      'can only access CSINode with the same name as the requesting node',
    );
    await post(`${space}/pods`, pod('here', { nodeName: 'n1' }));
    await post(`${space}/pods`, pod('there', { nodeName: 'n2' }));
    const status = (name: string): ReturnType<TestServer['call']> =>
      server.call('PATCH', `${space}/pods/${name}/status`, { status: { phase: 'Running' } }, { ...merge, as: node });
    expect((await status('here')).status).toBe(200);
    expect(await refusal(status('there'))).toContain(
      'node "n1" can only update pod status for pods with spec.nodeName set to itself',
    );
    const asNode = (method: string, path: string, body?: JsonObject): ReturnType<TestServer['call']> =>
      server.call(method, path, body, { ...merge, as: node });
    expect(await refusal(asNode('DELETE', `${space}/pods/there`))).toContain(
      'node "n1" can only delete pods with spec.nodeName set to itself',
    );
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'there' } };
    expect(await refusal(post(`${space}/pods/there/eviction`, eviction, node))).toContain(
      'node "n1" can only evict pods with spec.nodeName set to itself',
    );
    expect(
      await refusal(asNode('PATCH', `${space}/pods/here/status`, { metadata: { labels: { app: 'db' } } })),
    ).toContain('node "n1" cannot update labels through pod status');
    expect(
      await refusal(
        asNode('PATCH', `${space}/pods/here/status`, {
          status: { resourceClaimStatuses: [{ name: 'r', resourceClaimName: 'of-another' }] },
        }),
      ),
    ).toContain('node "n1" cannot update resource claim statuses');
    const owners = await asNode('PATCH', `${space}/pods/here/status`, {
      metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'c', uid: 'u' }] },
      status: { message: 'seen' },
    });
    expect(owners.body).toMatchObject({ status: { message: 'seen' } });
    expect(owners.body.metadata.ownerReferences).toBeUndefined();
    expect(await refusal(post(`${space}/pods`, pod('plain', { nodeName: 'n1' }), node))).toContain(
      'node "n1" can only create mirror pods',
    );
    const accounts = `${space}/serviceaccounts/default/token`;
    const token = async (name: string, reference: JsonObject = {}): ReturnType<TestServer['call']> => {
      const { uid } = (await server.call('GET', `${space}/pods/${name}`)).body.metadata;
      const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name, uid, ...reference };
      const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { boundObjectRef } };
      return post(accounts, request, node);
    };
    expect((await token('here')).status).toBe(201);
    expect(await refusal(token('there'))).toContain('bound to a pod scheduled on a different node');
    expect(await refusal(token('here', { uid: '' }))).toContain('a pod binding without a uid');
    expect(await refusal(token('here', { uid: 'other' }))).toContain('does not match the UID in record');
    expect(await refusal(token('here', { kind: 'Node', name: 'n1' }))).toContain('not bound to a pod');
  });

  test('… of a claim that its pods use what an expansion changes, in its status', async () => {
    const claims = `${space}/persistentvolumeclaims`;
    const spec = { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } };
    for (const name of ['used', 'unused']) expect((await post(claims, { metadata: { name }, spec })).status).toBe(201);
    const volumes = [{ name: 'v', persistentVolumeClaim: { claimName: 'used' } }];
    expect((await post(`${space}/pods`, pod('user', { nodeName: 'n1', volumes }))).status).toBe(201);
    const change = (name: string, body: JsonObject): ReturnType<TestServer['call']> =>
      server.call('PATCH', `${claims}/${name}/status`, body, { ...merge, as: node });
    const grown = await change('used', {
      status: {
        capacity: { storage: '2Gi' },
        conditions: [{ type: 'FileSystemResizePending', status: 'True' }],
        allocatedResources: { storage: '2Gi' },
        allocatedResourceStatuses: { storage: 'NodeResizeInProgress' },
      },
    });
    expect(grown).toMatchObject({ status: 200, body: { status: { capacity: { storage: '2Gi' }, phase: 'Pending' } } });
    const only = 'node "n1" is not allowed to update fields other than status.capacity, status.conditions';
    for (const more of [
      { status: { phase: 'Bound' } },
      { status: { accessModes: ['ReadWriteMany'] } },
      { metadata: { labels: { a: 'b' } } },
      { metadata: { annotations: { a: 'b' } } },
      { metadata: { finalizers: null } },
      { metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'c', uid: 'u' }] } },
    ])
      expect(await refusal(change('used', more))).toContain(only);
    expect(await refusal(change('unused', { status: { capacity: { storage: '2Gi' } } }))).toContain('no relationship');
    expect(await refusal(server.call('PATCH', `${claims}/used`, { spec }, { ...merge, as: node }))).toContain(
      'can only get individual resources of this type',
    );
  });

  test('an identity that names no node is none', async () => {
    const nameless = { name: 'system:node:', groups: ['system:nodes', 'system:authenticated'] };
    const pods = '/api/v1/pods?fieldSelector=spec.nodeName%3D';
    expect(await refusal(server.call('GET', pods, undefined, { as: nameless }))).toContain('cannot list resource');
    expect(await refusal(post('/api/v1/nodes', { metadata: { name: 'n3' } }, nameless))).toContain('cannot create');
  });

  test("a mirror pod is its node's own, and opens no object of a foreign namespace", async () => {
    await post('/api/v1/namespaces', { metadata: { name: 'foreign' } });
    await post('/api/v1/namespaces/foreign/secrets', { metadata: { name: 'it' }, data: { k: 'dg==' } });
    const { uid } = (await server.call('GET', '/api/v1/nodes/n1')).body.metadata;
    const owner = { apiVersion: 'v1', kind: 'Node', name: 'n1', uid, controller: true };
    const mirror = (name: string, spec: JsonObject, owners: JsonObject[] = [owner]): ReturnType<TestServer['call']> =>
      post(
        '/api/v1/namespaces/foreign/pods',
        pod(
          name,
          { nodeName: 'n1', ...spec },
          { annotations: { 'kubernetes.io/config.mirror': 'x' }, ownerReferences: owners },
        ),
        node,
      );
    const env = [{ name: 'E', valueFrom: { secretKeyRef: { name: 'it', key: 'k' } } }];
    const to = async (spec: JsonObject): Promise<string> => refusal(mirror('m', spec));
    expect(await to({ containers: [{ name: 'c', image: 'i', env }] })).toContain(
      'node "n1" can not create pods that reference secrets',
    );
    expect(await to({ imagePullSecrets: [{ name: 'it' }] })).toContain('reference secrets');
    expect(await to({ volumes: [{ name: 'v', secret: { secretName: 'it' } }] })).toContain('reference secrets');
    expect(await to({ volumes: [{ name: 'v', configMap: { name: 'it' } }] })).toContain('reference configmaps');
    expect(await to({ volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'it' } }] })).toContain(
      'reference persistentvolumeclaims',
    );
    expect(await to({ resourceClaims: [{ name: 'r', resourceClaimName: 'it' }] })).toContain(
      'reference resourceclaims',
    );
    expect(await to({ serviceAccountName: 'default' })).toContain('may not reference service accounts');
    expect((await server.call('GET', '/api/v1/namespaces/foreign/secrets/it', undefined, { as: node })).status).toBe(
      403,
    );

    const owned = async (...owners: JsonObject[]): Promise<string> => refusal(mirror('m', {}, owners));
    expect(await owned()).toContain('a single owner reference set to itself');
    expect(await owned(owner, { ...owner, uid: 'x', controller: false })).toContain(
      'a single owner reference set to itself',
    );
    expect(await owned({ ...owner, kind: 'Namespace' })).toContain('an owner reference set to itself');
    expect(await owned({ ...owner, name: 'n2' })).toContain('an owner reference set to itself');
    expect(await owned({ ...owner, controller: false })).toContain('a controller owner reference');
    expect(await owned({ ...owner, blockOwnerDeletion: true })).toContain('must not set blockOwnerDeletion');
    expect(await owned({ ...owner, uid: 'x' })).toContain('UID mismatch');
    expect((await mirror('m', {})).status).toBe(201);
  });
});

describe('CertificateApproval, CertificateSigning, CertificateSubjectRestriction', () => {
  const requests = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
  /** A request for CN=jane by openssl, and one with O=system:masters. */
  function csr(subject: string): string {
    const argv = [
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      '/dev/null',
    ];
    const { stdout, exitCode, stderr } = Bun.spawnSync(['openssl', ...argv, '-subj', subject]);
    if (exitCode !== 0) throw new Error(stderr.toString());
    return Buffer.from(stdout).toString('base64');
  }
  const sendRequest = (name: string, request: string): ReturnType<TestServer['call']> =>
    post(requests, {
      metadata: { name },
      spec: { signerName: 'kubernetes.io/kube-apiserver-client', request, usages: ['client auth'] },
    });
  const send = (name: string, subject: string): ReturnType<TestServer['call']> => sendRequest(name, csr(subject));

  test.skipIf(Bun.which('openssl') === null)('… nor with text around the request', async () => {
    const request = Buffer.from(csr('/O=system:masters/CN=x'), 'base64').toString();
    const spaced = request.replace(/(REQUEST-----\n\S+)\n/, '$1 \n');
    for (const text of [
      `A\n${request}`,
      `A\r\n${request.replaceAll('\n', '\r\n')}`,
      `${request}A\n${request}`,
      `-----BEGIN CERTIFICATE REQUEST-----\n${request}`,
      spaced,
    ])
      expect(await sendRequest('around', Buffer.from(text).toString('base64'))).toMatchObject({
        status: 403,
        body: {
          message: expect.stringContaining(
            'use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed',
          ),
        },
      });
  });

  test.skipIf(Bun.which('openssl') === null)(
    'who approves and who signs needs the right to that for the signer; nobody asks to be a master',
    async () => {
      expect((await send('master', '/O=system:masters/CN=x')).body.message).toContain(
        'use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed',
      );
      await send('jane', '/CN=jane');
      const write = { apiGroups: ['certificates.k8s.io'], verbs: ['get', 'update'] };
      await allow('csr-writer', {
        ...write,
        resources: [
          'certificatesigningrequests',
          'certificatesigningrequests/approval',
          'certificatesigningrequests/status',
        ],
      });
      const live = (await server.call('GET', `${requests}/jane`)).body;
      const approved = {
        ...live,
        status: { conditions: [{ type: 'Approved', status: 'True', reason: 'r', message: 'm' }] },
      };
      const signed = { ...live, status: { certificate: Buffer.from(server.pki.clientCa.cert).toString('base64') } };
      const put = (subresource: string, body: JsonObject): ReturnType<TestServer['call']> =>
        server.call('PUT', `${requests}/jane/${subresource}`, body, { as: alice });
      const why = (verb: string): string =>
        `user not permitted to ${verb} requests with signerName "kubernetes.io/kube-apiserver-client"`;
      expect((await put('approval', approved)).body.message).toContain(why('approve'));
      expect((await put('status', signed)).body.message).toContain(why('sign'));
      const signer = { apiGroups: ['certificates.k8s.io'], resources: ['signers'], resourceNames: ['kubernetes.io/*'] };
      await allow('csr-approver', { ...signer, verbs: ['approve'] });
      expect((await put('approval', approved)).status).toBe(200);
    },
  );
});

describe('OwnerReferencesPermissionEnforcement', () => {
  test('who blocks the deletion of an owner has to be allowed to set its finalizers', async () => {
    const owner = (await post(`${space}/configmaps`, { metadata: { name: 'owner' } })).body;
    await allow('cm-writer', { apiGroups: [''], resources: ['configmaps'], verbs: ['create'] });
    const owned = (name: string, kind = 'ConfigMap'): JsonObject => ({
      metadata: {
        name,
        ownerReferences: [{ apiVersion: 'v1', kind, name: 'owner', uid: owner.metadata.uid, blockOwnerDeletion: true }],
      },
    });
    const refused = await post(`${space}/configmaps`, owned('a'), alice);
    expect(refused.body.message).toContain(
      "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on",
    );
    expect((await post(`${space}/configmaps`, owned('a', 'Nothing'), alice)).body.message).toContain(
      'cannot find RESTMapping for APIVersion v1 Kind Nothing',
    );
    await allow('cm-finalizer', { apiGroups: [''], resources: ['configmaps/finalizers'], verbs: ['update'] });
    expect((await post(`${space}/configmaps`, owned('a'), alice)).status).toBe(201);
  });
});
