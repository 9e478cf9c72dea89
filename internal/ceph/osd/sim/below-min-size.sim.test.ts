import { describe, expect, test } from 'vitest';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { MSG_OSD_PG_QUERY, MSG_OSD_REPOP } from '../../wire/messages/osd_osd.ts';
import type { Pg } from '../pg.ts';
import { simPool } from './map.testing.ts';
import { TestClient } from './single.testing.ts';
import { SimCluster } from './world.testing.ts';

/** A PG with fewer copies than min_size peers and takes no writes: it must not count as one that did. */

type Options = Omit<ConstructorParameters<typeof SimCluster>[0], 'pgNum'>;

class Cluster extends SimCluster {
  readonly client: TestClient;
  /** OSDs in the order of the acting set at the beginning. */
  first: readonly number[] = [];

  private constructor(options: Options) {
    super({ ...options, pgNum: 1 });
    for (const { id } of this.osds) this.start(id);
    this.client = new TestClient(this);
  }

  static async make(options: Options): Promise<Cluster> {
    const cluster = new Cluster(options);
    await cluster.until(() => cluster.allClean());
    cluster.first = cluster.map.place({ pool: simPool, seed: 0 }).acting;
    return cluster;
  }

  /** Twenty seconds at most. */
  until(done?: () => boolean): Promise<void> {
    return this.scheduler.run(this.scheduler.timeMs + 20_000, done);
  }

  pgOf(id: number): Pg | undefined {
    return [...(this.osds[id]!.osd?.pgs.values() ?? [])][0];
  }

  kill(...ids: number[]): void {
    for (const id of ids) this.crash(id);
    for (const id of ids) this.markDown(id, true);
  }

  async write(length: number, value: number): Promise<number> {
    this.client.aim('x');
    return (await this.client.exec('x', [OsdOp.extent(OP.WRITEFULL, 0, length, [new Uint8Array(length).fill(value)])]))
      .result;
  }

  /** First byte of the object; undefined: no answer. */
  async read(): Promise<number | undefined> {
    this.client.aim('x');
    const answer = await this.client.exec('x', [OsdOp.extent(OP.READ, 0, 1)]).catch(() => undefined);
    return answer?.outs[0]?.[0];
  }
}

describe.each([1, 2, 3])('below min_size, seed %i', (seed) => {
  test('one that served alone and is lost: those before it have all that was acknowledged', async () => {
    const cluster = await Cluster.make({ seed, osds: 3, size: 3, minSize: 2 });
    const [a, b, c] = cluster.first as [number, number, number];
    expect(await cluster.write(1, 1)).toBe(0);
    cluster.kill(c);
    await cluster.until(() => cluster.pgOf(a)!.peering.phase === 'active');
    expect(await cluster.write(1, 2)).toBe(0);
    cluster.kill(b);
    await cluster.until();
    expect(cluster.pgOf(a)!.peering.phase).toBe('active');
    // All that reaches it of the time without it is that there was one.
    cluster.dropMessage = (from, to, type) => from === a && to === b && type !== MSG_OSD_PG_QUERY;
    cluster.start(b);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 5000);
    cluster.dropMessage = undefined;
    cluster.kill(a);
    await cluster.until();
    cluster.start(c);
    await cluster.until(() => cluster.allClean());
    expect(await cluster.read()).toBe(2);
  });

  test('shards that peered alone have not made up their minds about a write that was under way', async () => {
    const cluster = await Cluster.make({ seed, osds: 4, size: 4, minSize: 3, erasure: { k: 2, chunkBytes: 4096 } });
    const [a, b, c, d] = cluster.first as [number, number, number, number];
    expect(await cluster.write(8192, 1)).toBe(0);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 3000);
    cluster.dropMessage = (_from, to, type) => type === MSG_OSD_REPOP && (to === c || to === d);
    const halfDone = cluster.write(8192, 2).catch(() => undefined);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 200);
    cluster.dropMessage = undefined;
    cluster.kill(a, b, c, d);
    await halfDone;
    cluster.start(a);
    cluster.start(b);
    await cluster.until();
    cluster.kill(b);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 500);
    cluster.start(c);
    cluster.start(d);
    await cluster.until();
    expect(await cluster.read()).toBe(1);
  });
});
