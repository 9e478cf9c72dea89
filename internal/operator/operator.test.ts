import { afterEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../base/log.ts';
import type { KubeClient } from '../kube/client/api.ts';
import { ManualClock } from '../store/testing.ts';
import type { Desired, DesiredSource } from './objects.ts';
import { type Operator, startOperator } from './operator.ts';

const configMap = (name: string): Desired => ({
  resource: { group: '', version: 'v1', resource: 'configmaps' },
  object: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } },
});
const source = (what: string, version: string, ...objects: Desired[]): DesiredSource => ({
  what,
  version,
  read: async () => objects,
});

describe('operator', () => {
  let operator: Operator | undefined;
  afterEach(() => operator?.stop());

  function start(options: {
    objects?: Desired[];
    sources?: () => DesiredSource[];
    refuse?: (name: string) => boolean;
  }) {
    const clock = new ManualClock();
    const applied: string[] = [];
    const client = {
      patch: async (_resource: unknown, name: string) => {
        if (options.refuse?.(name)) throw new Error(`${name} is refused`);
        applied.push(name);
      },
    } as unknown as KubeClient;
    operator = startOperator({
      client,
      mon: undefined,
      pool: 'replicapool',
      objects: options.objects ?? [],
      sources: options.sources ?? (() => []),
      clock,
      log: silentLogger,
    });
    const pass = async (ms: number): Promise<void> => {
      for (let passed = 0; passed < ms; passed += 500) {
        clock.advance(500);
        await Bun.sleep(0);
      }
    };
    return { applied, operator, pass };
  }

  test('an object that is refused is told, tried again, and keeps no other from being applied', async () => {
    let refused = true;
    const { applied, operator, pass } = start({
      objects: [configMap('a'), configMap('b')],
      refuse: (name) => refused && name === 'a',
    });
    await pass(500);
    expect(applied).toEqual(['b']);
    expect(operator.pending()).toBe('ConfigMap default/a: a is refused');
    refused = false;
    await pass(20_000);
    expect(applied).toEqual(['b', 'a']);
    expect(operator.pending()).toBeUndefined();
  });

  test('a source is applied when it comes, when it changes, and every five minutes', async () => {
    let sources = [source('one.yaml', '1', configMap('one'))];
    const { applied, pass } = start({ sources: () => sources });
    await pass(60_000);
    expect(applied).toEqual(['one']);
    sources = [source('one.yaml', '2', configMap('changed')), source('two.yaml', '1', configMap('two'))];
    await pass(16_000);
    expect(applied).toEqual(['one', 'changed', 'two']);
    await pass(300_000);
    expect(applied).toEqual(['one', 'changed', 'two', 'changed', 'two']);
  });

  test('a source that cannot be read is named with its mistake until it is mended', async () => {
    const broken: DesiredSource = {
      what: 'bad.yaml',
      version: '1',
      read: async () => {
        throw new Error('v1 ConfigMapp is not served');
      },
    };
    let sources = [broken];
    const { applied, operator, pass } = start({ sources: () => sources });
    await pass(1000);
    expect(operator.pending()).toBe('bad.yaml: v1 ConfigMapp is not served');
    sources = [source('bad.yaml', '2', configMap('good'))];
    await pass(16_000);
    expect(applied).toEqual(['good']);
    expect(operator.pending()).toBeUndefined();
  });
});
