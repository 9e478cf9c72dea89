/**
 * Unmodified kubectl, a current one and Debian 12's 1.20, with objects that no controller looks at: every command that speaks to an API server
 * alone, a test each. `workloads.test.ts` has those that need controllers, `explain.test.ts` the fields of every kind, `describe.test.ts` what is told of each.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeSigningRequest } from '../../../internal/pki/certificates.ts';
import { Cluster, eventually } from '../api/harness.ts';
import { clients, Kubectl, type Output } from '../api/kubectl.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const manifest = `
apiVersion: v1
kind: ConfigMap
metadata: {name: script}
data: {run.sh: "echo hi"}
---
apiVersion: v1
kind: Secret
metadata: {name: password}
data: {p: aHVudGVyMg==}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: counter}
spec:
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: localhost/busybox, volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: rook-ceph-block, resources: {requests: {storage: 1Gi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: one}}
spec: {containers: [{name: c, image: localhost/busybox}]}
`;

describe.each(clients)('kubectl %s', (client) => {
  let kubectl: Kubectl;
  let namespace: string;
  const old = client === '1.20';
  beforeAll(async () => {
    kubectl = new Kubectl(cluster, client);
    namespace = await cluster.namespace();
  });
  afterAll(() => kubectl.close());

  const own = (...args: string[]): string[] => ['-n', namespace, ...args];
  const must = (...args: string[]): Promise<string> => kubectl.must(own(...args));
  const run = (...args: string[]): Promise<Output> => kubectl.run(own(...args));
  const refused = (...args: string[]): Promise<string> => kubectl.refused(own(...args));
  const apply = (text: string, ...args: string[]): Promise<Output> =>
    kubectl.run(own('apply', ...args, '-f', '-'), text);
  const field = (what: string, path: string): Promise<string> => must('get', what, '-o', `jsonpath={${path}}`);
  const json = async (...args: string[]) => JSON.parse(await must(...args, '-o', 'json'));

  test('version, api-versions, api-resources, cluster-info', async () => {
    expect(await kubectl.must(['version'])).toContain('v1.36.0');
    expect((await kubectl.must(['api-versions'])).split('\n')).toContain('apps/v1');
    expect(await kubectl.must(['api-resources'])).toMatch(/statefulsets +sts +apps\/v1/);
    expect(await kubectl.must(['api-resources', '--namespaced=false', '--verbs=list', '-o', 'name'])).toMatch(
      /^nodes$/m,
    );
    expect(await kubectl.must(['cluster-info'])).toContain(cluster.url);
  });

  test('apply, client side: created, then unchanged, then configured; an unknown field is refused', async () => {
    const first = await apply(manifest);
    expect(first.stdout.match(/created/g)).toHaveLength(5);
    const second = await apply(manifest);
    // kubectl always sends the claim templates again, and says so; the object stays what it was.
    const told = second.stdout.replace('statefulset.apps/counter configured', 'unchanged');
    expect(told.match(/unchanged/g)).toHaveLength(5);
    expect(await field('sts/counter', '.metadata.generation')).toBe('1');
    expect((await apply(manifest.replace('echo hi', 'echo he'))).stdout).toContain('configmap/script configured');
    expect(await field('cm/script', '.data')).toContain('echo he');
    expect((await apply(manifest)).stdout).toContain('configmap/script configured');
    const wrong = await apply(manifest.replace('image: localhost/busybox}', 'imagge: x, image: other}'));
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toMatch(/unknown field/);
  });

  test('apply, server side: one field, two managers, a conflict', async () => {
    const map = (value: string): string =>
      JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ssa' }, data: { x: value } });
    expect((await apply(map('1'), '--server-side')).stdout).toContain('serverside-applied');
    const other = await apply(map('2'), '--server-side', '--field-manager=other');
    expect(other.stderr).toContain('conflict');
    expect((await apply(map('2'), '--server-side', '--field-manager=other', '--force-conflicts')).code).toBe(0);
    expect(await field('cm/ssa', '.data.x')).toBe('2');
  });

  test('create: of files, and of every kind that has a command of its own', async () => {
    const file = join(kubectl.directory, 'value');
    writeFileSync(file, 'from a file');
    await must('create', 'configmap', 'made', '--from-literal=a=b', `--from-file=${file}`);
    expect(await field('cm/made', '.data')).toBe('{"a":"b","value":"from a file"}');
    await must('create', 'secret', 'generic', 'made', '--from-literal=a=b');
    expect(await field('secret/made', '.data.a')).toBe('Yg==');
    await must('create', 'secret', 'docker-registry', 'pull', '--docker-username=u', '--docker-password=p');
    expect(await field('secret/pull', '.type')).toBe('kubernetes.io/dockerconfigjson');
    await must('create', 'service', 'clusterip', 'made', '--tcp=80:8080');
    expect(await field('svc/made', '.spec.ports[0].targetPort')).toBe('8080');
    await must('create', 'service', 'nodeport', 'port', '--tcp=80');
    await must('create', 'service', 'externalname', 'far', '--external-name=example.com');
    await must('create', 'job', 'made', '--image=x', '--', 'true');
    expect(await field('job/made', '.spec.template.spec.containers[0].command[0]')).toBe('true');
    await must('create', 'ingress', 'made', '--rule=example.com/*=made:80');
    expect(await field('ingress/made', '.spec.rules[0].http.paths[0].pathType')).toBe('Prefix');
    await must('create', 'quota', 'made', '--hard=pods=100');
    await must('create', 'serviceaccount', 'made');
    await kubectl.must(['create', 'priorityclass', `${namespace}-class`, '--value=1000']);
    await kubectl.must(['create', 'clusterrole', `${namespace}-role`, '--verb=get', '--resource=nodes']);
    await kubectl.must(['create', 'clusterrolebinding', namespace, `--clusterrole=${namespace}-role`, '--user=jane']);
    if (!old) {
      // 1.20 asks for versions of these that are no longer served.
      await must('create', 'cronjob', 'made', '--image=x', '--schedule=0 0 * * *');
      await must('create', 'job', 'now', '--from=cronjob/made');
      expect(await field('job/now', '.metadata.ownerReferences[0].kind')).toBe('CronJob');
      await must('create', 'pdb', 'made', '--selector=app=web', '--min-available=1');
    }
    expect(await refused('create', 'configmap', 'made')).toMatch(/configmaps "made" already exists/);
    expect(await must('create', 'configmap', 'never', '--dry-run=client', '-o', 'name')).toBe('configmap/never\n');
    await must('create', 'configmap', 'never', '--dry-run=server');
    expect(await refused('get', 'cm', 'never')).toContain('not found');
    await kubectl.must(
      own('create', '-f', '-'),
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"of-file"}}',
    );
    await kubectl.must(
      own('replace', '-f', '-'),
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"of-file"},"data":{"a":"b"}}',
    );
    expect(await field('cm/of-file', '.data.a')).toBe('b');
    await must('create', 'namespace', `${namespace}-more`);
  });

  test('diff: what differs, with exit code 1', async () => {
    const { code, stdout } = await kubectl.run(own('diff', '-f', '-'), manifest.replace('echo hi', 'echo ho'));
    expect(stdout).toMatch(/-\s+run.sh: echo hi\n\+\s+run.sh: echo ho/);
    expect(code).toBe(1);
  });

  test('edit: what the editor leaves', async () => {
    const edited = await kubectl.run(own('edit', 'cm', 'script'), '', { EDITOR: kubectl.editor('s/hi/ho/') });
    expect(edited.stdout).toContain('edited');
    expect(await field('cm/script', '.data')).toContain('echo ho');
    const same = await kubectl.run(own('edit', 'cm', 'script'), '', { EDITOR: 'true' });
    expect(same.stderr + same.stdout).toContain('no changes made');
  });

  test('patch: strategic, merge, JSON, and apply as the fourth type', async () => {
    await must('create', 'deployment', 'd', '--image=x');
    const containers = '{"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"side","image":"y"}]}}}}';
    await must('patch', 'deploy', 'd', '-p', containers);
    expect(await field('deploy/d', '.spec.template.spec.containers[*].image')).toBe('y x');
    await must('patch', 'deploy', 'd', '--type=json', '-p', '[{"op":"replace","path":"/spec/replicas","value":3}]');
    expect(await field('deploy/d', '.spec.replicas')).toBe('3');
    await must('patch', 'deploy', 'd', '--type=merge', '-p', '{"spec":{"replicas":4}}');
    expect(await field('deploy/d', '.spec.replicas')).toBe('4');
    const applied = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'd' }, spec: { replicas: 6 } };
    // 1.20 itself looks for the fields that a whole Deployment must have.
    const patched = await apply(JSON.stringify(applied), '--server-side', '--force-conflicts', '--validate=false');
    expect(patched.stdout).toContain('serverside-applied');
    expect(await field('deploy/d', '.spec.replicas')).toBe('6');
    expect(
      (await run('patch', 'deploy', 'd', '--type=json', '-p', '[{"op":"test","path":"/spec/replicas","value":1}]'))
        .code,
    ).toBe(1);
    expect(await must('patch', 'deploy', 'd', '-p', '{"spec":{"replicas":6}}')).toContain('(no change)');
  });

  test('label and annotate: set, overwrite, remove, all of a kind', async () => {
    await must('label', 'pod', 'one', 'color=red');
    expect(await refused('label', 'pod', 'one', 'color=blue')).toContain('--overwrite is false');
    await must('label', 'pod', 'one', 'color=blue', '--overwrite');
    expect(await must('get', 'pod', '-l', 'color=blue', '-o', 'name')).toBe('pod/one\n');
    await must('label', 'pod', 'one', 'color-');
    expect(await must('get', 'pod', '-l', 'color', '-o', 'name')).toBe('');
    await must('annotate', 'pod', 'one', 'note=x');
    await must('annotate', 'pod', 'one', 'note=y', '--overwrite');
    expect(await field('pod/one', '.metadata.annotations.note')).toBe('y');
    await must('annotate', 'pod', 'one', 'note-');
    expect(await field('pod/one', '.metadata.annotations.note')).toBe('');
    await must('label', 'svc', '--all', 'tier=front');
    expect((await must('get', 'svc', '-l', 'tier=front', '-o', 'name')).split('\n').length).toBeGreaterThan(2);
  });

  test('get: every form of output', async () => {
    const file = (name: string, text: string): string => {
      const path = join(kubectl.directory, name);
      writeFileSync(path, text);
      return path;
    };
    const get = (form: string, ...more: string[]): Promise<string> => must('get', 'cm', 'made', '-o', form, ...more);
    expect(await must('get', 'cm', 'made')).toMatch(/^NAME +DATA +AGE\nmade +2 +\d+s\n$/);
    expect(await must('get', 'cm', 'made', '--no-headers')).toMatch(/^made +2 +\d+s\n$/);
    expect(await must('get', 'cm', 'made', '--show-labels')).toMatch(/LABELS\nmade .*<none>\n$/);
    expect(await must('get', 'cm', 'made', '--show-kind', '-L', 'app')).toMatch(/APP\nconfigmap\/made +2 /);
    expect(await get('wide')).toMatch(/^NAME +DATA +AGE\n/);
    expect(await get('name')).toBe('configmap/made\n');
    expect(await get('yaml')).toMatch(/^apiVersion: v1\ndata:\n {2}a: b\n {2}value: from a file\nkind: ConfigMap\n/);
    expect(JSON.parse(await get('json')).data.a).toBe('b');
    expect(await get('jsonpath={.data.a}')).toBe('b');
    expect(JSON.parse(await get('jsonpath-as-json={.data.a}'))).toEqual(['b']);
    expect(await get(`jsonpath-file=${file('path', '{.data.a}')}`)).toBe('b');
    expect(await get('go-template={{.data.a}}')).toBe('b');
    expect(await get(`go-template-file=${file('template', '{{.data.a}}')}`)).toBe('b');
    expect(await get('template', '--template={{.data.a}}')).toBe('b');
    expect(await get('custom-columns=N:.metadata.name,A:.data.a')).toBe('N      A\nmade   b\n');
    expect(await get(`custom-columns-file=${file('columns', 'N A\n.metadata.name .data.a')}`)).toBe(
      'N      A\nmade   b\n',
    );
    expect(await must('get', 'cm', '--sort-by=.metadata.name', '-o', 'name')).toMatch(
      /kube-root[\s\S]*made[\s\S]*script/,
    );
    expect(await must('get', 'sts,svc,cm,secret')).toContain('statefulset.apps/counter');
    expect(await must('get', 'pods', '--field-selector=status.phase=Pending', '-o', 'name')).toBe('pod/one\n');
    expect(await kubectl.must(['get', 'cm', '-A', '--chunk-size=2', '-o', 'name'])).toContain('configmap/script');
    expect(await must('get', 'cm', 'nothing', '--ignore-not-found')).toBe('');
    expect(await refused('get', 'cm', 'nothing')).toBe(
      'Error from server (NotFound): configmaps "nothing" not found\n',
    );
  });

  test('get -o wide: of a pod that has no node', async () => {
    expect(await must('get', 'pods', '-o', 'wide')).toMatch(
      /\none +0\/1 +Pending +0 +\d+s +<none> +<none> +<none> +<none>\n/,
    );
  });

  test('describe: what kubectl puts together of an object, its events and what refers to it', async () => {
    expect(await must('describe', 'pod', 'one')).toContain('node.kubernetes.io/not-ready:NoExecute');
    expect(await must('describe', 'sts', 'counter')).toContain('rook-ceph-block');
    expect(await must('describe', 'svc', 'web')).toMatch(/Selector: +app=web/);
    expect(await must('describe', 'deploy', 'd')).toMatch(/Replicas: +6 desired/);
    expect(await must('describe', 'secret', 'password')).toMatch(/p: +7 bytes/);
    // Admission counts with what is made; no controller runs here.
    await must('run', 'counted', '--image=x', '--restart=Never');
    expect(await must('describe', 'quota', 'made')).toMatch(/pods +[1-9]\d* +100/);
    await must('delete', 'pod', 'counted', '--now');
    expect(await kubectl.must(['describe', 'ns', namespace])).toMatch(/Name: +made/);
    expect(await kubectl.must(['describe', 'clusterrole', 'view'])).toMatch(
      /configmaps +\[\] +\[\] +\[get list watch\]/,
    );
  });

  test('explain: of a field', async () => {
    expect(await kubectl.must(['explain', 'pod.spec.containers.env'])).toMatch(/valueFrom\s+<(Object|EnvVarSource)>/);
    expect(await kubectl.refused(['explain', 'pod.spec.nothing'])).toContain('field "nothing" does not exist');
  });

  test('run, expose, set image, env, resources and selector, scale, autoscale', async () => {
    await must('run', 'quick', '--image=x', '--labels=run=quick', '--restart=Never', '--env=A=b');
    expect(await field('pod/quick', '.spec.containers[0].env[0].value')).toBe('b');
    await must('expose', 'pod', 'quick', '--port=80', '--target-port=8080');
    expect(await field('svc/quick', '.spec.selector.run')).toBe('quick');
    await must('set', 'image', 'deploy/d', 'x=z:2');
    await must('set', 'env', 'deploy/d', 'A=b', '-c', 'x');
    await must('set', 'resources', 'deploy/d', '-c', 'x', '--limits=cpu=1');
    await must('set', 'serviceaccount', 'deploy/d', 'made');
    const { spec } = (await json('get', 'deploy', 'd')).spec.template;
    expect(spec.containers[1]).toMatchObject({ name: 'x', image: 'z:2', env: [{ name: 'A', value: 'b' }] });
    expect(spec.containers[1].resources).toEqual({ limits: { cpu: '1' } });
    expect(spec.serviceAccountName).toBe('made');
    await must('set', 'selector', 'svc', 'quick', 'run=slow');
    expect(await field('svc/quick', '.spec.selector')).toBe('{"run":"slow"}');
    await must('scale', 'deploy/d', '--replicas=5', '--current-replicas=6');
    expect(await field('deploy/d', '.spec.replicas')).toBe('5');
    expect((await run('scale', 'deploy/d', '--replicas=1', '--current-replicas=9')).code).toBe(1);
    await must('autoscale', 'deploy', 'd', '--min=1', '--max=4', '--cpu-percent=80');
    expect(await must('get', 'hpa', 'd')).toMatch(/\nd +Deployment\/d +\S*.*80% +1 +4 /);
  });

  test('rollout status ends when the object says so; wait for a condition and for the end; get -w', async () => {
    const deployments = cluster.resource('apps/v1', 'deployments', namespace);
    const waiting = run('wait', 'deploy/d', '--for=condition=Available', '--timeout=20s');
    const { generation: observedGeneration } = (await deployments.get('d')).metadata;
    const counts = { replicas: 5, updatedReplicas: 5, readyReplicas: 5, availableReplicas: 5 };
    const conditions = [{ type: 'Available', status: 'True' }];
    await deployments.patch('d', 'merge', { status: { observedGeneration, ...counts, conditions } }, 'status');
    expect(await must('rollout', 'status', 'deploy/d', '--timeout=10s')).toContain('successfully rolled out');
    expect((await waiting).stdout).toContain('deployment.apps/d condition met');
    const gone = run('wait', '--for=delete', 'pod/quick', '--timeout=20s');
    let ended = false;
    const watching = run('get', 'pod', 'one', '-w', '--request-timeout=3s').finally(() => (ended = true));
    // However long kubectl takes to begin, there is something to see.
    for (let i = 0; !ended; i++) {
      await cluster.resource('v1', 'pods', namespace).patch('one', 'merge', { metadata: { labels: { at: `b${i}` } } });
      await Bun.sleep(200);
    }
    expect((await watching).stdout.match(/one +0\/1/g)?.length).toBeGreaterThanOrEqual(2);
    await must('delete', 'pod', 'quick');
    expect((await gone).code).toBe(0);
  });

  test('auth: can-i with and without --list, reconcile; forbidden in words', async () => {
    expect(await must('auth', 'can-i', 'delete', 'nodes')).toContain('yes');
    await must('create', 'role', 'reader', '--verb=get,list', '--resource=pods');
    await must('create', 'rolebinding', 'reader', '--role=reader', `--serviceaccount=${namespace}:default`);
    const as = `--as=system:serviceaccount:${namespace}:default`;
    await eventually('the binding counts', async () => (await run('auth', 'can-i', 'list', 'pods', as)).code === 0);
    const no = await run('auth', 'can-i', 'delete', 'pods', as);
    expect(no.stdout).toContain('no');
    expect(await must('auth', 'can-i', '--list', as)).toMatch(/pods +\[\] +\[\] +\[get list\]/);
    expect(await refused('get', 'secrets', as)).toContain('secrets is forbidden');
    const rules = [{ apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch'] }];
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'reader', namespace },
      rules,
    };
    await kubectl.must(own('auth', 'reconcile', '-f', '-'), JSON.stringify(role));
    expect(await must('auth', 'can-i', '--list', as)).toMatch(
      /pods +\[\] +\[\] +\[get list watch\]|pods +\[\] +\[\] +\[.*watch.*\]/,
    );
  });

  test('config: contexts, clusters and users of a kubeconfig, which then reaches the server', async () => {
    const file = `--kubeconfig=${join(kubectl.directory, 'own-config')}`;
    const config = (...args: string[]): Promise<string> => kubectl.must([file, 'config', ...args]);
    await config('set-cluster', 'c', `--server=${cluster.url}`, `--certificate-authority=${kubectl.authority}`);
    const certificate = join(kubectl.directory, 'own.crt');
    const key = join(kubectl.directory, 'own.key');
    writeFileSync(certificate, cluster.credentials.cert);
    writeFileSync(key, cluster.credentials.key);
    if (old) {
      // Its `set-credentials` panics.
      await config('set', 'users.u.client-certificate', certificate);
      await config('set', 'users.u.client-key', key);
    } else await config('set-credentials', 'u', `--client-certificate=${certificate}`, `--client-key=${key}`);
    await config('set-context', 'one', '--cluster=c', '--user=u', `--namespace=${namespace}`);
    await config('set-context', 'two', '--cluster=c');
    await config('use-context', 'one');
    expect(await config('current-context')).toBe('one\n');
    expect(await config('get-contexts', '-o', 'name')).toBe('one\ntwo\n');
    await config('rename-context', 'two', 'three');
    await config('delete-context', 'three');
    expect(await config('get-contexts', '-o', 'name')).toBe('one\n');
    expect(await config('view')).toMatch(/client-certificate: .*own\.crt/);
    expect(await kubectl.must([file, 'get', 'cm', 'kube-root-ca.crt', '-o', 'name'])).toBe(
      'configmap/kube-root-ca.crt\n',
    );
    await config('unset', 'users.u');
    expect((await kubectl.run([file, 'get', 'cm', 'kube-root-ca.crt'])).code).not.toBe(0);
  });

  test('taint, cordon, uncordon of a node', async () => {
    const node = `node-of-${namespace}`;
    await cluster.resource('v1', 'nodes').create({ apiVersion: 'v1', kind: 'Node', metadata: { name: node } });
    await kubectl.must(['taint', 'node', node, 'a=b:NoSchedule']);
    expect(await kubectl.must(['describe', 'node', node])).toMatch(/Taints: +a=b:NoSchedule/);
    await kubectl.must(['taint', 'node', node, 'a=c:NoSchedule', '--overwrite']);
    await kubectl.must(['taint', 'node', node, 'a-']);
    await kubectl.must(['cordon', node]);
    expect(await kubectl.must(['get', 'node', node])).toMatch(/SchedulingDisabled/);
    await kubectl.must(['uncordon', node]);
    expect(await kubectl.must(['get', 'node', node])).not.toMatch(/SchedulingDisabled/);
    await kubectl.must(['delete', 'node', node]);
  });

  test('certificate: approve and deny', async () => {
    const { request } = await makeSigningRequest('jane');
    const lines = Buffer.from(request)
      .toString('base64')
      .match(/.{1,64}/g)!;
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
    const spec = {
      request: Buffer.from(pem).toString('base64'),
      signerName: 'example.com/signer',
      usages: ['client auth'],
    };
    const [yes, no] = [`yes-${namespace}`, `no-${namespace}`];
    for (const name of [yes, no]) {
      const wanted = {
        apiVersion: 'certificates.k8s.io/v1',
        kind: 'CertificateSigningRequest',
        metadata: { name },
        spec,
      };
      await kubectl.must(['create', '-f', '-'], JSON.stringify(wanted));
    }
    expect(await kubectl.must(['get', 'csr', yes])).toMatch(/example\.com\/signer +admin .*Pending/);
    await kubectl.must(['certificate', 'approve', yes]);
    await kubectl.must(['certificate', 'deny', no]);
    expect(await kubectl.must(['get', 'csr', yes])).toMatch(/Approved/);
    expect(await kubectl.must(['get', 'csr', no])).toMatch(/Denied/);
  });

  test('proxy on a port and on a socket; --raw in every verb that it has', async () => {
    const proxy = kubectl.start('proxy', '-p', '0');
    let told = '';
    proxy.stdout!.on('data', (piece) => (told += String(piece)));
    const port = await eventually('a port', async () => /Starting to serve on 127\.0\.0\.1:(\d+)/.exec(told)?.[1]);
    const maps = `/api/v1/namespaces/${namespace}/configmaps`;
    const answer = (await (await fetch(`http://127.0.0.1:${port}${maps}/made`)).json()) as { data: object };
    expect(answer.data).toMatchObject({ a: 'b' });
    proxy.kill();
    const socket = join(kubectl.directory, 'objects.sock');
    const other = kubectl.start('proxy', `--unix-socket=${socket}`);
    await eventually('a socket', async () => existsSync(socket));
    const unix = await fetch('http://localhost/version', { unix: socket } as RequestInit);
    expect(((await unix.json()) as { major: string }).major).toBe('1');
    other.kill();
    const map = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'raw' }, data: { a: 'b' } };
    await kubectl.must(['create', '--raw', maps, '-f', '-'], JSON.stringify(map));
    await kubectl.must(['replace', '--raw', `${maps}/raw`, '-f', '-'], JSON.stringify({ ...map, data: { a: 'c' } }));
    expect(JSON.parse(await kubectl.must(['get', '--raw', `${maps}/raw`])).data).toEqual({ a: 'c' });
    await kubectl.must(['delete', '--raw', `${maps}/raw`]);
    expect(await refused('get', 'cm', 'raw')).toContain('not found');
    expect(await kubectl.must(['get', '--raw', '/readyz'])).toBe('ok');
  });

  test('exec in a pod without a node says so', async () => {
    expect(await refused('exec', 'one', '--', 'true')).toMatch(/pod one does not have a host assigned/);
  });

  test('delete: by name, label and file, all of a kind; what each propagation leaves to the collector', async () => {
    const left = async (name: string) => (await json('get', 'deploy', name)).metadata;
    for (const [propagation, finalizer] of [
      ['orphan', 'orphan'],
      ['foreground', 'foregroundDeletion'],
    ] as const) {
      await must('create', 'deployment', propagation, '--image=x');
      if (old && propagation === 'foreground') {
        // 1.20 knows of two: what it calls background, and orphans.
        await must(
          'delete',
          '--raw',
          `/apis/apps/v1/namespaces/${namespace}/deployments/${propagation}?propagationPolicy=Foreground`,
        );
      } else await must('delete', 'deploy', propagation, `--cascade=${propagation}`, '--wait=false');
      const { deletionTimestamp, finalizers } = await left(propagation);
      expect([typeof deletionTimestamp, finalizers]).toEqual(['string', [finalizer]]);
      await must('patch', 'deploy', propagation, '--type=merge', '-p', '{"metadata":{"finalizers":null}}');
      expect(await refused('get', 'deploy', propagation)).toContain('not found');
    }
    await must('delete', 'deploy', 'd', '--cascade=background');
    expect(await refused('get', 'deploy', 'd')).toContain('not found');
    await must('create', 'cm', 'labelled');
    await must('label', 'cm', 'labelled', 'drop=yes');
    expect(await must('delete', 'cm', '-l', 'drop=yes')).toBe('configmap "labelled" deleted\n');
    expect(await kubectl.must(own('delete', '-f', '-', '--grace-period=0', '--force'), manifest)).toContain(
      '"counter"',
    );
    expect(await must('delete', 'job,ingress,svc,secret', '--all')).toContain('deleted');
    const more = `${namespace}-more`;
    await kubectl.must(['delete', 'ns', more, '--timeout=30s']);
    expect(await kubectl.refused(['get', 'ns', more])).toContain('not found');
  });
});
