import { describe, expect, test } from 'vitest';
import type { Node, Pod } from '../../api/types.ts';
import type { Plugin } from '../framework.ts';
import { NodeInfo } from '../node-info.ts';
import { schedule } from '../schedule.ts';
import { interPodAffinity } from './inter-pod.ts';
import { nodeResourcesFit } from './resources.ts';
import { podTopologySpread } from './spread.ts';

const node = (name: string, zone: string, pods: Pod[] = []): NodeInfo => {
  const info = new NodeInfo({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { host: name, zone } },
    status: { allocatable: { cpu: '4', memory: '8Gi', pods: '110' } },
  } as Node);
  for (const pod of pods) info.addPod(pod);
  return info;
};
let serial = 0;
const pod = (app: string, spec: object = {}, namespace = 'd'): Pod =>
  ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: `${app}-${serial++}`, namespace, labels: { app } },
    spec: { containers: [{ name: 'c' }], ...spec },
  }) as Pod;
const term = (app: string, topologyKey: string, more: object = {}): object => ({
  labelSelector: { matchLabels: { app } },
  topologyKey,
  ...more,
});
const near = (app: string, key: string): object => ({
  affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term(app, key)] } },
});
const apart = (app: string, key: string, more: object = {}): object => ({
  affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term(app, key, more)] } },
});
const rather = (app: string, key: string, kind: 'podAffinity' | 'podAntiAffinity'): object => ({
  affinity: {
    [kind]: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 10, podAffinityTerm: term(app, key) }] },
  },
});
const plugins = (): Plugin[] => [
  nodeResourcesFit,
  podTopologySpread(),
  interPodAffinity((name) => (name === 'd' ? { team: 'one' } : { team: 'two' })),
];
const place = (one: Pod, nodes: NodeInfo[]): string => {
  const decision = schedule(one, nodes, plugins());
  return 'node' in decision ? decision.node : decision.message;
};
const spread = (maxSkew: number, key = 'zone', more: object = {}): object => ({
  topologySpreadConstraints: [
    {
      maxSkew,
      topologyKey: key,
      whenUnsatisfiable: 'DoNotSchedule',
      labelSelector: { matchLabels: { app: 'a' } },
      ...more,
    },
  ],
});

describe('relations between pods', () => {
  test.each<[string, string, string | RegExp]>([
    [
      'affinity: where the other is',
      place(pod('a', near('b', 'host')), [node('1', 'x'), node('2', 'y', [pod('b')])]),
      '2',
    ],
    [
      'affinity by zone',
      place(pod('a', near('b', 'zone')), [node('1', 'x'), node('2', 'y', [pod('b'), pod('c')]), node('3', 'y')]),
      '3',
    ],
    [
      'affinity: nowhere',
      place(pod('a', near('b', 'host')), [node('1', 'x')]),
      "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.",
    ],
    ['affinity to itself: the first one may start', place(pod('a', near('a', 'zone')), [node('1', 'x')]), '1'],
    [
      'affinity: other namespaces do not count',
      place(pod('a', near('b', 'host')), [node('1', 'x', [pod('b', {}, 'e')])]),
      /pod affinity rules/,
    ],
    [
      'anti-affinity: not where the other is',
      place(pod('a', apart('b', 'host')), [node('1', 'x', [pod('b')]), node('2', 'x')]),
      '2',
    ],
    [
      'anti-affinity by zone: nowhere',
      place(pod('a', apart('b', 'zone')), [node('1', 'x', [pod('b')]), node('2', 'x')]),
      "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
    ],
    [
      'anti-affinity of the one that runs',
      place(pod('b'), [node('1', 'x', [pod('a', apart('b', 'host'))])]),
      "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.",
    ],
    [
      'anti-affinity by namespace labels',
      place(pod('a', apart('b', 'host', { namespaceSelector: { matchLabels: { team: 'two' } } })), [
        node('1', 'x', [pod('b', {}, 'e')]),
        node('2', 'x', [pod('b')]),
      ]),
      '2',
    ],
    [
      'preference: together',
      place(pod('a', rather('b', 'host', 'podAffinity')), [node('1', 'x'), node('2', 'y', [pod('b')])]),
      '2',
    ],
    [
      'preference: apart',
      place(pod('a', rather('b', 'host', 'podAntiAffinity')), [
        node('1', 'x', [pod('b')]),
        node('2', 'y', [pod('c'), pod('c')]),
      ]),
      '2',
    ],
    [
      'spreading: the emptier zone',
      place(pod('a', spread(1)), [node('1', 'x', [pod('a')]), node('2', 'y', [pod('c'), pod('c')])]),
      '2',
    ],
    [
      'spreading: within the skew anything goes',
      place(pod('a', spread(2)), [node('1', 'x', [pod('a')]), node('2', 'y', [pod('c'), pod('c'), pod('c')])]),
      '1',
    ],
    [
      'spreading: a node without the label',
      place(pod('a', spread(1, 'rack')), [node('1', 'x')]),
      "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label).",
    ],
    [
      'spreading: too few domains count as empty ones',
      place(pod('a', spread(1, 'zone', { minDomains: 2 })), [node('1', 'x', [pod('a')])]),
      /pod topology spread constraints\.$/,
    ],
    [
      'soft spreading',
      place(pod('a', spread(1, 'host', { whenUnsatisfiable: 'ScheduleAnyway' })), [
        node('1', 'x', [pod('a')]),
        node('2', 'x', [pod('c'), pod('c')]),
      ]),
      '2',
    ],
    ['pods without requests are spread too', place(pod('a'), [node('1', 'x', [pod('c')]), node('2', 'x')]), '2'],
  ])('%s', (_title, actual, expected) => {
    if (typeof expected === 'string') expect(actual).toBe(expected);
    else expect(actual).toMatch(expected);
  });
});
