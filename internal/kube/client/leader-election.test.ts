import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { ManualClock } from '../../store/testing.ts';
import type { Lease } from '../api/types.ts';
import { alreadyExists, conflict, failure, notFound } from '../machinery/status.ts';
import type { KubeClient, KubeObject } from './api.ts';
import { fenced, LeaderElection, type Leadership } from './leader-election.ts';

type ApiLease = Lease & KubeObject;
const leases = { group: 'coordination.k8s.io', resource: 'leases' };

/** One Lease, as an API server keeps it; whoever is cut off gets no answer from it. */
class OneLease {
  lease: ApiLease | undefined;
  writes = 0;
  readonly cutOff = new Set<string>();
  #version = 0;

  clientOf(who: string): KubeClient {
    const reached = (): void => {
      if (this.cutOff.has(who)) throw failure(503, 'ServiceUnavailable', 'no majority', {});
    };
    const keep = (lease: ApiLease): ApiLease => {
      this.writes++;
      this.lease = { ...lease, metadata: { ...lease.metadata, uid: 'u', resourceVersion: String(++this.#version) } };
      return structuredClone(this.lease);
    };
    return {
      get: async () => {
        reached();
        if (!this.lease) throw notFound(leases, 'x');
        return structuredClone(this.lease);
      },
      create: async (_ref: unknown, lease: ApiLease) => {
        reached();
        if (this.lease) throw alreadyExists(leases, 'x');
        return keep(lease);
      },
      update: async (_ref: unknown, lease: ApiLease) => {
        reached();
        if (lease.metadata.resourceVersion !== this.lease?.metadata.resourceVersion)
          throw conflict(leases, 'x', 'changed');
        return keep(lease);
      },
    } as unknown as KubeClient;
  }
}

class Servers {
  readonly clock = new ManualClock();
  readonly api = new OneLease();
  readonly leaderships = new Map<string, Leadership>();
  readonly acting = new Set<string>();
  alone = false;
  readonly #elections = new Map<string, LeaderElection>();

  start(holder: string, lead?: () => Promise<{ stop(): Promise<void> }>): LeaderElection {
    const election = new LeaderElection({
      lease: 'x',
      holder,
      client: this.api.clientOf(holder),
      alone: () => this.alone,
      lead:
        lead ??
        (async (leadership) => {
          this.leaderships.set(holder, leadership);
          this.acting.add(holder);
          return { stop: async () => void this.acting.delete(holder) };
        }),
      clock: this.clock,
      log: silentLogger,
    });
    this.#elections.set(holder, election);
    return election;
  }

  /** Passes time in small steps. At no moment two may write. */
  async pass(seconds: number): Promise<void> {
    for (let i = 0; i < seconds * 4; i++) {
      for (let turn = 0; turn < 30; turn++) await Promise.resolve();
      this.clock.advance(250);
      const holding = [...this.leaderships].filter(([, { holds }]) => holds()).map(([who]) => who);
      expect(holding.length, holding.join()).toBeLessThanOrEqual(1);
    }
  }
}

describe('leader election', () => {
  test('one of three acts; when it is cut off it stops before another one begins', async () => {
    const servers = new Servers();
    for (const name of ['a', 'b', 'c']) servers.start(name);
    await servers.pass(5);
    const [leader] = [...servers.acting];
    expect(servers.acting.size).toBe(1);
    servers.api.cutOff.add(leader!);
    await servers.pass(11);
    expect([...servers.acting]).toEqual([]);
    await servers.pass(9);
    const [next] = [...servers.acting];
    expect(next).not.toBe(leader);
    expect(servers.api.lease?.spec).toMatchObject({ holderIdentity: next, leaseTransitions: 1 });
    // Back again it waits.
    servers.api.cutOff.clear();
    await servers.pass(30);
    expect([...servers.acting]).toEqual([next]);
  });

  test('one that stops lets another one go on at once; one that starts again goes on as itself', async () => {
    const servers = new Servers();
    const first = servers.start('a');
    await servers.pass(3);
    servers.start('b');
    await servers.pass(3);
    expect([...servers.acting]).toEqual(['a']);
    await first.stop();
    await servers.pass(3);
    expect([...servers.acting]).toEqual(['b']);
    expect(first.leads).toBe(false);

    const restarted = new Servers();
    restarted.api.lease = { ...servers.api.lease!, metadata: { name: 'x', uid: 'u', resourceVersion: '9' } };
    restarted.start('b');
    await restarted.pass(1);
    expect([...restarted.acting]).toEqual(['b']);
    expect(restarted.api.lease.spec?.leaseTransitions).toBe(servers.api.lease?.spec?.leaseTransitions);
  });

  test('a server that is alone waits for nobody and spares its disk; with a second one it renews again', async () => {
    const servers = new Servers();
    servers.alone = true;
    const spec = { holderIdentity: 'an earlier name', renewTime: '2026-01-01T00:00:00.000000Z' };
    const lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'x', resourceVersion: '1' },
    };
    servers.api.lease = { ...lease, spec } as ApiLease;
    servers.start('a');
    await servers.pass(1);
    expect([...servers.acting]).toEqual(['a']);
    await servers.pass(300);
    expect(servers.api.writes).toBe(1);
    servers.alone = false;
    servers.start('b');
    await servers.pass(60);
    expect([...servers.acting]).toEqual(['a']);
    expect(servers.api.writes).toBeGreaterThan(20);
  });

  test('work that cannot be set up gives the lead another try, and what is refused cannot write', async () => {
    const servers = new Servers();
    let tries = 0;
    servers.start('a', async () => {
      tries++;
      throw new Error('not now');
    });
    await servers.pass(10);
    expect(tries).toBeGreaterThan(2);
    const sent: Request[] = [];
    let holds = true;
    const transport = fenced(
      async (request) => {
        sent.push(request);
        return new Response();
      },
      { holds: () => holds },
    );
    await transport(new Request('https://x/a'));
    holds = false;
    await expect(transport(new Request('https://x/b'))).rejects.toThrow('another server leads now');
    expect(sent.length).toBe(1);
  });
});
