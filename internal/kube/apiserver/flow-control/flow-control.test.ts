/** Priority and fairness of a whole server: the objects, what they do to requests, what is told. The rules are in the tests beside this one. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ManualClock } from '../../../store/testing.ts';
import type { UserInfo } from '../../auth/identity.ts';
import { isObject, type JsonObject } from '../../machinery/json.ts';
import { RequestCaller } from '../request-caller.ts';
import { parseRequest } from '../request-info.ts';
import { startTestServer, type TestServer } from '../testing.ts';
import { defaultLevels, defaultSchemas } from './defaults.ts';
import { FlowControl } from './flow-control.ts';

const alice: UserInfo = { name: 'alice', groups: ['system:authenticated'] };
const node: UserInfo = { name: 'system:node:a', groups: ['system:nodes', 'system:authenticated'] };
const info = (method: string, path: string): NonNullable<ReturnType<typeof parseRequest>> =>
  parseRequest(method, path, new URLSearchParams())!;
const pods = info('POST', '/api/v1/namespaces/default/pods');
const path = (plural: string, name = ''): string =>
  `/apis/flowcontrol.apiserver.k8s.io/v1/${plural}${name === '' ? '' : `/${name}`}`;
const merge = { headers: { 'content-type': 'application/merge-patch+json' } };

describe('requests', () => {
  const run = (
    flow: FlowControl,
    user: UserInfo,
    work: () => Promise<unknown>,
    caller = new RequestCaller(),
  ): Promise<unknown> => flow.run(flow.classify(user, pods), user, pods, caller, work);
  /** As many requests of alice as get a seat, each held until it is let go. */
  const fill = (flow: FlowControl): (() => void)[] => {
    const held: (() => void)[] = [];
    for (let before = -1; before < held.length; ) {
      before = held.length;
      run(flow, alice, () => new Promise<void>((resolve) => held.push(resolve))).catch(() => undefined);
    }
    return held;
  };

  test('when users have taken theirs, nodes and administrators still get in; an answer lets the next one in', async () => {
    const flow = new FlowControl(new ManualClock());
    const held = fill(flow);
    // 49 of its own, and what others lend it.
    expect(held.length).toBeGreaterThan(200);
    await expect(run(flow, node, async () => 'in')).resolves.toBe('in');
    await expect(run(flow, { name: 'root', groups: ['system:masters'] }, async () => 'in')).resolves.toBe('in');
    const next = run(flow, alice, async () => 'in');
    held.pop()!();
    held.pop()!();
    await expect(next).resolves.toBe('in');
    for (const free of held) free();
    await Bun.sleep(0);
    expect(flow.executing).toBe(0);
  });

  test('who waits too long is refused, and told to come again; who goes away makes room', async () => {
    const clock = new ManualClock();
    const flow = new FlowControl(clock);
    const held = fill(flow);
    const late = run(flow, alice, async () => 'in').catch((error: unknown) => error);
    const gone = new RequestCaller();
    const cancelled = run(flow, alice, async () => 'in', gone).catch((error: unknown) => error);
    gone.leave();
    await expect(cancelled).resolves.toMatchObject({ status: { code: 429 } });
    const before = run(flow, alice, async () => 'in', gone).catch((error: unknown) => error);
    await expect(before).resolves.toMatchObject({ status: { code: 429 } });
    clock.advance(15_000);
    await expect(late).resolves.toMatchObject({ status: { code: 429, details: { retryAfterSeconds: 1 } } });
    expect(clock.waiting).toBe(0);
    const text = flow.metricsText();
    expect(text).toContain(
      'apiserver_flowcontrol_rejected_requests_total{flow_schema="global-default",priority_level="global-default",reason="time-out"} 2',
    );
    expect(text).toContain('reason="cancelled"} 2');
    expect(text).toContain('apiserver_flowcontrol_nominal_limit_seats{priority_level="global-default"} 49');
    expect(text).toContain(
      `apiserver_flowcontrol_current_executing_requests{priority_level="global-default"} ${held.length}`,
    );
  });

  test('a level that lets nobody wait refuses at once', async () => {
    const flow = new FlowControl(new ManualClock());
    const stranger: UserInfo = { name: 'nobody', groups: [] };
    const answers = Array.from({ length: 700 }, () =>
      run(flow, stranger, () => new Promise(() => undefined)).catch((error: unknown) => error),
    );
    const first = await Promise.race(answers);
    expect(first).toMatchObject({ status: { code: 429 } });
  });
});

describe('objects', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.close());

  const eventually = async (what: () => Promise<boolean>): Promise<void> => {
    for (let i = 0; i < 200; i++) {
      if (await what()) return;
      await Bun.sleep(25);
    }
    throw new Error('it did not come to pass');
  };
  const dangling = (schema: JsonObject): JsonObject | undefined => {
    const status = isObject(schema.status) ? schema.status : {};
    const list = Array.isArray(status.conditions) ? status.conditions.filter(isObject) : [];
    return list.find(({ type }) => type === 'Dangling');
  };

  test("upstream's are there from the start, found to be whole; a second look changes nothing", async () => {
    for (const [plural, defaults] of [
      ['flowschemas', defaultSchemas],
      ['prioritylevelconfigurations', defaultLevels],
    ] as const) {
      const { body } = await server.call('GET', path(plural));
      const byName = new Map((body.items as JsonObject[]).map((one) => [(one.metadata as JsonObject).name, one]));
      expect([...byName.keys()].sort()).toEqual(defaults.map((one) => (one.metadata as JsonObject).name).sort());
      for (const wanted of defaults) {
        const live = byName.get((wanted.metadata as JsonObject).name as string)!;
        expect(live.spec).toEqual(wanted.spec);
        expect((live.metadata as JsonObject).annotations).toEqual({ 'apf.kubernetes.io/autoupdate-spec': 'true' });
        if (plural === 'flowschemas') expect(dangling(live)).toMatchObject({ status: 'False', reason: 'Found' });
      }
    }
  });

  test('an answer says which schema and level the request was of; what is not limited says it, too', async () => {
    const uid = async (plural: string, name: string): Promise<string> =>
      (await server.call('GET', path(plural, name))).body.metadata.uid;
    const asked = async (who: UserInfo, url: string): Promise<(string | null)[]> => {
      const { headers } = await server.api.fetch(new Request(`http://x${url}`), { certificate: who });
      return ['flowschema', 'prioritylevel'].map((what) => headers.get(`x-kubernetes-pf-${what}-uid`));
    };
    const expected = async (schema: string, level: string): Promise<string[]> => [
      await uid('flowschemas', schema),
      await uid('prioritylevelconfigurations', level),
    ];
    const root = { name: 'root', groups: ['system:masters', 'system:authenticated'] };
    expect(await asked(root, '/api/v1/nodes')).toEqual(await expected('exempt', 'exempt'));
    expect(await asked(alice, '/version')).toEqual(await expected('global-default', 'global-default'));
    expect(await asked(node, '/api/v1/nodes/a')).toEqual(await expected('system-node-high', 'node-high'));
    expect(await asked(alice, '/readyz')).toEqual(await expected('probes', 'exempt'));
  });

  test('a schema of a user is obeyed as soon as its level is there, and says so', async () => {
    const subjects = [{ kind: 'User', user: { name: 'alice' } }];
    const rules = [{ subjects, nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }] }];
    const spec = { matchingPrecedence: 50, priorityLevelConfiguration: { name: 'own' }, rules };
    const made = await server.call('POST', path('flowschemas'), { metadata: { name: 'own' }, spec });
    const condition = async (): Promise<JsonObject | undefined> =>
      dangling((await server.call('GET', path('flowschemas', 'own'))).body);
    await eventually(async () => (await condition())?.status === 'True');
    expect(await condition()).toMatchObject({
      reason: 'NotFound',
      message:
        'This FlowSchema references the PriorityLevelConfiguration object named "own" but there is no such object',
    });
    const schemaOf = async (): Promise<string | null> =>
      (await server.api.fetch(new Request('http://x/version'), { certificate: alice })).headers.get(
        'x-kubernetes-pf-flowschema-uid',
      );
    expect(await schemaOf()).not.toBe(made.body.metadata.uid);
    await server.call('POST', path('prioritylevelconfigurations'), {
      metadata: { name: 'own' },
      spec: { type: 'Limited', limited: { nominalConcurrencyShares: 5, limitResponse: { type: 'Reject' } } },
    });
    await eventually(async () => (await schemaOf()) === made.body.metadata.uid);
    await eventually(async () => (await condition())?.status === 'False');
    const { body } = await server.call('GET', '/metrics');
    expect(body).toContain('apiserver_flowcontrol_dispatched_requests_total{flow_schema="own",priority_level="own"}');
  });

  test("what is mandatory comes back as it was; what is suggested is its user's once the annotation is gone", async () => {
    await server.call('DELETE', path('flowschemas', 'catch-all'));
    await eventually(async () => (await server.call('GET', path('flowschemas', 'catch-all'))).status === 200);
    const shares = async (): Promise<number> =>
      (await server.call('GET', path('prioritylevelconfigurations', 'workload-low'))).body.spec.limited
        .nominalConcurrencyShares;
    const set = (annotation: string): ReturnType<TestServer['call']> =>
      server.call(
        'PATCH',
        path('prioritylevelconfigurations', 'workload-low'),
        {
          metadata: { annotations: { 'apf.kubernetes.io/autoupdate-spec': annotation } },
          spec: { limited: { nominalConcurrencyShares: 77 } },
        },
        merge,
      );
    await set('true');
    await eventually(async () => (await shares()) === 100);
    await set('false');
    await Bun.sleep(700);
    expect(await shares()).toBe(77);
  });

  test('while a status is left to who disputes it, what is mandatory still comes back at once', async () => {
    const disputed = path('flowschemas', 'service-accounts');
    const status = async (): Promise<unknown> => dangling((await server.call('GET', disputed)).body)?.status;
    const given = { type: 'Dangling', status: 'True', reason: 'Test', message: 'set by the test' };
    let left = false;
    for (let i = 0; i < 8 && !left; i++) {
      await server.call('PATCH', `${disputed}/status`, { status: { conditions: [given] } }, merge);
      for (let k = 0; k < 60 && (await status()) === 'True'; k++) await Bun.sleep(25);
      left = (await status()) === 'True';
    }
    expect(left).toBe(true);
    await server.call('DELETE', path('flowschemas', 'catch-all'));
    await eventually(async () => (await server.call('GET', path('flowschemas', 'catch-all'))).status === 200);
  });
});
