import { describe, expect, test } from 'vitest';
import { parseCron } from '../cron.ts';
import { changed, create, refused, update } from '../testing.ts';
import type { JsonObject } from '../../machinery/json.ts';

const job: JsonObject = {
  metadata: { name: 'count' },
  spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'busybox' }] } } },
};
const cronJob: JsonObject = {
  metadata: { name: 'nightly' },
  spec: { schedule: '0 3 * * *', jobTemplate: { spec: job.spec! } },
};
const indexed = { 'spec.completionMode': 'Indexed', 'spec.completions': 5, 'spec.parallelism': 2 };
const exit = (requirement: object): object => ({ rules: [{ action: 'FailJob', onExitCodes: requirement }] });

describe('Job', () => {
  test('gets a selector of its own, labels on its pods, and every default', () => {
    const made = create('batch/v1 Job', job);
    const uid = (made.metadata as JsonObject).uid;
    expect(made.spec).toMatchObject({
      completions: 1,
      parallelism: 1,
      backoffLimit: 6,
      completionMode: 'NonIndexed',
      suspend: false,
      manualSelector: false,
      podReplacementPolicy: 'TerminatingOrFailed',
      selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } },
      template: {
        metadata: {
          labels: {
            'controller-uid': uid,
            'job-name': 'count',
            'batch.kubernetes.io/controller-uid': uid,
            'batch.kubernetes.io/job-name': 'count',
          },
        },
      },
    });
    expect(made.metadata).toMatchObject({ generation: 1 });
  });

  test.each<[string, Record<string, unknown>, string[]]>([
    ['nothing wrong', {}, []],
    [
      'a negative number',
      { 'spec.parallelism': -1 },
      ['spec.parallelism: Invalid value: -1: must be greater than or equal to 0'],
    ],
    [
      'a negative limit',
      { 'spec.backoffLimit': -1 },
      ['spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0'],
    ],
    [
      'pods that always restart',
      { 'spec.template.spec.restartPolicy': 'Always' },
      ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ],
    [
      'labels of another Job',
      { 'spec.template.metadata': { labels: { 'job-name': 'other' } } },
      [
        `spec.template.metadata.labels[job-name]: Invalid value: {"job-name":"other","controller-uid":"UID","batch.kubernetes.io/controller-uid":"UID","batch.kubernetes.io/job-name":"count"}: must be 'count'`,
      ],
    ],
    [
      'its own selector without saying so',
      { 'spec.selector': { matchLabels: { a: 'b' } } },
      [
        'spec.selector: Invalid value: {"matchLabels":{"a":"b","batch.kubernetes.io/controller-uid":"UID"}}: `selector` not auto-generated',
        'spec.template.metadata.labels: Invalid value: {"controller-uid":"UID","job-name":"count","batch.kubernetes.io/controller-uid":"UID","batch.kubernetes.io/job-name":"count"}: `selector` does not match template `labels`',
      ],
    ],
    [
      'an unknown completion mode',
      { 'spec.completionMode': 'Some' },
      ['spec.completionMode: Unsupported value: "Some": supported values: "Indexed", "NonIndexed"'],
    ],
    [
      'indexes without a number of them',
      { 'spec.completionMode': 'Indexed', 'spec.parallelism': 1 },
      ['spec.completions: Required value: when completion mode is Indexed'],
    ],
    [
      'too many indexes at once',
      { ...indexed, 'spec.parallelism': 100_001 },
      ['spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed'],
    ],
    [
      'limits by index without indexes',
      { 'spec.backoffLimitPerIndex': 1 },
      ['spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode'],
    ],
    [
      'failed indexes without a limit by index',
      { ...indexed, 'spec.maxFailedIndexes': 1 },
      ['spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified'],
    ],
    [
      'more failed indexes than indexes',
      { ...indexed, 'spec.backoffLimitPerIndex': 1, 'spec.maxFailedIndexes': 6 },
      ['spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions'],
    ],
    [
      'many indexes with a limit by index',
      { ...indexed, 'spec.completions': 100_001, 'spec.backoffLimitPerIndex': 1, 'spec.parallelism': 10_001 },
      [
        'spec.maxFailedIndexes: Required value: must be specified when completions is above 100000',
        'spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index',
      ],
    ],
    [
      'a name that gives no hostname',
      { ...indexed, 'metadata.name': 'a.b' },
      ['metadata.name: Invalid value: "a.b": will not able to create pod with invalid DNS label: a.b-4'],
    ],
    [
      'a manager without a domain',
      { 'spec.managedBy': 'me' },
      ['spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")'],
    ],
    [
      'a failure policy with pods that restart',
      {
        'spec.podFailurePolicy': exit({ operator: 'In', values: [1] }),
        'spec.template.spec.restartPolicy': 'OnFailure',
      },
      [
        'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified',
      ],
    ],
    [
      'a failure rule without an action',
      { 'spec.podFailurePolicy': { rules: [{ onExitCodes: { operator: 'In', values: [1] } }] } },
      ['spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]'],
    ],
    [
      'a failure rule with an unknown action',
      { 'spec.podFailurePolicy': { rules: [{ action: 'Cry', onExitCodes: { operator: 'In', values: [1] } }] } },
      [
        'spec.podFailurePolicy.rules[0].action: Unsupported value: "Cry": supported values: "Count", "FailIndex", "FailJob", "Ignore"',
      ],
    ],
    [
      'FailIndex without a limit by index',
      { 'spec.podFailurePolicy': { rules: [{ action: 'FailIndex', onExitCodes: { operator: 'In', values: [1] } }] } },
      [
        'spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set',
      ],
    ],
    [
      'a failure rule for nothing',
      { 'spec.podFailurePolicy': { rules: [{ action: 'Ignore' }] } },
      ['spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required'],
    ],
    [
      'a failure rule for both',
      {
        'spec.podFailurePolicy': {
          rules: [{ action: 'Ignore', onExitCodes: { operator: 'In', values: [1] }, onPodConditions: [{ type: 'X' }] }],
        },
      },
      [
        'spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported',
      ],
    ],
    [
      'exit code 0 as a failure',
      { 'spec.podFailurePolicy': exit({ operator: 'In', values: [0] }) },
      ['spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator'],
    ],
    [
      'no exit codes',
      { 'spec.podFailurePolicy': exit({ operator: 'In', values: [] }) },
      ['spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []: at least one value is required'],
    ],
    [
      'exit codes twice and out of order',
      { 'spec.podFailurePolicy': exit({ operator: 'NotIn', values: [2, 1, 2] }) },
      [
        'spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2',
        'spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,2]: must be ordered',
      ],
    ],
    [
      'an unknown operator',
      { 'spec.podFailurePolicy': exit({ operator: 'Is', values: [1] }) },
      ['spec.podFailurePolicy.rules[0].onExitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"'],
    ],
    [
      'exit codes of a container that is not there',
      { 'spec.podFailurePolicy': exit({ operator: 'In', values: [1], containerName: 'x' }) },
      [
        'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer names in the pod template',
      ],
    ],
    [
      'a condition with an unknown status',
      { 'spec.podFailurePolicy': { rules: [{ action: 'Ignore', onPodConditions: [{ type: 'X', status: 'No' }] }] } },
      [
        'spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: "No": supported values: "False", "True", "Unknown"',
      ],
    ],
    [
      'replacing terminating pods with a failure policy',
      {
        'spec.podFailurePolicy': exit({ operator: 'In', values: [1] }),
        'spec.podReplacementPolicy': 'TerminatingOrFailed',
      },
      ['spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"'],
    ],
    [
      'a success policy without indexes',
      { 'spec.successPolicy': { rules: [{ succeededCount: 1 }] } },
      ['spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode'],
    ],
    [
      'a success policy without rules',
      { ...indexed, 'spec.successPolicy': { rules: [] } },
      [
        'spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified',
      ],
    ],
    [
      'a success rule for nothing',
      { ...indexed, 'spec.successPolicy': { rules: [{}] } },
      [
        'spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified',
      ],
    ],
    [
      'more successes than completions',
      { ...indexed, 'spec.successPolicy': { rules: [{ succeededCount: 6 }] } },
      [
        'spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)',
      ],
    ],
    [
      'more successes than indexes named',
      { ...indexed, 'spec.successPolicy': { rules: [{ succeededCount: 3, succeededIndexes: '0-1' }] } },
      [
        'spec.successPolicy.rules[0].succeededCount: Invalid value: 3: must be less than or equal to 2 (the number of indexes in the specified succeededIndexes field)',
      ],
    ],
    [
      'indexes out of order',
      { ...indexed, 'spec.successPolicy': { rules: [{ succeededIndexes: '2,1' }] } },
      [
        'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "2,1": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1',
      ],
    ],
    [
      'an index too large',
      { ...indexed, 'spec.successPolicy': { rules: [{ succeededIndexes: '5' }] } },
      [
        'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "5": error parsing succeededIndexes: too large index: "5"',
      ],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    const uid = String((create('batch/v1 Job', job).metadata as JsonObject).uid);
    expect(refused(() => create('batch/v1 Job', changed(job, places)))).toEqual(
      expected.map((line) => line.replaceAll('UID', uid)),
    );
  });

  test.each<[string, Record<string, unknown>, Record<string, unknown>, string[]]>([
    ['parallelism may change', {}, { 'spec.parallelism': 3 }, []],
    ['completions may not', {}, { 'spec.completions': 3 }, ['spec.completions: Invalid value: 3: field is immutable']],
    [
      'completions of indexes only with parallelism',
      indexed,
      { 'spec.completions': 3 },
      ['spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism'],
    ],
    ['completions of indexes with parallelism', indexed, { 'spec.completions': 3, 'spec.parallelism': 3 }, []],
    [
      'the mode stays',
      indexed,
      { 'spec.completionMode': 'NonIndexed' },
      [
        'spec.completionMode: Invalid value: "NonIndexed": field is immutable',
        'spec.completions: Invalid value: 5: field is immutable',
      ].slice(0, 1),
    ],
    [
      'a suspended job may be sent to other nodes',
      { 'spec.suspend': true },
      { 'spec.template.spec.nodeSelector': { a: 'b' } },
      [],
    ],
    [
      'the manager stays',
      {},
      { 'spec.managedBy': 'a.io/b' },
      ['spec.managedBy: Invalid value: "a.io/b": field is immutable'],
    ],
  ])('update: %s', (_scenario, before, places, expected) => {
    const made = create('batch/v1 Job', changed(job, before));
    expect(
      refused(() => update('batch/v1 Job', made, (object) => Object.assign(object, changed(object, places)))),
    ).toEqual(expected);
  });

  test('update: the template of a job that runs may not change', () => {
    const made = create('batch/v1 Job', job);
    const lines = refused(() =>
      update('batch/v1 Job', made, (object) =>
        Object.assign(object, changed(object, { 'spec.template.spec.nodeSelector': { a: 'b' } })),
      ),
    );
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^spec\.template: Invalid value: .*: field is immutable$/);
  });

  test('status: counts are not negative, pods are counted once, a job does not end twice', () => {
    const made = create('batch/v1 Job', job);
    const status = (value: JsonObject): string[] =>
      refused(() => update('batch/v1 Job', made, (object) => Object.assign(object, { status: value }), 'status'));
    expect(status({ active: 1 })).toEqual([]);
    expect(status({ failed: -1 })).toEqual(['status.failed: Invalid value: -1: must be greater than or equal to 0']);
    expect(status({ uncountedTerminatedPods: { succeeded: ['a', 'a'] } })).toEqual([
      'status.uncountedTerminatedPods.succeeded[1]: Duplicate value: "a"',
    ]);
    expect(status({ conditions: ['Complete', 'Failed'].map((type) => ({ type, status: 'True' })) })).toEqual([
      'status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions',
    ]);
  });
});

describe('CronJob', () => {
  test('has every default', () => {
    expect(create('batch/v1 CronJob', cronJob).spec).toMatchObject({
      concurrencyPolicy: 'Allow',
      suspend: false,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 1,
      jobTemplate: { spec: { template: { spec: { dnsPolicy: 'ClusterFirst' } } } },
    });
  });

  test.each<[string, Record<string, unknown>, string[]]>([
    ['nothing wrong', {}, []],
    ['no schedule', { 'spec.schedule': '' }, ['spec.schedule: Required value']],
    [
      'too few fields',
      { 'spec.schedule': '* *' },
      ['spec.schedule: Invalid value: "* *": expected exactly 5 fields, found 2: [* *]'],
    ],
    [
      'a time zone in the schedule',
      { 'spec.schedule': 'TZ=UTC 0 3 * * *' },
      [
        'spec.schedule: Invalid value: "TZ=UTC 0 3 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead',
      ],
    ],
    [
      'an unknown time zone',
      { 'spec.timeZone': 'Mars/Olympus' },
      ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus'],
    ],
    [
      'the time zone of the machine',
      { 'spec.timeZone': 'Local' },
      [
        'spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones',
      ],
    ],
    ['a known time zone', { 'spec.timeZone': 'Europe/Berlin' }, []],
    [
      'an unknown policy',
      { 'spec.concurrencyPolicy': 'Queue' },
      ['spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"'],
    ],
    [
      'a negative deadline',
      { 'spec.startingDeadlineSeconds': -1 },
      ['spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0'],
    ],
    [
      'a negative history',
      { 'spec.failedJobsHistoryLimit': -1 },
      ['spec.failedJobsHistoryLimit: Invalid value: -1: must be greater than or equal to 0'],
    ],
    [
      'a selector',
      { 'spec.jobTemplate.spec.selector': { matchLabels: { a: 'b' } } },
      ['spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated'],
    ],
    [
      'a manual selector',
      { 'spec.jobTemplate.spec.manualSelector': true },
      ['spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "false", "nil"'],
    ],
    [
      'a name too long for its jobs',
      { 'metadata.name': 'a'.repeat(53) },
      [`metadata.name: Invalid value: "${'a'.repeat(53)}": must be no more than 52 characters`],
    ],
    [
      'pods that always restart',
      { 'spec.jobTemplate.spec.template.spec.restartPolicy': 'Always' },
      ['spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ],
  ])('create: %s', (_scenario, places, expected) => {
    expect(refused(() => create('batch/v1 CronJob', changed(cronJob, places)))).toEqual(expected);
  });
});

describe('schedules', () => {
  test.each([
    ['60 * * * *', 'end of range (60) above maximum (59): 60'],
    ['* * 0 * *', 'beginning of range (0) below minimum (1): 0'],
    ['5-1 * * * *', 'beginning of range (5) beyond end of range (1): 5-1'],
    ['*/0 * * * *', 'step of range should be a positive number: */0'],
    ['1-2-3 * * * *', 'too many hyphens: 1-2-3'],
    ['1/2/3 * * * *', 'too many slashes: 1/2/3'],
    ['x * * * *', 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'],
    ['* * * * 7', 'end of range (7) above maximum (6): 7'],
    ['@often', 'unrecognized descriptor: @often'],
    ['@every x', 'failed to parse duration @every x: time: invalid duration "x"'],
  ])('%s is refused', (text, message) => {
    expect(() => parseCron(text)).toThrow(message);
  });
  test('what they mean', () => {
    expect(parseCron('*/20 1-3,5 1 jan,DEC mon-fri')).toEqual({
      minutes: new Set([0, 20, 40]),
      hours: new Set([1, 2, 3, 5]),
      daysOfMonth: new Set([1]),
      months: new Set([1, 12]),
      daysOfWeek: new Set([1, 2, 3, 4, 5]),
      anyDayOfMonth: false,
      anyDayOfWeek: false,
    });
    expect(parseCron('@weekly')).toMatchObject({ daysOfWeek: new Set([0]), anyDayOfMonth: true });
    expect(parseCron('@every 1h30m')).toEqual({ everySeconds: 5400 });
    expect(parseCron('50/3 * * * *')).toMatchObject({ minutes: new Set([50, 53, 56, 59]) });
  });
});
