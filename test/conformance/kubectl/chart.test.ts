/** A chart's objects by server-side apply, as package managers install and upgrade them: nothing moves that was not changed, what is left out goes. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from '../api/harness.ts';
import { Kubectl, type Output } from '../api/kubectl.ts';
import { definition, render, rendered } from './chart.ts';

let cluster: Cluster;
let kubectl: Kubectl;
let namespace: string;
beforeAll(async () => {
  cluster = await Cluster.start();
  kubectl = new Kubectl(cluster);
  namespace = await cluster.namespace();
});
afterAll(async () => {
  kubectl.close();
  await cluster.close();
});

const own = (...args: string[]): string[] => ['-n', namespace, ...args];
const asHelm = ['--server-side', '--field-manager=helm'];
const apply = (text: string, ...more: string[]): Promise<Output> =>
  kubectl.run(own('apply', ...asHelm, ...more, '-f', '-'), text);
const field = (what: string, path: string): Promise<string> =>
  kubectl.must(own('get', what, '-o', `jsonpath={${path}}`));

/** resourceVersion and generation of every object of the chart. */
async function versions(): Promise<string> {
  const form =
    '{range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion} {.metadata.generation}{"\\n"}{end}';
  return kubectl.must(own('get', '-o', `jsonpath=${form}`, ...rendered));
}

const first = { version: '1.0.0', replicas: 2, debug: true };

describe("a chart's rendered objects", () => {
  test('are applied, all of them; once more, and nothing is written', async () => {
    expect((await apply(definition)).stdout).toContain('shelves.shop.example.com serverside-applied');
    await kubectl.must(['wait', '--for=condition=Established', 'crd/shelves.shop.example.com', '--timeout=20s']);
    const installed = await apply(render(first));
    expect(installed.stderr).toBe('');
    expect(installed.stdout.trim().split('\n')).toEqual(rendered.map((name) => `${name} serverside-applied`));
    const before = await versions();
    expect(before.trim().split('\n')).toHaveLength(rendered.length);
    expect((await apply(render(first))).code).toBe(0);
    expect(await versions()).toBe(before);
    expect((await apply(definition)).code).toBe(0);
    const storedVersions = await kubectl.must(['get', 'crd', 'shelves.shop.example.com', '-o', 'jsonpath={.status}']);
    expect(JSON.parse(storedVersions)).toMatchObject({
      storedVersions: ['v1alpha1'],
      acceptedNames: { kind: 'Shelf' },
    });
  });

  test('read as they were meant: canonical quantities, defaults beside what was given, no key for what had no value', async () => {
    const container = JSON.parse(await field('deploy/shop-web', '.spec.template.spec.containers[0]'));
    expect(container.resources).toEqual({
      limits: { cpu: '500m', memory: '256Mi' },
      requests: { cpu: '100m', memory: '134217728' },
    });
    const spec = JSON.parse(await field('deploy/shop-web', '.spec.template.spec'));
    expect(spec).toMatchObject({ securityContext: {}, affinity: {}, restartPolicy: 'Always' });
    for (const key of ['imagePullSecrets', 'initContainers', 'nodeSelector', 'tolerations'])
      expect(spec).not.toHaveProperty(key);
    expect(spec.volumes).toEqual([{ name: 'config', configMap: { name: 'shop-web', defaultMode: 272 } }]);
    expect(JSON.parse(await field('shelf/shop', '.spec'))).toEqual({
      width: 80,
      boards: [
        { name: 'top', load: 5 },
        { name: 'bottom', load: 50 },
      ],
    });
    expect(await field('sa/shop-web', '.metadata.annotations')).toBe('');
  });

  test('diff tells nothing of what is applied, and what an upgrade would change', async () => {
    const diff = (text: string): Promise<Output> => kubectl.run(own('diff', ...asHelm, '-f', '-'), text);
    expect(await diff(render(first))).toMatchObject({ code: 0, stdout: '' });
    const next = await diff(render({ ...first, debug: false }));
    expect(next.code).toBe(1);
    expect(next.stdout).toMatch(/-\s+- name: DEBUG/);
  });

  test('an upgrade changes what it says, takes away what it leaves out, and leaves what others own', async () => {
    await kubectl.must(own('label', 'deploy', 'shop-web', 'team=blue'));
    await kubectl.must(own('set', 'env', 'deploy/shop-web', 'REGION=north'));
    const upgraded = await apply(render({ version: '1.1.0', replicas: 2, metricsPort: true }));
    expect(upgraded.stderr).toBe('');
    const env = JSON.parse(await field('deploy/shop-web', '.spec.template.spec.containers[0].env'));
    expect(env.map(({ name }: { name: string }) => name).toSorted()).toEqual(['POD_IP', 'REGION', 'WORKERS']);
    expect(await field('deploy/shop-web', '.metadata.labels.team')).toBe('blue');
    expect(await field('deploy/shop-web', '.spec.template.spec.containers[0].image')).toMatch(/web:1\.1\.0$/);
    expect(await field('svc/shop-web', '.spec.ports[*].name')).toBe('http metrics');
    const address = await field('svc/shop-web', '.spec.clusterIP');
    await apply(render({ version: '1.2.0', replicas: 2 }));
    expect(await field('svc/shop-web', '.spec.ports[*].name')).toBe('http');
    expect(await field('svc/shop-web', '.spec.clusterIP')).toBe(address);
  });

  test('somebody who scales takes the field: the next upgrade is told who has it; without the field it goes through', async () => {
    await kubectl.must(own('scale', 'deploy/shop-web', '--replicas=5'));
    const conflict = await apply(render({ version: '1.3.0', replicas: 2 }));
    expect(conflict.code).not.toBe(0);
    expect(conflict.stderr).toMatch(/conflict with "kubectl" with subresource "scale".*: \.spec\.replicas/);
    expect((await apply(render({ version: '1.3.0' }))).code).toBe(0);
    expect(await field('deploy/shop-web', '.spec.replicas')).toBe('5');
    expect((await apply(render({ version: '1.3.0', replicas: 3 }), '--force-conflicts')).code).toBe(0);
    expect(await field('deploy/shop-web', '.spec.replicas')).toBe('3');
  });

  test('deleted by its manifest, nothing of it is left', async () => {
    await kubectl.must(own('delete', '--timeout=30s', '-f', '-'), render(first));
    expect((await kubectl.run(own('get', 'all,ingress,netpol,pdb,shelves'))).stdout).toBe('');
    await kubectl.must(['delete', 'crd', 'shelves.shop.example.com', '--timeout=30s']);
  });
});
