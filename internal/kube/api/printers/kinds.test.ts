import { describe, expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { kindNamed } from '../testing.ts';

const now = Date.parse('2026-01-02T00:00:00Z');
const metadata = { name: 'a', creationTimestamp: '2026-01-01T23:55:00Z' };
const template = { spec: { containers: [{ name: 'c', image: 'i' }] } };
const holds = (type: string, status = 'True'): JsonObject => ({ type, status });

/** The columns as `kubectl get -o wide` heads them, and a row of them. */
const rows: readonly (readonly [kind: string, scenario: string, object: JsonObject, shown: Record<string, unknown>])[] =
  [
    [
      'batch/v1 Job',
      'runs',
      {
        spec: { completions: 3, parallelism: 2, template, selector: { matchLabels: { j: 'a' } } },
        status: { succeeded: 1, startTime: '2026-01-01T23:59:00Z' },
      },
      {
        Name: 'a',
        Status: 'Running',
        Completions: '1/3',
        Duration: '60s',
        Age: '5m',
        Containers: 'c',
        Images: 'i',
        Selector: 'j=a',
      },
    ],
    [
      'batch/v1 Job',
      'is complete',
      {
        spec: { parallelism: 2, template },
        status: {
          succeeded: 2,
          startTime: '2026-01-01T23:59:00Z',
          completionTime: '2026-01-01T23:59:30Z',
          conditions: [holds('Complete')],
        },
      },
      {
        Name: 'a',
        Status: 'Complete',
        Completions: '2/1 of 2',
        Duration: '30s',
        Age: '5m',
        Containers: 'c',
        Images: 'i',
        Selector: '<none>',
      },
    ],
    [
      'batch/v1 CronJob',
      'has run',
      {
        spec: { schedule: '@daily', suspend: false, jobTemplate: { spec: { template } } },
        status: { active: [{}], lastScheduleTime: '2026-01-01T23:50:00Z' },
      },
      {
        Name: 'a',
        Schedule: '@daily',
        Timezone: '<none>',
        Suspend: 'False',
        Active: 1,
        'Last Schedule': '10m',
        Age: '5m',
        Containers: 'c',
        Images: 'i',
        Selector: '<none>',
      },
    ],
    [
      'v1 PodTemplate',
      'names its containers',
      { template: { ...template, metadata: { labels: { x: 'y' } } } },
      { Name: 'a', Containers: 'c', Images: 'i', 'Pod Labels': 'x=y' },
    ],
    [
      'v1 ReplicationController',
      'counts',
      { spec: { replicas: 2, selector: { x: 'y' }, template }, status: { replicas: 1, readyReplicas: 1 } },
      { Name: 'a', Desired: 2, Current: 1, Ready: 1, Age: '5m', Containers: 'c', Images: 'i', Selector: 'x=y' },
    ],
    [
      'v1 ResourceQuota',
      'is used',
      { status: { hard: { pods: '4', 'limits.cpu': '2' }, used: { pods: '1' } } },
      { Name: 'a', Request: 'pods: 1/4', Limit: 'limits.cpu: 0/2', Age: '5m' },
    ],
    [
      'v1 ComponentStatus',
      'is healthy',
      { conditions: [{ ...holds('Healthy'), message: 'ok' }] },
      { Name: 'a', Status: 'Healthy', Message: 'ok', Error: '' },
    ],
    [
      'autoscaling/v2 HorizontalPodAutoscaler',
      'measures',
      {
        spec: {
          scaleTargetRef: { kind: 'Deployment', name: 'w' },
          minReplicas: 1,
          maxReplicas: 5,
          metrics: [{ type: 'Resource', resource: { name: 'cpu', target: { averageUtilization: 50 } } }],
        },
        status: {
          currentReplicas: 2,
          currentMetrics: [{ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 20 } } }],
        },
      },
      {
        Name: 'a',
        Reference: 'Deployment/w',
        Targets: 'cpu: 20%/50%',
        MinPods: '1',
        MaxPods: 5,
        Replicas: 2,
        Age: '5m',
      },
    ],
    [
      'autoscaling/v1 HorizontalPodAutoscaler',
      'shows the same',
      {
        spec: { scaleTargetRef: { kind: 'Deployment', name: 'w' }, maxReplicas: 5, targetCPUUtilizationPercentage: 50 },
      },
      {
        Name: 'a',
        Reference: 'Deployment/w',
        Targets: 'cpu: <unknown>/50%',
        MinPods: '<unset>',
        MaxPods: 5,
        Replicas: 0,
        Age: '5m',
      },
    ],
    [
      'networking.k8s.io/v1 Ingress',
      'has hosts and an address',
      {
        spec: { ingressClassName: 'n', rules: ['a', 'b', 'c', 'd'].map((host) => ({ host })), tls: [{}] },
        status: { loadBalancer: { ingress: [{ ip: '10.0.0.1' }] } },
      },
      { Name: 'a', Class: 'n', Hosts: 'a,b,c + 1 more...', Address: '10.0.0.1', Ports: '80, 443', Age: '5m' },
    ],
    [
      'networking.k8s.io/v1 IngressClass',
      'has parameters',
      { spec: { controller: 'e.io/c', parameters: { apiGroup: 'g.io', kind: 'P', name: 'x' } } },
      { Name: 'a', Controller: 'e.io/c', Parameters: 'P.g.io/x', Age: '5m' },
    ],
    [
      'networking.k8s.io/v1 NetworkPolicy',
      'selects all',
      { spec: { podSelector: {} } },
      { Name: 'a', 'Pod-Selector': '<none>', Age: '5m' },
    ],
    [
      'networking.k8s.io/v1 IPAddress',
      'belongs to a service',
      { spec: { parentRef: { resource: 'services', namespace: 'd', name: 's' } } },
      { Name: 'a', ParentRef: 'services/d/s' },
    ],
    [
      'networking.k8s.io/v1 ServiceCIDR',
      'has ranges',
      { spec: { cidrs: ['10.43.0.0/16', 'fd00::/112'] } },
      { Name: 'a', CIDRs: '10.43.0.0/16,fd00::/112', Age: '5m' },
    ],
    [
      'certificates.k8s.io/v1 CertificateSigningRequest',
      'is issued',
      {
        spec: { signerName: 'e.io/s', username: 'me', expirationSeconds: 3600 },
        status: { conditions: [holds('Approved')], certificate: 'AAAA' },
      },
      {
        Name: 'a',
        Age: '5m',
        SignerName: 'e.io/s',
        Requestor: 'me',
        RequestedDuration: '60m',
        Condition: 'Approved,Issued',
      },
    ],
    [
      'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding',
      'has parameters',
      { spec: { policyName: 'p', paramRef: { name: 'x', namespace: 'n' } } },
      { Name: 'a', PolicyName: 'p', ParamRef: 'n/x', Age: '5m' },
    ],
    [
      'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy',
      'has none',
      { spec: { validations: [{}] } },
      { Name: 'a', Validations: 1, ParamKind: '<unset>', Age: '5m' },
    ],
    [
      'admissionregistration.k8s.io/v1 MutatingWebhookConfiguration',
      'counts',
      { webhooks: [{}, {}] },
      { Name: 'a', Webhooks: 2, Age: '5m' },
    ],
    [
      'apiregistration.k8s.io/v1 APIService',
      'is away',
      {
        spec: { service: { namespace: 'n', name: 's' } },
        status: { conditions: [{ ...holds('Available', 'False'), reason: 'ServiceNotFound' }] },
      },
      { Name: 'a', Service: 'n/s', Available: 'False (ServiceNotFound)', Age: '5m' },
    ],
    [
      'flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration',
      'queues',
      {
        spec: {
          type: 'Limited',
          limited: {
            nominalConcurrencyShares: 30,
            limitResponse: { type: 'Queue', queuing: { queues: 64, handSize: 8, queueLengthLimit: 50 } },
          },
        },
      },
      {
        Name: 'a',
        Type: 'Limited',
        NominalConcurrencyShares: 30,
        Queues: 64,
        HandSize: 8,
        QueueLengthLimit: 50,
        Age: '5m',
      },
    ],
    [
      'flowcontrol.apiserver.k8s.io/v1 FlowSchema',
      'dangles',
      {
        spec: {
          priorityLevelConfiguration: { name: 'p' },
          matchingPrecedence: 100,
          distinguisherMethod: { type: 'ByUser' },
        },
        status: { conditions: [holds('Dangling')] },
      },
      {
        Name: 'a',
        PriorityLevel: 'p',
        MatchingPrecedence: 100,
        DistinguisherMethod: 'ByUser',
        Age: '5m',
        MissingPL: 'True',
      },
    ],
    ['node.k8s.io/v1 RuntimeClass', 'has a handler', { handler: 'runc' }, { Name: 'a', Handler: 'runc', Age: '5m' }],
    [
      'resource.k8s.io/v1 ResourceClaim',
      'is reserved',
      { status: { allocation: {}, reservedFor: [{}] } },
      { Name: 'a', State: 'allocated,reserved', Age: '5m' },
    ],
    [
      'resource.k8s.io/v1 ResourceSlice',
      'is of a node',
      { spec: { nodeName: 'n', driver: 'd', pool: { name: 'p' } } },
      { Name: 'a', Node: 'n', Driver: 'd', Pool: 'p', Age: '5m' },
    ],
    [
      'storage.k8s.io/v1 VolumeAttributesClass',
      'has a driver',
      { driverName: 'd' },
      { Name: 'a', DriverName: 'd', Age: '5m' },
    ],
  ];

describe('columns of the other kinds', () => {
  test.each(rows)('%s %s', (kind, _scenario, object, shown) => {
    const { printer } = kindNamed(kind);
    const cells = printer.row({ metadata, ...object }, now);
    expect(Object.fromEntries(printer.columns.map((column, index) => [column.name, cells[index]]))).toEqual(shown);
    expect(printer.columns.map((column) => column.name)).toEqual(Object.keys(shown));
  });
});
