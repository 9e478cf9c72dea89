/** Certificate signing requests, service accounts and their tokens, reviews of access. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeSigningRequest } from '../../../internal/pki/certificates.ts';
import { type Any, Cluster, eventually, unique } from './harness.ts';
import { discovered, everyVerb } from './verbs.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

test('conformance: csr-api: discovery, every verb, approval and status of certificate signing requests', async () => {
  const groupVersion = 'certificates.k8s.io/v1';
  const { request } = await makeSigningRequest('e2e-user');
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(request)
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
  const spec = {
    request: Buffer.from(pem).toString('base64'),
    signerName: 'example.com/e2e',
    expirationSeconds: 3600,
    usages: ['digital signature', 'key encipherment', 'server auth'],
  };
  const condition = (type: string): Any => ({ type, status: 'True', reason: 'E2E', message: `Set from an e2e test` });
  await everyVerb(cluster, {
    groupVersion,
    plural: 'certificatesigningrequests',
    kind: 'CertificateSigningRequest',
    object: () => ({ spec }),
    status: {
      patch: { conditions: [condition('StatusPatched')] },
      change: ({ status }) => status.conditions.push(condition('StatusUpdate')),
      check: (status) => expect(status.conditions).toContainEqual(expect.objectContaining(condition('StatusPatched'))),
    },
  });
  await discovered(cluster, groupVersion, 'certificatesigningrequests', {
    kind: 'CertificateSigningRequest',
    namespaced: false,
    subresources: { approval: ['get', 'patch', 'update'], status: ['get', 'patch', 'update'] },
  });

  const requests = cluster.resource(groupVersion, 'certificatesigningrequests');
  const made = await requests.create({
    apiVersion: groupVersion,
    kind: 'CertificateSigningRequest',
    metadata: { generateName: 'e2e-example-csr-' },
    spec,
  });
  const { name } = made.metadata;
  expect(made.spec).toMatchObject({ username: 'admin', groups: expect.arrayContaining(['system:masters']) });
  expect((await requests.get(name, 'approval')).metadata.uid).toBe(made.metadata.uid);
  const patchedApproval = await requests.patch(
    name,
    'merge',
    {
      metadata: { annotations: { patchedapproval: 'true' } },
      status: { conditions: [{ ...condition('ApprovalPatch'), reason: 'Patched' }] },
    },
    'approval',
  );
  expect(patchedApproval.metadata.annotations.patchedapproval).toBe('true');
  expect(patchedApproval.status.conditions).toEqual([expect.objectContaining({ type: 'ApprovalPatch' })]);
  const approved = await requests.change(
    name,
    ({ status }) => status.conditions.push({ ...condition('Approved'), reason: 'E2E' }),
    'approval',
  );
  expect(approved.status.conditions.at(-1)).toMatchObject({ type: 'Approved', status: 'True', reason: 'E2E' });
  // A certificate is a matter of the status, in PEM.
  const { cert } = await cluster.server.pki.client('e2e-user');
  const certificate = Buffer.from(cert).toString('base64');
  const withStatus = await requests.patch(
    name,
    'merge',
    { metadata: { annotations: { patchedstatus: 'true' } }, status: { certificate } },
    'status',
  );
  expect(withStatus.status.certificate).toBe(certificate);
  expect(withStatus.metadata.annotations).toMatchObject({ patchedapproval: 'true', patchedstatus: 'true' });
  await requests.change(name, ({ status }) => status.conditions.push({ ...condition('StatusUpdate') }), 'status');
  const types = (await requests.get(name)).status.conditions.map(({ type }: Any) => type);
  expect(types).toEqual(['ApprovalPatch', 'Approved', 'StatusUpdate']);
});

const pod = (name: string, spec: Any): Any => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name },
  spec: { containers: [{ name: 'token-test', image: 'registry.k8s.io/pause:3.10' }], ...spec },
});

test('conformance: sa-automount-opt-out: the pod says whether a token is mounted, else the account, else it is', async () => {
  const namespace = await cluster.namespace();
  const accounts = cluster.resource('v1', 'serviceaccounts', namespace);
  const pods = cluster.resource('v1', 'pods', namespace);
  const choices = { unset: undefined, mount: true, nomount: false };
  for (const [account, ofAccount] of Object.entries(choices)) {
    await accounts.create({
      metadata: { name: account },
      ...(ofAccount === undefined ? {} : { automountServiceAccountToken: ofAccount }),
    });
    for (const [choice, ofPod] of Object.entries(choices)) {
      const made = await pods.create(
        pod(`pod-service-account-${account}-${choice}`, {
          serviceAccountName: account,
          ...(ofPod === undefined ? {} : { automountServiceAccountToken: ofPod }),
        }),
      );
      const mounted = (made.spec.containers[0].volumeMounts ?? []).some(
        ({ mountPath }: Any) => mountPath === '/var/run/secrets/kubernetes.io/serviceaccount',
      );
      expect(mounted, `account ${account}, pod ${choice}`).toBe(ofPod ?? ofAccount ?? true);
    }
  }
});

test('conformance: sa-token-request-review: a requested token is authenticated', async () => {
  const namespace = await cluster.namespace();
  const accounts = cluster.resource('v1', 'serviceaccounts', namespace);
  const { metadata } = await accounts.create({ metadata: { name: 'sa' } });
  const request = await cluster.must('POST', accounts.path('sa', 'token'), {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { audiences: [], expirationSeconds: 3600 },
  });
  expect(request.status.token).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
  const reviewed = await cluster.must('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenReview',
    metadata: { name: 'sa' },
    spec: { token: request.status.token },
  });
  expect(reviewed.status.authenticated).toBe(true);
  expect(reviewed.status.error ?? '').toBe('');
  expect(reviewed.status.user).toMatchObject({
    username: `system:serviceaccount:${namespace}:sa`,
    uid: metadata.uid,
    groups: expect.arrayContaining(['system:serviceaccounts', `system:serviceaccounts:${namespace}`]),
  });
});

test('conformance: sa-lifecycle: a labelled account is watched, listed everywhere, patched and removed with its collection', async () => {
  const accounts = cluster.resource('v1', 'serviceaccounts', await cluster.namespace());
  const label = unique('testserviceaccount');
  const selected = `labelSelector=test-serviceaccount-static%3D${label}`;
  const watch = await accounts.watch(`&${selected}`);
  await accounts.create({ metadata: { name: 'testserviceaccount', labels: { 'test-serviceaccount-static': label } } });
  await accounts.patch('testserviceaccount', 'strategic', { automountServiceAccountToken: false });
  expect(await accounts.everywhere().names(`?${selected}`)).toEqual(['testserviceaccount']);
  await accounts.deleteCollection(`?${selected}`);
  const [, modified] = await watch.first(3);
  expect(watch.summary()).toEqual(['ADDED', 'MODIFIED', 'DELETED'].map((type) => `${type} testserviceaccount`));
  expect(modified!.object.automountServiceAccountToken).toBe(false);
  await eventually('gone', () => accounts.gone('testserviceaccount'));
});

test('conformance: sa-update: an updated automountServiceAccountToken is returned', async () => {
  const accounts = cluster.resource('v1', 'serviceaccounts', await cluster.namespace());
  await accounts.create({ metadata: { name: unique('e2e-sa') }, automountServiceAccountToken: false });
  const [name] = (await accounts.names()).filter((one) => one.startsWith('e2e-sa'));
  const updated = await accounts.change(name!, (object) => {
    object.automountServiceAccountToken = true;
  });
  expect(updated.automountServiceAccountToken).toBe(true);
  expect((await accounts.get(name!)).automountServiceAccountToken).toBe(true);
});

test('conformance: subjectreview-api: verdicts equal what an impersonated client may do', async () => {
  const namespace = await cluster.namespace();
  const user = `system:serviceaccount:${namespace}:e2e`;
  await cluster.resource('v1', 'serviceaccounts', namespace).create({ metadata: { name: 'e2e' } });
  const mayList = async (): Promise<boolean> => {
    const { status } = await cluster.call('GET', `/api/v1/namespaces/${namespace}/configmaps`, undefined, { as: user });
    expect([200, 403]).toContain(status);
    return status === 200;
  };
  const resourceAttributes = { verb: 'list', resource: 'configmaps', namespace, version: 'v1' };
  const verdicts = async (): Promise<boolean[]> => {
    const allowed: boolean[] = [];
    for (const [kind, where] of [
      ['SubjectAccessReview', ''],
      ['LocalSubjectAccessReview', `namespaces/${namespace}/`],
    ]) {
      const review = await cluster.must('POST', `/apis/authorization.k8s.io/v1/${where}${kind!.toLowerCase()}s`, {
        apiVersion: 'authorization.k8s.io/v1',
        kind,
        metadata: where === '' ? {} : { namespace },
        spec: { user, resourceAttributes },
      });
      expect(review.kind).toBe(kind);
      allowed.push(review.status.allowed);
    }
    return allowed;
  };
  expect(await mayList()).toBe(false);
  expect(await verdicts()).toEqual([false, false]);
  await cluster.resource('rbac.authorization.k8s.io/v1', 'rolebindings', namespace).create({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'RoleBinding',
    metadata: { name: 'e2e' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
    subjects: [{ kind: 'ServiceAccount', name: 'e2e', namespace }],
  });
  await eventually('the binding counts', mayList);
  expect(await verdicts()).toEqual([true, true]);
});
