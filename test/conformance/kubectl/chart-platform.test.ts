/** A chart about the whole cluster by server-side and by client-side apply: all of it is taken, nothing moves when it comes again, nothing is left. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from '../api/harness.ts';
import { clients, Kubectl, type Output } from '../api/kubectl.ts';
import { platform, platformNames, watcherDefinition } from './chart-platform.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

describe.each(clients)("a chart's objects for the cluster, kubectl %s", (client) => {
  let kubectl: Kubectl;
  let namespace: string;
  let chart: string;
  beforeAll(async () => {
    kubectl = new Kubectl(cluster, client);
    namespace = await cluster.namespace();
    chart = platform(namespace, { version: '1.0.0' });
    await kubectl.must(['apply', '--server-side', '-f', '-'], watcherDefinition);
    await kubectl.must(['wait', '--for=condition=Established', 'crd/watchers.shop.example.com', '--timeout=30s']);
  });
  afterAll(() => kubectl.close());

  const own = (...args: string[]): string[] => ['-n', namespace, ...args];
  const field = (what: string, path: string): Promise<string> =>
    kubectl.must(own('get', what, '-o', `jsonpath={${path}}`));
  /** resourceVersion and generation of every object. */
  const versions = (): Promise<string> => {
    const line = '{.kind}/{.metadata.name} {.metadata.resourceVersion} {.metadata.generation}{"\\n"}';
    return kubectl.must(own('get', '-o', `jsonpath={range .items[*]}${line}{end}`, ...platformNames));
  };
  const remove = async (): Promise<void> => {
    expect((await kubectl.must(own('delete', '--timeout=30s', '-f', '-'), chart)).trim().split('\n')).toHaveLength(
      platformNames.length,
    );
    expect((await kubectl.run(own('get', '--ignore-not-found', ...platformNames))).stdout).toBe('');
  };

  test.each([
    ['server-side', ['--server-side', '--field-manager=helm'], 'serverside-applied'],
    ['client-side', [], 'created'],
  ] as const)('%s: applied, applied again, without a difference, deleted', async (_, how, word) => {
    const apply = (): Promise<Output> => kubectl.run(own('apply', ...how, '-f', '-'), chart);
    const first = await apply();
    expect(first.stderr).toBe('');
    expect(first.stdout.trim().split('\n')).toEqual(platformNames.map((name) => `${name} ${word}`));
    const before = await versions();
    expect(before.trim().split('\n')).toHaveLength(platformNames.length);
    expect(await apply()).toMatchObject({ code: 0, stderr: '' });
    expect(await versions()).toBe(before);
    expect(await kubectl.run(own('diff', ...how, '-f', '-'), chart)).toMatchObject({ code: 0, stdout: '' });

    const data = JSON.parse(await field('cm/shop-scripts', '.data'));
    expect(data).toEqual({
      'start.sh': '#!/bin/sh\nset -eu\n\n# A tab:\tand quotes: "x" \'y\' `z`\nexec shop --config "$CONFIG"\n',
      'stop.sh': '#!/bin/sh\nkill "$1"',
      motto: 'One line in the end.',
      escaped: 'line one\nline two\té ünï 日本',
      number: '0123',
      yes: 'true',
    });
    const [endpoint, other] = JSON.parse(await field('watcher/shop', '.spec.endpoints'));
    expect(endpoint.relabelings[0]).toEqual({
      action: 'replace',
      sourceLabels: ['__meta_kubernetes_pod_node_name'],
      targetLabel: 'instance',
    });
    expect(endpoint.params).toEqual({ 'match[]': ['{__name__=~"shop.*"}'] });
    expect(other).toEqual({ interval: '1m30s', targetPort: 8080 });
    expect(await kubectl.must(own('get', 'shop-monitoring'))).toMatch(/NAME +INTERVAL\nshop +30s/);
    const [webhook] = JSON.parse(await field('validatingwebhookconfiguration/shop-webhook', '.webhooks'));
    expect(webhook).toMatchObject({ matchPolicy: 'Equivalent', timeoutSeconds: 10, objectSelector: {} });
    expect(webhook.rules[0].scope).toBe('*');
    expect(webhook.clientConfig.service).toMatchObject({ port: 443, path: '/validate' });
    expect(await field('job/shop-admission-create', '.metadata.annotations.helm\\.sh/hook')).toBe(
      'pre-install,pre-upgrade',
    );
    await remove();
  });

  test('what does not fit the definition is refused by its field', async () => {
    const wrong = chart.replace('interval: 30s', 'interval: soon').replace('scheme: http', 'scheme: gopher');
    const refused = await kubectl.run(own('apply', '--server-side', '-f', '-'), wrong);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/spec\.endpoints\[0\]\.interval: Invalid value: "soon": .*should match/);
    expect(refused.stderr).toMatch(/spec\.endpoints\[0\]\.scheme: Unsupported value: "gopher"/);
    await kubectl.must(own('delete', '--ignore-not-found', '-f', '-'), chart);
  });
});
