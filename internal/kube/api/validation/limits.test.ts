import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { autoscalerFromV2, autoscalerToV2 } from '../kinds/autoscaler-versions.ts';
import { changed, create, refused, update } from '../testing.ts';

type Row = [scenario: string, places: Record<string, unknown>, expected: string[]];

describe('LimitRange', () => {
  const range = (limit: object): JsonObject => ({ metadata: { name: 'l' }, spec: { limits: [limit as JsonObject] } });
  test('what is not said follows from what is: limits from the maximum, requests from limits and minimum', () => {
    const made = create(
      'v1 LimitRange',
      range({ type: 'Container', max: { cpu: '2' }, default: { memory: '1Gi' }, min: { 'ephemeral-storage': '1' } }),
    );
    expect(made.spec).toEqual({
      limits: [
        {
          type: 'Container',
          max: { cpu: '2' },
          min: { 'ephemeral-storage': '1' },
          default: { memory: '1Gi', cpu: '2' },
          defaultRequest: { memory: '1Gi', cpu: '2', 'ephemeral-storage': '1' },
        },
      ],
    });
  });
  const at = 'spec.limits[0]';
  test.each<[string, object, string[]]>([
    ['nothing wrong', { type: 'Container', min: { cpu: '1' }, max: { cpu: '2' } }, []],
    [
      'a type of nobody',
      { type: 'Node' },
      [`${at}.type: Invalid value: "Node": must be a standard limit type or fully qualified`],
    ],
    [
      'a minimum above the maximum',
      { type: 'Pod', min: { cpu: '2' }, max: { cpu: '1' } },
      [`${at}.min[cpu]: Invalid value: "2": min value 2 is greater than max value 1`],
    ],
    [
      'defaults of a pod',
      { type: 'Pod', default: { cpu: '1' } },
      [`${at}.default: Forbidden: may not be specified when \`type\` is 'Pod'`],
    ],
    [
      'a default above the maximum',
      { type: 'Container', default: { cpu: '3' }, defaultRequest: { cpu: '1' }, max: { cpu: '2' } },
      [`${at}.default[cpu]: Invalid value: "3": default value 3 is greater than max value 2`],
    ],
    [
      'a request above the limit',
      { type: 'Container', default: { cpu: '1' }, defaultRequest: { cpu: '2' } },
      [`${at}.defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than default limit value 1`],
    ],
    [
      'a ratio below one',
      { type: 'Container', maxLimitRequestRatio: { cpu: '500m' } },
      [`${at}.maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1`],
    ],
    [
      'a ratio that cannot be',
      { type: 'Container', min: { cpu: '1' }, max: { cpu: '2' }, maxLimitRequestRatio: { cpu: '3' } },
      [`${at}.maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000`],
    ],
    [
      'claims without storage',
      { type: 'PersistentVolumeClaim', max: { cpu: '1' } },
      [`${at}.limits: Required value: either minimum or maximum storage value is required, but neither was provided`],
    ],
    [
      'a resource that containers do not have',
      { type: 'Container', max: { storage: '1' }, default: { storage: '1' }, defaultRequest: { storage: '1' } },
      ['max', 'default', 'defaultRequest'].map(
        (field) => `${at}.${field}[storage]: Invalid value: "storage": must be a standard resource for containers`,
      ),
    ],
  ])('create: %s', (_scenario, limit, expected) => {
    expect(refused(() => create('v1 LimitRange', range(limit)))).toEqual(expected);
  });
});

describe('ResourceQuota', () => {
  const quota: JsonObject = { metadata: { name: 'q' }, spec: { hard: { pods: '4', 'requests.cpu': '1' } } };
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'a resource of nobody',
      { 'spec.hard': { cows: '1' } },
      ['spec.hard[cows]: Invalid value: "cows": must be a standard resource for quota'],
    ],
    ['objects of a group', { 'spec.hard': { 'count/deployments.apps': '2' } }, []],
    ['half a pod', { 'spec.hard': { pods: '500m' } }, ['spec.hard[pods]: Invalid value: "500m": must be an integer']],
    [
      'less than nothing',
      { 'spec.hard': { pods: '-1' } },
      ['spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0'],
    ],
    ['a scope of nobody', { 'spec.scopes': ['Nice'] }, ['spec.scopes: Invalid value: ["Nice"]: unsupported scope']],
    [
      'scopes that exclude each other',
      { 'spec.hard': { pods: '1' }, 'spec.scopes': ['BestEffort', 'NotBestEffort'] },
      ['spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'],
    ],
    [
      'a scope that does not count the resource',
      { 'spec.scopes': ['BestEffort'] },
      ['spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'],
    ],
    [
      'classes without names',
      { 'spec.scopeSelector': { matchExpressions: [{ scopeName: 'PriorityClass', operator: 'In' }] } },
      [
        "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
      ],
    ],
    [
      'a scope that only is or is not',
      { 'spec.scopeSelector': { matchExpressions: [{ scopeName: 'Terminating', operator: 'In', values: ['a'] }] } },
      [
        'spec.scopeSelector.matchExpressions.operator: Invalid value: "In": must be \'Exist\' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity',
      ],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create('v1 ResourceQuota', changed(quota, places)))).toEqual(expected);
  });
  test('scopes stay, limits may change; status is written apart', () => {
    const made = create('v1 ResourceQuota', quota);
    expect(made.status).toEqual({});
    const write = (places: Record<string, unknown>, subresource = ''): string[] =>
      refused(() =>
        update('v1 ResourceQuota', made, (object) => Object.assign(object, changed(object, places)), subresource),
      );
    expect(write({ 'spec.hard.pods': '5' })).toEqual([]);
    expect(write({ 'spec.scopes': ['NotTerminating'] })).toEqual([
      'spec.scopes: Invalid value: ["NotTerminating"]: field is immutable',
    ]);
    expect(write({ 'status.used': { cows: '1' } }, 'status')).toEqual([
      'status.used[cows]: Invalid value: "cows": must be a standard resource for quota',
    ]);
  });
});

describe('HorizontalPodAutoscaler', () => {
  const kind = 'autoscaling/v2 HorizontalPodAutoscaler';
  const autoscaler: JsonObject = {
    metadata: { name: 'web' },
    spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' }, maxReplicas: 5 },
  };
  const cpu = { type: 'Utilization', averageUtilization: 50 };
  const metric = (places: object): Record<string, unknown> => ({ 'spec.metrics': [places] });
  const resource = (target: object): Record<string, unknown> =>
    metric({ type: 'Resource', resource: { name: 'cpu', target } });

  test('has every default', () => {
    expect(
      create(kind, changed(autoscaler, { 'spec.behavior': { scaleUp: { selectPolicy: 'Min' } } })).spec,
    ).toMatchObject({
      minReplicas: 1,
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } } },
      ],
      behavior: {
        scaleUp: {
          stabilizationWindowSeconds: 0,
          selectPolicy: 'Min',
          policies: [
            { type: 'Pods', value: 4, periodSeconds: 15 },
            { type: 'Percent', value: 100, periodSeconds: 15 },
          ],
        },
        scaleDown: { selectPolicy: 'Max', policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }] },
      },
    });
  });

  test.each<Row>([
    ['nothing wrong', resource(cpu), []],
    [
      'no least',
      { 'spec.minReplicas': 0 },
      [
        'spec.minReplicas: Invalid value: 0: must be greater than or equal to 1',
        'spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas',
      ],
    ],
    [
      'a most below the least',
      { 'spec.minReplicas': 6 },
      ['spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`'],
    ],
    [
      'no most',
      { 'spec.maxReplicas': 0, 'spec.minReplicas': undefined },
      [
        'spec.maxReplicas: Invalid value: 0: must be greater than 0',
        'spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`',
      ],
    ],
    [
      'nothing to scale',
      { 'spec.scaleTargetRef': {} },
      ['spec.scaleTargetRef.kind: Required value', 'spec.scaleTargetRef.name: Required value'],
    ],
    [
      'a metric of an unknown type',
      metric({ type: 'Mood' }),
      [
        'spec.metrics[0].type: Unsupported value: "Mood": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"',
      ],
    ],
    [
      'a metric without its source',
      metric({ type: 'Pods' }),
      ['spec.metrics[0].pods: Required value: must populate information for the given metric source'],
    ],
    [
      'a metric with two sources',
      metric({
        type: 'Resource',
        resource: { name: 'cpu', target: cpu },
        pods: { metric: { name: 'a' }, target: { type: 'AverageValue', averageValue: '1' } },
      }),
      ['spec.metrics[0].pods: Forbidden: must populate the given metric source only'],
    ],
    [
      'no target',
      resource({ type: 'Utilization' }),
      [
        'spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization',
      ],
    ],
    [
      'two targets',
      resource({ ...cpu, averageValue: '1' }),
      [
        'spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization',
      ],
    ],
    [
      'a target of nothing',
      resource({ type: 'Utilization', averageUtilization: 0 }),
      ['spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0'],
    ],
    [
      'no container',
      metric({ type: 'ContainerResource', containerResource: { name: 'cpu', target: cpu } }),
      ['spec.metrics[0].containerResource.container: Required value: must specify a container'],
    ],
    [
      'no name of the metric',
      metric({ type: 'External', external: { target: { type: 'Value', value: '1' } } }),
      ['spec.metrics[0].external.metric.name: Required value: must specify a metric name'],
    ],
    [
      'rules without policies',
      { 'spec.behavior': { scaleDown: { policies: [] } } },
      ['spec.behavior.scaleDown.policies: Required value: must specify at least one Policy'],
    ],
    [
      'too long a period',
      { 'spec.behavior': { scaleDown: { policies: [{ type: 'Pods', value: 1, periodSeconds: 1801 }] } } },
      ['spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800'],
    ],
    [
      'too long a window',
      { 'spec.behavior': { scaleDown: { stabilizationWindowSeconds: 3601 } } },
      ['spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600'],
    ],
    [
      'an unknown selection',
      { 'spec.behavior': { scaleUp: { selectPolicy: 'Any' } } },
      ['spec.behavior.scaleUp.selectPolicy: Unsupported value: "Any": supported values: "Disabled", "Max", "Min"'],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create(kind, changed(autoscaler, places)))).toEqual(expected);
  });

  test('v1 without a target aims at the processor use that v2 aims at', () => {
    const v1 = 'autoscaling/v1 HorizontalPodAutoscaler';
    expect(create(v1, autoscaler).spec).toMatchObject({ minReplicas: 1, targetCPUUtilizationPercentage: 80 });
    const others = { 'autoscaling.alpha.kubernetes.io/metrics': '[]' };
    expect(create(v1, changed(autoscaler, { 'metadata.annotations': others })).spec).not.toHaveProperty(
      'targetCPUUtilizationPercentage',
    );
  });

  test('v1 and v2 are the same object: nothing is lost on the way there and back', () => {
    const selector = { matchLabels: { a: 'b' } };
    const full: JsonObject = {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'web', annotations: { own: 'stays' } },
      spec: {
        scaleTargetRef: { kind: 'Deployment', name: 'web' },
        maxReplicas: 5,
        metrics: [
          {
            type: 'Pods',
            pods: { metric: { name: 'm', selector }, target: { type: 'AverageValue', averageValue: '1' } },
          },
          {
            type: 'Object',
            object: {
              describedObject: { kind: 'Service', name: 's' },
              metric: { name: 'm' },
              target: { type: 'Value', value: '2' },
            },
          },
          { type: 'External', external: { metric: { name: 'm', selector }, target: { type: 'Value', value: '3' } } },
          { type: 'Resource', resource: { name: 'memory', target: { type: 'AverageValue', averageValue: '1Gi' } } },
          {
            type: 'ContainerResource',
            containerResource: { name: 'cpu', container: 'c', target: { type: 'Utilization', averageUtilization: 10 } },
          },
          { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 50 } } },
        ],
        behavior: { scaleDown: { selectPolicy: 'Min', policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }] } },
      },
      status: {
        currentReplicas: 2,
        desiredReplicas: 3,
        currentMetrics: [{ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 40 } } }],
        conditions: [{ type: 'AbleToScale', status: 'True' }],
      },
    };
    const old = autoscalerFromV2(full);
    expect(old).toMatchObject({
      apiVersion: 'autoscaling/v1',
      spec: { maxReplicas: 5, targetCPUUtilizationPercentage: 50 },
      status: { currentReplicas: 2, desiredReplicas: 3, currentCPUUtilizationPercentage: 40 },
    });
    expect(old.spec).not.toHaveProperty('metrics');
    expect(autoscalerToV2(old)).toEqual(full);
  });
});

describe('priority and fairness', () => {
  const level = 'flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration';
  const limited: JsonObject = {
    metadata: { name: 'batch' },
    spec: { type: 'Limited', limited: { limitResponse: { type: 'Queue', queuing: {} } } },
  };
  test('a level has every default', () => {
    expect(create(level, limited).spec).toEqual({
      type: 'Limited',
      limited: {
        nominalConcurrencyShares: 30,
        lendablePercent: 0,
        limitResponse: { type: 'Queue', queuing: { queues: 64, handSize: 8, queueLengthLimit: 50 } },
      },
    });
  });
  const queuing = 'spec.limited.limitResponse.queuing';
  test.each<Row>([
    [
      'exempt under another name',
      { 'spec.type': 'Exempt', 'spec.limited': undefined },
      ["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"],
    ],
    [
      'no limits',
      { 'spec.limited': undefined },
      ['spec.limited: Required value: must not be empty when type is Limited'],
    ],
    [
      'more lent than there is',
      { 'spec.limited.lendablePercent': 101 },
      ['spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive'],
    ],
    [
      'queues without queuing',
      { 'spec.limited.limitResponse.queuing': undefined },
      [`${queuing}: Required value: must not be empty if limited.limitResponse.type is Limited`],
    ],
    [
      'queuing without queues',
      { 'spec.limited.limitResponse.type': 'Reject' },
      [`${queuing}: Forbidden: must be nil if limited.limitResponse.type is not Limited`],
    ],
    [
      'a hand larger than the deck',
      { [queuing]: { queues: 4, handSize: 5 } },
      [`${queuing}.handSize: Invalid value: 5: should not be greater than queues (4)`],
    ],
    [
      'more hands than a hash tells apart',
      { [queuing]: { queues: 1000, handSize: 10 } },
      [
        `${queuing}.handSize: Invalid value: 10: required entropy bits of deckSize 1000 and handSize 10 should not be greater than 60`,
      ],
    ],
    [
      'an unknown answer',
      { 'spec.limited.limitResponse.type': 'Wait' },
      ['spec.limited.limitResponse.type: Unsupported value: "Wait": supported values: "Queue", "Reject"'],
    ],
  ])('PriorityLevelConfiguration: %s', (_scenario, places, expected) => {
    expect(refused(() => create(level, changed(limited, places)))).toEqual(expected);
  });

  const rule = {
    subjects: [{ kind: 'ServiceAccount', serviceAccount: { name: '*', namespace: 'a' } }],
    resourceRules: [{ verbs: ['*'], apiGroups: [''], resources: ['pods'], namespaces: ['a'] }],
  };
  const flow: JsonObject = {
    metadata: { name: 'a' },
    spec: { priorityLevelConfiguration: { name: 'batch' }, rules: [rule] },
  };
  const rules = (places: object): Record<string, unknown> => ({ 'spec.rules': [{ ...rule, ...places }] });
  const at = 'spec.rules[0]';
  test.each<Row>([
    ['nothing wrong', {}, []],
    [
      'the first place',
      { 'spec.matchingPrecedence': 1 },
      ["spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"],
    ],
    [
      'too far back',
      { 'spec.matchingPrecedence': 10_001 },
      ['spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000'],
    ],
    [
      'no level',
      { 'spec.priorityLevelConfiguration': { name: '' } },
      ['spec.priorityLevelConfiguration.name: Required value: must reference a priority level'],
    ],
    ['nobody', rules({ subjects: [] }), [`${at}.subjects: Required value: subjects must contain at least one value`]],
    [
      'a user who is a group',
      rules({ subjects: [{ kind: 'User', user: { name: 'a' }, group: { name: 'b' } }] }),
      [`${at}.subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'`],
    ],
    [
      'a user without name',
      rules({ subjects: [{ kind: 'User', user: { name: '' } }] }),
      [`${at}.subjects[0].user.name: Required value`],
    ],
    [
      'an unknown subject',
      rules({ subjects: [{ kind: 'Robot' }] }),
      [`${at}.subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"`],
    ],
    [
      'nothing',
      rules({ resourceRules: undefined }),
      [`${at}: Required value: at least one of resourceRules and nonResourceRules has to be non-empty`],
    ],
    [
      'an unknown verb',
      rules({ resourceRules: [{ ...rule.resourceRules[0], verbs: ['look'] }] }),
      [
        `${at}.resourceRules[0].verbs: Unsupported value: ["look"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"`,
      ],
    ],
    [
      'nowhere',
      rules({ resourceRules: [{ ...rule.resourceRules[0], namespaces: [] }] }),
      [
        `${at}.resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace`,
      ],
    ],
    [
      'a path that is none',
      rules({ nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['healthz', '/a*'] }] }),
      [
        `${at}.nonResourceRules[0].nonResourceURLs[0]: Invalid value: "healthz": must start with slash`,
        `${at}.nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a*": wildcard can only do suffix matching`,
      ],
    ],
  ])('FlowSchema: %s', (_scenario, places, expected) => {
    expect(refused(() => create('flowcontrol.apiserver.k8s.io/v1 FlowSchema', changed(flow, places)))).toEqual(
      expected,
    );
  });
});
